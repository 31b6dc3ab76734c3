//! The facts about features, as data.

use std::fmt::Write as _;

use crate::schema::PrimitiveType;

/// The last reader version that is known.
pub const READER_VERSION: i32 = 3;
/// The last writer version that is known.
pub const WRITER_VERSION: i32 = 7;

/// Whom a feature concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureKind {
    /// Writers only: it stands in `writerFeatures`.
    Writer,
    /// Readers and writers: it stands in both lists.
    ReaderWriter,
}

/// What makes a table use a feature, beyond naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// Nothing: naming it is all.
    ByName,
    /// This property is `true`.
    Property(&'static str),
    /// This property has this value.
    Value(&'static str, &'static str),
    /// This property is there, with another value than this.
    OtherThan(&'static str, &'static str),
    /// A property whose name begins like this is there.
    Properties(&'static str),
    /// The metadata of some column, at any depth, has a key that begins like this.
    ColumnKey(&'static str),
    /// Some column, at any depth, is of this type.
    Type(PrimitiveType),
    /// Some column, at any depth, is of variants.
    Variant,
}

/// One row of the table of facts.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Its name in the protocol action.
    pub name: &'static str,
    /// The feature of which this is an early name.
    pub preview_of: Option<&'static str>,
    /// Whom it concerns.
    pub kind: FeatureKind,
    /// The reader version that implies it, for features that are older than names.
    pub reader_version: Option<i32>,
    /// The writer version that implies it, for features that are older than names.
    pub writer_version: Option<i32>,
    /// Features that must be there as well.
    pub needs: &'static [&'static str],
    /// What makes a table use it.
    pub enabled: Enabled,
    /// Whether tables with it can be read.
    pub read: bool,
    /// Whether tables with it can be written to.
    pub write: bool,
    /// What respects it when the table is written, in a few words.
    pub enforced: &'static str,
}

/// A feature for writers.
const fn writer(name: &'static str, enabled: Enabled, write: bool, enforced: &'static str) -> Feature {
    Feature {
        name,
        preview_of: None,
        kind: FeatureKind::Writer,
        reader_version: None,
        writer_version: None,
        needs: &[],
        enabled,
        read: true,
        write,
        enforced,
    }
}

/// A feature for readers and writers.
const fn both(name: &'static str, enabled: Enabled, write: bool, enforced: &'static str) -> Feature {
    Feature { kind: FeatureKind::ReaderWriter, ..writer(name, enabled, write, enforced) }
}

/// The early name of a feature.
const fn preview(name: &'static str, of: Feature) -> Feature {
    Feature { name, preview_of: Some(of.name), ..of }
}

/// A feature that a writer version implies.
const fn since(writer_version: i32, feature: Feature) -> Feature {
    Feature { writer_version: Some(writer_version), ..feature }
}

/// A feature that needs others.
const fn with(needs: &'static [&'static str], feature: Feature) -> Feature {
    Feature { needs, ..feature }
}

const COLUMN_MAPPING: Feature = both(
    "columnMapping",
    Enabled::OtherThan("delta.columnMapping.mode", "none"),
    true,
    "the writer: names and ids in files, partition values and statistics; ALTER: rename and drop",
);
const TIMESTAMP_NTZ: Feature = both("timestampNtz", Enabled::Type(PrimitiveType::TimestampNtz), true, "the schema of the data");
const TYPE_WIDENING: Feature = both(
    "typeWidening",
    Enabled::Property("delta.enableTypeWidening"),
    true,
    "`merge_schema` and ALTER: only what the protocol allows, remembered in the schema",
);
const IN_COMMIT_TIMESTAMP: Feature = writer(
    "inCommitTimestamp",
    Enabled::Property("delta.enableInCommitTimestamps"),
    true,
    "the commit: each holds its time, later than the one before",
);
const VARIANT: Feature =
    both("variantType", Enabled::Variant, true, "the writer: every variant is whole, and refers to names that it has");
const SHREDDING: Feature = with(
    &["variantType"],
    both(
        "variantShredding",
        Enabled::Property("delta.enableVariantShredding"),
        true,
        "variants are written whole, which the feature allows",
    ),
);
const CATALOG: Feature = with(
    &["inCommitTimestamp"],
    both("catalogManaged", Enabled::ByName, true, "the committer of the catalog, without which the table is not opened"),
);

