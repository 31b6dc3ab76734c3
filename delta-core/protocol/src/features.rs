//! Table features: what a table may demand, and what this build can do.
//!
//! A table names what a client must be able to do, by version numbers (old) or by feature names (new).
//! A reader refuses what it does not know; a writer as well. On tables of the old kind a version
//! implies many features that nobody uses: there only what is *active* counts, which metadata shows.
//!
//! # What this build can do
//! | feature | read | write |
//! | --- | --- | --- |
//! | `appendOnly` | yes | yes, enforced |
//! | `invariants`, `checkConstraints`, `generatedColumns`, `identityColumns`, `allowColumnDefaults` | yes | tables where no column uses them |
//! | `changeDataFeed` | yes | additions and whole files; no row changes while it is enabled |
//! | `columnMapping` | yes | tables with mode `none` |
//! | `deletionVectors` | yes | yes |
//! | `timestampNtz`, `domainMetadata`, `v2Checkpoint`, `vacuumProtocolCheck` | yes | yes |
//! | `typeWidening` | yes | yes, without widening |
//! | `inCommitTimestamp`, `icebergCompatV1`, `icebergCompatV2` | yes | while not enabled |
//! | `rowTracking`, `clustering`, `checkpointProtection`, `variantType`, `variantShredding` | yes | no |
//! | `catalogManaged` and unknown ones | no | no |
//!
//! **Source**: Delta protocol, "Table Features", "Valid Feature Names in Table Features", "Writer Version Requirements".

use std::collections::BTreeMap;

use crate::action::{Metadata, Protocol};
use crate::error::{Access, ProtocolError, Result};
use crate::properties::TableProperties;
use crate::schema::{ColumnMappingMode, DataType, PrimitiveType, StructField, StructType};

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

/// Whether a table with a feature can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteSupport {
    /// Yes.
    Yes,
    /// As long as the table does not use it: neither its properties nor its columns show it.
    WhileInactive,
    /// No.
    No,
}

/// One row of the table of facts.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// Its name in the protocol action.
    pub name: &'static str,
    /// Whom it concerns.
    pub kind: FeatureKind,
    /// The reader version that implies it, for features that are older than names.
    pub reader_version: Option<i32>,
    /// The writer version that implies it, for features that are older than names.
    pub writer_version: Option<i32>,
    /// Whether tables with it can be read.
    pub read: bool,
    /// Whether tables with it can be written to.
    pub write: WriteSupport,
}

const fn writer(name: &'static str, writer_version: Option<i32>, write: WriteSupport) -> Feature {
    Feature { name, kind: FeatureKind::Writer, reader_version: None, writer_version, read: true, write }
}

const fn both(name: &'static str, read: bool, write: WriteSupport) -> Feature {
    Feature { name, kind: FeatureKind::ReaderWriter, reader_version: None, writer_version: None, read, write }
}

/// All features that are known by name.
pub const FEATURES: &[Feature] = &[
    writer("appendOnly", Some(2), WriteSupport::Yes),
    writer("invariants", Some(2), WriteSupport::WhileInactive),
    writer("checkConstraints", Some(3), WriteSupport::WhileInactive),
    writer("changeDataFeed", Some(4), WriteSupport::Yes),
    writer("generatedColumns", Some(4), WriteSupport::WhileInactive),
    Feature { reader_version: Some(2), writer_version: Some(5), ..both("columnMapping", true, WriteSupport::WhileInactive) },
    writer("identityColumns", Some(6), WriteSupport::WhileInactive),
    writer("allowColumnDefaults", None, WriteSupport::WhileInactive),
    both("deletionVectors", true, WriteSupport::Yes),
    writer("rowTracking", None, WriteSupport::No),
    both("timestampNtz", true, WriteSupport::Yes),
    both("timestampWithoutTimezone", true, WriteSupport::Yes),
    both("typeWidening", true, WriteSupport::Yes),
    both("typeWidening-preview", true, WriteSupport::Yes),
    writer("domainMetadata", None, WriteSupport::Yes),
    both("v2Checkpoint", true, WriteSupport::Yes),
    both("vacuumProtocolCheck", true, WriteSupport::Yes),
    writer("inCommitTimestamp", None, WriteSupport::WhileInactive),
    writer("inCommitTimestamp-preview", None, WriteSupport::WhileInactive),
    writer("icebergCompatV1", None, WriteSupport::WhileInactive),
    writer("icebergCompatV2", None, WriteSupport::WhileInactive),
    writer("clustering", None, WriteSupport::No),
    writer("checkpointProtection", None, WriteSupport::No),
    both("variantType", true, WriteSupport::No),
    both("variantType-preview", true, WriteSupport::No),
    both("variantShredding", true, WriteSupport::No),
    both("variantShredding-preview", true, WriteSupport::No),
    both("catalogManaged", false, WriteSupport::No),
    both("catalogOwned-preview", false, WriteSupport::No),
];

