//! A table without one of its features.
//!
//! **Source**: Delta protocol, "Table Features"; the reference implementation, `ALTER TABLE … DROP FEATURE`; the RFC
//! "Checkpoint Protection".

use std::collections::BTreeMap;

use super::active::{column_mapping, has, is_implied, used_by};
use super::table::{Enabled, FEATURES, Feature, FeatureKind, feature};
use crate::action::{Metadata, Protocol};
use crate::conflict::ROW_TRACKING_DOMAIN;
use crate::error::{ProtocolError, Result};
use crate::schema::{ColumnMappingMode, StructType};

/// The feature by which checkpoints are protected.
pub const CHECKPOINT_PROTECTION: &str = "checkpointProtection";
/// The property with the version before which they are.
pub const PROTECTED_BEFORE: &str = "delta.requireCheckpointProtectionBeforeVersion";

/// The property by which a table gives no row ids any more.
pub const ROW_TRACKING_SUSPENDED: &str = "delta.rowTrackingSuspended";

/// Properties that go with a feature, beyond the one that enables it.
const ALONG: [(&str, &[&str]); 4] = [
    ("columnMapping", &["delta.columnMapping.mode", "delta.columnMapping.maxColumnId"]),
    (
        "rowTracking",
        &[
            ROW_TRACKING_SUSPENDED,
            "delta.rowTracking.materializedRowIdColumnName",
            "delta.rowTracking.materializedRowCommitVersionColumnName",
        ],
    ),
    ("inCommitTimestamp", &["delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp"]),
    (CHECKPOINT_PROTECTION, &[PROTECTED_BEFORE]),
];

/// A table without a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Downgrade {
    /// What clients must be able to do without it.
    pub protocol: Protocol,
    /// The properties without those that enable it.
    pub configuration: BTreeMap<String, String>,
    /// The columns without what is the feature's.
    pub schema: StructType,
    /// What earlier versions mean for it.
    pub history: FeatureHistory,
    /// What must go first, by a version of its own.
    pub traces: FeatureTraces,
    /// Domains that go with it.
    pub domains: Vec<String>,
}

/// What of a feature stands in the files and the log of a version. It goes first, while the table still has the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureTraces {
    /// Nothing.
    None,
    /// Files know columns by names or ids of their own: all of them are written again, with the names that users see.
    ColumnNames,
    /// Files that were written before a column got its type: these are written again.
    OldTypes,
    /// The log has row ids of files, and goes on giving them: that ends, and files are listed without.
    RowIds,
    /// Metadata domains: they are removed.
    Domains,
}

/// What earlier versions mean when a feature is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeatureHistory {
    /// Nothing: they are read without it.
    Free,
    /// Readers of them must know it: they go, or stay behind checkpoints that are protected.
    Needs,
}

/// Why a feature cannot be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropProblem {
    /// The table does not have it.
    #[error("the table does not have it; it has {features}")]
    NotThere {
        /// The features that it has.
        features: String,
    },
    /// Nobody here knows what it means.
    #[error("it is not known here, and so it is not known what uses it; drop it with the program that brought it")]
    Unknown,
    /// Another feature of the table needs it.
    #[error("the feature `{feature}` needs it; drop that first")]
    NeededBy {
        /// The other feature.
        feature: String,
    },
    /// Something in the table uses it.
    #[error("{user} uses it; remove or change that first")]
    InUse {
        /// The column, property or domain.
        user: String,
    },
    /// No program takes it from a table.
    #[error("Delta never takes it from a table; {instead}")]
    Stays {
        /// What can be done.
        instead: &'static str,
    },
    /// It keeps the history safe, which must go first.
    #[error("it protects earlier versions, which must be gone first; use TRUNCATE HISTORY")]
    ProtectsHistory,
}