/// All features that are known by name.
pub const FEATURES: &[Feature] = &[
    since(
        2,
        writer("appendOnly", Enabled::Property("delta.appendOnly"), true, "the commit: no row leaves while the property is true"),
    ),
    since(
        2,
        writer("invariants", Enabled::ColumnKey("delta.invariants"), true, "the writer, for each row (needs `Expressions`)"),
    ),
    since(
        3,
        writer(
            "checkConstraints",
            Enabled::Properties("delta.constraints."),
            true,
            "the writer, for each row (needs `Expressions`); ALTER, for rows that are there",
        ),
    ),
    since(
        4,
        writer(
            "changeDataFeed",
            Enabled::Property("delta.enableChangeDataFeed"),
            true,
            "the commit: one that rewrites rows must record what changed",
        ),
    ),
    since(
        4,
        writer(
            "generatedColumns",
            Enabled::ColumnKey("delta.generationExpression"),
            true,
            "the writer: computed or compared (needs `Expressions`)",
        ),
    ),
    Feature { reader_version: Some(2), writer_version: Some(5), ..COLUMN_MAPPING },
    since(
        6,
        writer(
            "identityColumns",
            Enabled::ColumnKey("delta.identity."),
            true,
            "the writer numbers; two that number at once conflict",
        ),
    ),
    writer(
        "allowColumnDefaults",
        Enabled::ColumnKey("CURRENT_DEFAULT"),
        true,
        "the writer fills in columns that the data lacks (needs `Expressions`)",
    ),
    both("deletionVectors", Enabled::Property("delta.enableDeletionVectors"), true, "every reader of the table, by checksum"),
    with(
        &["domainMetadata"],
        writer(
            "rowTracking",
            Enabled::Property("delta.enableRowTracking"),
            true,
            "the commit numbers rows; the writer refuses rows from before that do not bring their ids along",
        ),
    ),
    TIMESTAMP_NTZ,
    preview("timestampWithoutTimezone", TIMESTAMP_NTZ),
    TYPE_WIDENING,
    preview("typeWidening-preview", TYPE_WIDENING),
    writer("domainMetadata", Enabled::ByName, true, "domains are kept until they are removed"),
    both("v2Checkpoint", Enabled::Value("delta.checkpointPolicy", "v2"), true, "either form of checkpoint is right"),
    both("vacuumProtocolCheck", Enabled::ByName, true, "vacuum: it checks what writers must know"),
    IN_COMMIT_TIMESTAMP,
    preview(
        "inCommitTimestamp-preview",
        Feature { enabled: Enabled::Property("delta.enableInCommitTimestamps-preview"), ..IN_COMMIT_TIMESTAMP },
    ),
    with(
        &["columnMapping"],
        writer(
            "icebergCompatV1",
            Enabled::Property("delta.enableIcebergCompatV1"),
            true,
            "the commit refuses what it forbids; files hold partition columns too",
        ),
    ),
    with(
        &["columnMapping"],
        writer(
            "icebergCompatV2",
            Enabled::Property("delta.enableIcebergCompatV2"),
            true,
            "the commit refuses what it forbids; files hold partition columns too",
        ),
    ),
    with(
        &["domainMetadata"],
        writer("clustering", Enabled::ByName, true, "clustering columns have statistics; the domain is kept"),
    ),
    writer(
        "checkpointProtection",
        Enabled::ByName,
        true,
        "log clean-up: what is protected goes as a whole or not at all; checkpoints are of the newest version",
    ),
    VARIANT,
    preview("variantType-preview", VARIANT),
    SHREDDING,
    preview("variantShredding-preview", SHREDDING),
    CATALOG,
    preview("catalogOwned-preview", CATALOG),
];

/// The facts about a feature.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|f| f.name == name)
}

/// The facts as a table in Markdown.
///
/// # Example
/// ```
/// let table = boathouse_delta_protocol::features::feature_table();
/// assert!(table.starts_with("| feature |"));
/// assert!(table.contains("| `appendOnly` |"));
/// ```
pub fn feature_table() -> String {
    let mut text = String::from("| feature | concerns | since | needs | enabled by | read | write | enforced by |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for feature in FEATURES {
        let concerns = match feature.kind {
            FeatureKind::Writer => "writers",
            FeatureKind::ReaderWriter => "both",
        };
        let since = match (feature.reader_version, feature.writer_version) {
            (Some(reader), Some(writer)) => format!("reader {reader}, writer {writer}"),
            (None, Some(writer)) => format!("writer {writer}"),
            _ => "by name".to_owned(),
        };
        let needs: Vec<String> = feature.needs.iter().map(|n| format!("`{n}`")).collect();
        let yes = |supported: bool| if supported { "yes" } else { "no" };
        let enforced = if feature.enforced.is_empty() { "—" } else { feature.enforced };
        let name = match feature.preview_of {
            Some(of) => format!("`{}` (is `{of}`)", feature.name),
            None => format!("`{}`", feature.name),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {concerns} | {since} | {} | {} | {} | {} | {enforced} |",
            if needs.is_empty() { "—".to_owned() } else { needs.join(", ") },
            feature.enabled,
            yes(feature.read),
            yes(feature.write),
        );
    }
    text
}

impl std::fmt::Display for Enabled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByName => f.write_str("its name"),
            Self::Property(key) => write!(f, "`{key}`"),
            Self::Value(key, value) => write!(f, "`{key}` = `{value}`"),
            Self::OtherThan(key, value) => write!(f, "`{key}` other than `{value}`"),
            Self::Properties(prefix) => write!(f, "`{prefix}…`"),
            Self::ColumnKey(prefix) if prefix.ends_with('.') => write!(f, "`{prefix}…` of a column"),
            Self::ColumnKey(key) => write!(f, "`{key}` of a column"),
            Self::Type(data_type) => write!(f, "a column of type `{data_type}`"),
            Self::Variant => f.write_str("a column of type `variant`"),
        }
    }
}