/// What a commit does to rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowChange {
    /// Nothing: rows are only added, or nothing but metadata changes.
    None,
    /// Nothing: rows move between files (`dataChange` is false).
    Rearrange,
    /// Whole files leave.
    RemoveFiles,
    /// Rows are changed or removed within files.
    Rewrite,
}

/// The facts about a feature.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|f| f.name == name)
}

/// Whether a table with this protocol has a feature, by name or by version.
pub fn has(protocol: &Protocol, name: &str) -> bool {
    let listed = |list: &Option<Vec<String>>| list.as_deref().is_some_and(|l| l.iter().any(|f| f == name));
    if listed(&protocol.reader_features) || listed(&protocol.writer_features) {
        return true;
    }
    let Some(feature) = feature(name) else { return false };
    let by_writer = protocol.min_writer_version < 7 && feature.writer_version.is_some_and(|v| protocol.min_writer_version >= v);
    match feature.kind {
        FeatureKind::Writer => by_writer,
        FeatureKind::ReaderWriter => {
            let by_reader =
                protocol.min_reader_version < 3 && feature.reader_version.is_some_and(|v| protocol.min_reader_version >= v);
            by_reader && (by_writer || protocol.min_writer_version >= 7)
        }
    }
}

/// How columns are found in files: the property counts only when the protocol has the feature.
pub fn column_mapping(protocol: &Protocol, properties: &TableProperties) -> ColumnMappingMode {
    if has(protocol, "columnMapping") { properties.column_mapping_mode } else { ColumnMappingMode::None }
}

/// Checks that a table with this protocol can be read.
///
/// **Errors**: `Unsupported` names the feature or the version.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{action::Protocol, features};
///
/// let protocol = Protocol {
///     min_reader_version: 3,
///     min_writer_version: 7,
///     reader_features: Some(vec!["timeMachine".to_owned()]),
///     writer_features: Some(vec!["timeMachine".to_owned()]),
/// };
/// let error = features::check_read(&protocol).unwrap_err();
/// assert!(error.to_string().contains("`timeMachine`"));
/// ```
pub fn check_read(protocol: &Protocol) -> Result<()> {
    if protocol.min_reader_version > READER_VERSION {
        return Err(ProtocolError::UnsupportedVersion {
            access: Access::Read,
            required: protocol.min_reader_version,
            known: READER_VERSION,
        });
    }
    if protocol.min_reader_version < 3 {
        return Ok(());
    }
    let Some(names) = &protocol.reader_features else {
        return Err(ProtocolError::InvalidProtocol { found: "reader version 3 without a list of reader features".to_owned() });
    };
    match names.iter().find(|name| !feature(name).is_some_and(|f| f.read)) {
        Some(name) => Err(unsupported(name, Access::Read, String::new())),
        None => Ok(()),
    }
}

/// Checks that a table can be written to.
///
/// **Errors**: `Unsupported` names the feature, and for features that hinge on it the column or property that
/// uses it; `Corrupt` when the schema does not parse.
pub fn check_write(protocol: &Protocol, metadata: &Metadata) -> Result<()> {
    check_read(protocol)?;
    if protocol.min_writer_version > WRITER_VERSION {
        return Err(ProtocolError::UnsupportedVersion {
            access: Access::Write,
            required: protocol.min_writer_version,
            known: WRITER_VERSION,
        });
    }
    let schema = metadata.schema()?;
    let check = |feature: &Feature| match feature.write {
        WriteSupport::Yes => Ok(()),
        WriteSupport::No => Err(unsupported(feature.name, Access::Write, String::new())),
        WriteSupport::WhileInactive => match used_by(feature.name, metadata, &schema) {
            Some(user) => Err(unsupported(feature.name, Access::Write, format!(": {user} uses it"))),
            None => Ok(()),
        },
    };
    if protocol.min_writer_version < 7 {
        return FEATURES
            .iter()
            .filter(|f| f.writer_version.is_some_and(|v| protocol.min_writer_version >= v))
            .try_for_each(check);
    }
    let Some(names) = &protocol.writer_features else {
        return Err(ProtocolError::InvalidProtocol { found: "writer version 7 without a list of writer features".to_owned() });
    };
    for name in names {
        match feature(name) {
            Some(feature) => check(feature)?,
            None => return Err(unsupported(name, Access::Write, String::new())),
        }
    }
    Ok(())
}