/// What the table would be without a feature. `domains` are the names of its metadata domains.
///
/// Features that are demanded by version are listed by name, when the others cannot be said by version any more.
///
/// **Errors**: `Corrupt` when the schema does not parse. Inside: why it cannot be dropped.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::action::{Metadata, Protocol};
/// use boathouse_delta_protocol::features::{FeatureHistory, downgrade};
///
/// let protocol = Protocol {
///     min_reader_version: 3,
///     min_writer_version: 7,
///     reader_features: Some(vec!["deletionVectors".to_owned()]),
///     writer_features: Some(vec!["appendOnly".to_owned(), "deletionVectors".to_owned(), "invariants".to_owned()]),
/// };
/// let metadata = Metadata { configuration: [("delta.enableDeletionVectors".to_owned(), "true".to_owned())].into(), ..Metadata::default() };
/// # let metadata = Metadata { schema_string: r#"{"type":"struct","fields":[]}"#.to_owned(), ..metadata };
/// let without = downgrade(&protocol, &metadata, &[], "deletionVectors")?.unwrap();
/// assert_eq!((without.protocol.min_reader_version, without.protocol.min_writer_version), (1, 2));
/// assert_eq!((without.configuration.len(), without.history), (0, FeatureHistory::Needs));
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn downgrade(
    protocol: &Protocol,
    metadata: &Metadata,
    domains: &[&str],
    name: &str,
) -> Result<Result<Downgrade, DropProblem>> {
    let listed = names(protocol);
    // An early name of it is another name: what is dropped is what is listed.
    if !listed.iter().any(|listed| listed == name) {
        let features = listed.join(", ");
        return Ok(Err(DropProblem::NotThere { features: if features.is_empty() { "none".to_owned() } else { features } }));
    }
    let Some(dropped) = feature(name) else { return Ok(Err(DropProblem::Unknown)) };
    if let Some(other) = FEATURES.iter().find(|f| f.name != name && f.needs.contains(&name) && has(protocol, f.name)) {
        return Ok(Err(DropProblem::NeededBy { feature: other.name.to_owned() }));
    }
    let mut schema = metadata.schema()?;
    let (mut traces, mut gone) = (FeatureTraces::None, Vec::new());
    match dropped.preview_of.unwrap_or(dropped.name) {
        "catalogManaged" => return Ok(Err(DropProblem::Stays { instead: "ask the catalog that manages the table" })),
        "clustering" => {
            let instead = "ALTER TABLE … CLUSTER BY NONE ends clustering, and then the feature asks nothing of writers";
            return Ok(Err(DropProblem::Stays { instead }));
        }
        "rowTracking" => {
            traces = FeatureTraces::RowIds;
            gone.extend(domains.iter().filter(|domain| **domain == ROW_TRACKING_DOMAIN).map(|domain| (*domain).to_owned()));
        }
        "domainMetadata" if !domains.is_empty() => traces = FeatureTraces::Domains,
        "typeWidening" if !schema.columns_with_type_changes().is_empty() => {
            traces = FeatureTraces::OldTypes;
            schema = schema.without_type_changes();
        }
        "columnMapping" => {
            if column_mapping(protocol, &metadata.properties()?) != ColumnMappingMode::None {
                traces = FeatureTraces::ColumnNames;
            }
            schema = schema.without_column_names();
            match schema.validate(ColumnMappingMode::None) {
                Err(ProtocolError::InvalidColumnName { column, character }) => {
                    let user = format!("the name of column `{column}`, with {character:?},");
                    return Ok(Err(DropProblem::InUse { user }));
                }
                checked => checked?,
            }
        }
        _ => {}
    }
    let mut configuration = metadata.configuration.clone();
    if let Enabled::Property(key) | Enabled::Value(key, _) = dropped.enabled {
        configuration.retain(|known, _| !known.eq_ignore_ascii_case(key));
    }
    for (_, along) in ALONG.iter().filter(|(feature, _)| *feature == name) {
        configuration.retain(|known, _| !along.iter().any(|key| key.eq_ignore_ascii_case(known)));
    }
    if let Some(user) = used_by(dropped.enabled, &configuration, &schema) {
        return Ok(Err(DropProblem::InUse { user }));
    }
    let history = match dropped.kind {
        // A vacuum looks at the newest version alone.
        FeatureKind::ReaderWriter if name != "vacuumProtocolCheck" => FeatureHistory::Needs,
        _ => FeatureHistory::Free,
    };
    Ok(Ok(Downgrade { protocol: without(protocol, dropped), configuration, schema, history, traces, domains: gone }))
}

/// Whether a version with this metadata, or a file with a deletion vector, uses a feature.
///
/// **Errors**: `Corrupt` when the schema does not parse.
pub fn leaves_traces(metadata: &Metadata, name: &str) -> Result<bool> {
    let Some(feature) = feature(name) else { return Ok(true) };
    if feature.preview_of.unwrap_or(name) == "typeWidening" && !metadata.schema()?.columns_with_type_changes().is_empty() {
        return Ok(true);
    }
    Ok(used_by(feature.enabled, &metadata.configuration, &metadata.schema()?).is_some())
}