/// Checks that rows of the table may be changed in this way.
///
/// **Errors**: `Invalid` on append-only tables; `Unsupported` where the change feed would need files of changes.
pub fn check_change(protocol: &Protocol, properties: &TableProperties, change: RowChange) -> Result<()> {
    let removes = matches!(change, RowChange::RemoveFiles | RowChange::Rewrite);
    if removes && properties.append_only && has(protocol, "appendOnly") {
        return Err(ProtocolError::AppendOnly);
    }
    if change == RowChange::Rewrite && properties.enable_change_data_feed && has(protocol, "changeDataFeed") {
        let reason = ": `delta.enableChangeDataFeed` is true, and changing rows needs files of changes".to_owned();
        return Err(unsupported("changeDataFeed", Access::Write, reason));
    }
    Ok(())
}

/// The protocol for a new table, or for one that gets this schema and these properties: no more than they need.
///
/// Properties named `delta.feature.NAME = supported` add that feature.
///
/// **Errors**: `Unsupported` names a feature that is asked for but cannot be written; `Invalid` for bad properties.
pub fn protocol_for(schema: &StructType, configuration: &BTreeMap<String, String>) -> Result<Protocol> {
    let properties = TableProperties::parse(configuration)?;
    let mut names: Vec<&'static str> = Vec::new();
    if any_type(schema, &|t| t == PrimitiveType::TimestampNtz) {
        names.push("timestampNtz");
    }
    if properties.enable_deletion_vectors {
        names.push("deletionVectors");
    }
    if properties.enable_change_data_feed {
        names.push("changeDataFeed");
    }
    for (enabled, name) in [
        (properties.enable_in_commit_timestamps, "inCommitTimestamp"),
        (properties.enable_row_tracking, "rowTracking"),
        (properties.column_mapping_mode != ColumnMappingMode::None, "columnMapping"),
        (configuration.keys().any(|k| k.starts_with(CONSTRAINT)), "checkConstraints"),
    ] {
        if enabled {
            return Err(unsupported(name, Access::Write, ": the properties of the new table ask for it".to_owned()));
        }
    }
    for (key, value) in configuration {
        let Some(name) = key.strip_prefix("delta.feature.") else { continue };
        if !value.eq_ignore_ascii_case("supported") && !value.eq_ignore_ascii_case("enabled") {
            return Err(ProtocolError::InvalidProperty { key: key.clone(), value: value.clone(), expected: "supported" });
        }
        match feature(name) {
            Some(f) if f.read && f.write != WriteSupport::No => {
                if !names.contains(&f.name) {
                    names.push(f.name);
                }
            }
            _ => return Err(unsupported(name, Access::Write, ": the properties of the new table ask for it".to_owned())),
        }
    }
    if names.is_empty() {
        return Ok(Protocol::default());
    }
    // What versions 1 and 2 imply stays in force.
    for implied in ["appendOnly", "invariants"] {
        if !names.contains(&implied) {
            names.push(implied);
        }
    }
    names.sort_unstable();
    let readers: Vec<String> = names
        .iter()
        .filter(|n| feature(n).is_some_and(|f| f.kind == FeatureKind::ReaderWriter))
        .map(|n| (*n).to_owned())
        .collect();
    let writers = names.into_iter().map(str::to_owned).collect();
    Ok(if readers.is_empty() {
        Protocol { min_reader_version: 1, min_writer_version: 7, reader_features: None, writer_features: Some(writers) }
    } else {
        Protocol { min_reader_version: 3, min_writer_version: 7, reader_features: Some(readers), writer_features: Some(writers) }
    })
}

/// The protocol that a table needs after its schema or properties changed: what it has, and what is new.
///
/// Returns `None` when the table's protocol suffices.
///
/// **Errors**: as [`protocol_for`].
pub fn protocol_upgrade(
    protocol: &Protocol,
    schema: &StructType,
    configuration: &BTreeMap<String, String>,
) -> Result<Option<Protocol>> {
    let needed = protocol_for(schema, configuration)?;
    let needed: Vec<String> = needed.writer_features.unwrap_or_default();
    let missing: Vec<&String> = needed.iter().filter(|name| !has(protocol, name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let all: Vec<&str> =
        FEATURES.iter().map(|f| f.name).filter(|name| has(protocol, name) || missing.iter().any(|m| m == name)).collect();
    let mut readers = protocol.reader_features.clone().unwrap_or_default();
    let mut writers = protocol.writer_features.clone().unwrap_or_default();
    for name in all {
        let reads = feature(name).is_some_and(|f| f.kind == FeatureKind::ReaderWriter);
        if reads && !readers.iter().any(|n| n == name) {
            readers.push(name.to_owned());
        }
        if !writers.iter().any(|n| n == name) {
            writers.push(name.to_owned());
        }
    }
    readers.sort_unstable();
    writers.sort_unstable();
    let min_reader_version = if readers.is_empty() { protocol.min_reader_version } else { 3 };
    let reader_features = (min_reader_version >= 3).then_some(readers);
    Ok(Some(Protocol { min_reader_version, min_writer_version: 7, reader_features, writer_features: Some(writers) }))
}

/// The prefix of the properties that hold CHECK constraints.
const CONSTRAINT: &str = "delta.constraints.";

fn unsupported(feature: &str, access: Access, reason: String) -> ProtocolError {
    ProtocolError::UnsupportedFeature { feature: feature.to_owned(), access, reason }
}

/// What in the table uses a feature.
fn used_by(feature: &str, metadata: &Metadata, schema: &StructType) -> Option<String> {
    let column = |test: &dyn Fn(&str) -> bool| {
        find_column("", schema, &|field| field.metadata.keys().any(|k| test(k))).map(|c| format!("column `{c}`"))
    };
    let enabled = |key: &str| {
        let on = metadata.configuration.iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && v.eq_ignore_ascii_case("true"));
        on.then(|| format!("property `{key}`"))
    };
    match feature {
        "invariants" => column(&|k| k == "delta.invariants"),
        "checkConstraints" => {
            metadata.configuration.keys().find(|k| k.starts_with(CONSTRAINT)).map(|k| format!("property `{k}`"))
        }
        "generatedColumns" => column(&|k| k == "delta.generationExpression"),
        "identityColumns" => column(&|k| k.starts_with("delta.identity.")),
        "allowColumnDefaults" => column(&|k| k == "CURRENT_DEFAULT"),
        "columnMapping" => metadata
            .configuration
            .iter()
            .find(|(k, v)| k.eq_ignore_ascii_case("delta.columnMapping.mode") && !v.eq_ignore_ascii_case("none"))
            .map(|(k, v)| format!("property `{k}` = `{v}`")),
        "inCommitTimestamp" | "inCommitTimestamp-preview" => {
            enabled("delta.enableInCommitTimestamps").or_else(|| enabled("delta.enableInCommitTimestamps-preview"))
        }
        "icebergCompatV1" => enabled("delta.enableIcebergCompatV1"),
        "icebergCompatV2" => enabled("delta.enableIcebergCompatV2"),
        _ => None,
    }
}

fn find_column(parent: &str, inner: &StructType, test: &dyn Fn(&StructField) -> bool) -> Option<String> {
    inner.fields.iter().find_map(|field| {
        let column = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        if test(field) { Some(column) } else { find_in(&column, &field.data_type, test) }
    })
}

fn find_in(column: &str, data_type: &DataType, test: &dyn Fn(&StructField) -> bool) -> Option<String> {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => None,
        DataType::Struct(inner) => find_column(column, inner, test),
        DataType::Array(array) => find_in(&format!("{column}.element"), &array.element, test),
        DataType::Map(map) => {
            find_in(&format!("{column}.key"), &map.key, test).or_else(|| find_in(&format!("{column}.value"), &map.value, test))
        }
    }
}

fn any_type(inner: &StructType, test: &dyn Fn(PrimitiveType) -> bool) -> bool {
    fn any(data_type: &DataType, test: &dyn Fn(PrimitiveType) -> bool) -> bool {
        match data_type {
            DataType::Primitive(primitive) => test(*primitive),
            DataType::Variant => false,
            DataType::Struct(inner) => any_type(inner, test),
            DataType::Array(array) => any(&array.element, test),
            DataType::Map(map) => any(&map.key, test) || any(&map.value, test),
        }
    }
    inner.fields.iter().any(|field| any(&field.data_type, test))
}