/// The features of a table by name, those that are demanded by version too.
fn names(protocol: &Protocol) -> Vec<String> {
    let implied = FEATURES.iter().filter(|f| f.preview_of.is_none() && is_implied(protocol, f)).map(|f| f.name.to_owned());
    let listed = protocol.reader_features.iter().chain(&protocol.writer_features).flatten().cloned();
    let mut names: Vec<String> = implied.chain(listed).collect();
    names.sort();
    names.dedup();
    names
}

/// The least that the other features demand.
fn without(protocol: &Protocol, dropped: &Feature) -> Protocol {
    let left: Vec<String> = names(protocol).into_iter().filter(|name| name != dropped.name).collect();
    let of = |kind: FeatureKind| {
        let is = |name: &&String| feature(name).is_none_or(|f| f.kind == kind);
        left.iter().filter(is).cloned().collect::<Vec<_>>()
    };
    let listed = |list: &Option<Vec<String>>, name: &String| list.as_ref().is_some_and(|list| list.contains(name));
    // What is not known here is for readers when it says so.
    let readers: Vec<String> = of(FeatureKind::ReaderWriter)
        .into_iter()
        .filter(|name| feature(name).is_some() || listed(&protocol.reader_features, name))
        .collect();
    let legacy = |(reader, writer): &(i32, i32)| {
        let version =
            Protocol { min_reader_version: *reader, min_writer_version: *writer, reader_features: None, writer_features: None };
        names(&version) == left
    };
    let versions = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6)];
    if let Some((reader, writer)) = versions.into_iter().find(legacy) {
        return Protocol { min_reader_version: reader, min_writer_version: writer, reader_features: None, writer_features: None };
    }
    let (min_reader_version, reader_features) = if readers.is_empty() { (1, None) } else { (3, Some(readers)) };
    Protocol { min_reader_version, min_writer_version: 7, reader_features, writer_features: Some(left) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn table(features: &[&str], readers: &[&str], properties: &[(&str, &str)]) -> (Protocol, Metadata) {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let protocol = Protocol {
            min_reader_version: 3,
            min_writer_version: 7,
            reader_features: list(readers),
            writer_features: list(features),
        };
        let configuration = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let schema_string = r#"{"type":"struct","fields":[{"name":"at","type":"timestamp_ntz","nullable":true,"metadata":{}}]}"#;
        (protocol, Metadata { configuration, schema_string: schema_string.to_owned(), ..Metadata::default() })
    }

    fn dropped(table: &(Protocol, Metadata), name: &str) -> Result<Downgrade, DropProblem> {
        downgrade(&table.0, &table.1, &[], name).unwrap()
    }

    #[test]
    fn features_that_are_demanded_by_version_are_listed_without_the_one_that_goes() {
        let (_, metadata) = table(&[], &[], &[]);
        let legacy = Protocol { min_reader_version: 1, min_writer_version: 4, reader_features: None, writer_features: None };
        let left = dropped(&(legacy.clone(), metadata.clone()), "checkConstraints").unwrap().protocol;
        let expected = ["appendOnly", "changeDataFeed", "generatedColumns", "invariants"];
        assert_eq!((left.min_reader_version, left.min_writer_version), (1, 7));
        assert_eq!(left.writer_features.as_deref().unwrap(), expected);
        assert!(!has(&left, "checkConstraints") && has(&left, "changeDataFeed"));
        // And by version again, when that says the same.
        let three = Protocol { min_writer_version: 3, ..legacy };
        assert_eq!(dropped(&(three, metadata), "checkConstraints").unwrap().protocol.min_writer_version, 2);
    }

    #[test]
    fn what_is_used_or_needed_stays() {
        let features = ["columnMapping", "domainMetadata", "icebergCompatV1", "rowTracking", "timestampNtz", "checkConstraints"];
        let table = table(
            &features,
            &["columnMapping", "timestampNtz"],
            &[("delta.columnMapping.mode", "name"), ("delta.constraints.paid", "fare > 0")],
        );
        let problem = |name: &str| dropped(&table, name).unwrap_err();
        assert_eq!(problem("columnMapping"), DropProblem::NeededBy { feature: "icebergCompatV1".to_owned() });
        assert_eq!(problem("domainMetadata"), DropProblem::NeededBy { feature: "rowTracking".to_owned() });
        assert!(matches!(dropped(&table, "clustering").unwrap_err(), DropProblem::NotThere { .. }));
        assert_eq!(problem("timestampNtz"), DropProblem::InUse { user: "column `at`".to_owned() });
        assert_eq!(problem("checkConstraints"), DropProblem::InUse { user: "property `delta.constraints.paid`".to_owned() });
        assert!(matches!(problem("deletionVectors"), DropProblem::NotThere { .. }));
        assert_eq!(dropped(&table, "icebergCompatV1").unwrap().history, FeatureHistory::Free);
    }

    #[test]
    fn what_stands_in_files_and_log_is_named() {
        let features = ["columnMapping", "domainMetadata", "rowTracking", "typeWidening-preview", "clustering"];
        let (protocol, mut metadata) = table(
            &features,
            &["columnMapping", "typeWidening-preview"],
            &[
                ("delta.columnMapping.mode", "name"),
                ("delta.columnMapping.maxColumnId", "1"),
                ("delta.enableRowTracking", "true"),
            ],
        );
        metadata.schema_string = r#"{"type":"struct","fields":[{"name":"at","type":"long","nullable":true,"metadata":{
            "delta.columnMapping.id":1,"delta.columnMapping.physicalName":"col-1",
            "delta.typeChanges":[{"fromType":"short","toType":"long","tableVersion":3}],"comment":"when"}}]}"#
            .to_owned();
        let table = (protocol, metadata);
        let unmapped = dropped(&table, "columnMapping").unwrap();
        assert_eq!((unmapped.traces, unmapped.history), (FeatureTraces::ColumnNames, FeatureHistory::Needs));
        assert_eq!(unmapped.configuration.keys().collect::<Vec<_>>(), ["delta.enableRowTracking"]);
        let keys = |schema: &StructType| schema.fields[0].metadata.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&unmapped.schema), ["comment", "delta.typeChanges"]);
        let narrow = dropped(&table, "typeWidening-preview").unwrap();
        assert_eq!(narrow.traces, FeatureTraces::OldTypes);
        assert_eq!(keys(&narrow.schema).len(), 3);
        // What is listed is the early name.
        assert!(matches!(dropped(&table, "typeWidening").unwrap_err(), DropProblem::NotThere { .. }));
        assert!(leaves_traces(&table.1, "typeWidening-preview").unwrap());
        let domains = ["delta.rowTracking", "mine"];
        let untracked = downgrade(&table.0, &table.1, &domains, "rowTracking").unwrap().unwrap();
        assert_eq!((untracked.traces, untracked.history), (FeatureTraces::RowIds, FeatureHistory::Free));
        assert_eq!(untracked.domains, ["delta.rowTracking"]);
        assert!(!untracked.configuration.contains_key("delta.enableRowTracking"));
        assert!(matches!(dropped(&table, "clustering").unwrap_err(), DropProblem::Stays { .. }));
    }

    #[test]
    fn a_name_that_only_a_mapping_makes_possible_keeps_the_mapping() {
        let (protocol, mut metadata) = table(&["columnMapping"], &["columnMapping"], &[("delta.columnMapping.mode", "id")]);
        metadata.schema_string = r#"{"type":"struct","fields":[{"name":"at","type":{"type":"struct","fields":[
            {"name":"the day","type":"long","nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}}]}"#
            .to_owned();
        let problem = dropped(&(protocol, metadata), "columnMapping").unwrap_err();
        assert!(problem.to_string().starts_with("the name of column `at.the day`, with ' ', uses it"), "{problem}");
    }

    #[test]
    fn properties_that_enable_a_feature_go_with_it() {
        let table = table(
            &["inCommitTimestamp", "vacuumProtocolCheck"],
            &["vacuumProtocolCheck"],
            &[("delta.enableInCommitTimestamps", "true"), ("delta.inCommitTimestampEnablementVersion", "3"), ("team", "blue")],
        );
        let without = dropped(&table, "inCommitTimestamp").unwrap();
        assert_eq!(without.configuration.keys().collect::<Vec<_>>(), ["team"]);
        assert_eq!(without.protocol.reader_features.unwrap(), ["vacuumProtocolCheck"]);
        assert_eq!(dropped(&table, "vacuumProtocolCheck").unwrap().history, FeatureHistory::Free);
    }
}
