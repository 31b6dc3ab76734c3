//! What a clone is: the schema and the properties of its source, and what only it has.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{DomainMetadata, Metadata, Protocol};
use boathouse_delta_protocol::conflict::ROW_TRACKING_DOMAIN;
use boathouse_delta_protocol::features::{self, FEATURE_PREFIX, FEATURES, protocol_upgrade};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::rules::Rules;

use crate::create::{ROW_TRACKING_NAMES, name_hidden_columns, require_times};
use crate::error::{CloneProblem, DeltaError, OnTable, Result};
use crate::mapping::MAX_COLUMN_ID;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Properties that say something about the log of one table, and not about its rows.
const OF_THE_LOG: [&str; 3] = [
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.requireCheckpointProtectionBeforeVersion",
];
/// Properties by which a catalog knows a table.
const OF_A_CATALOG: [&str; 3] = ["delta.coordinatedCommits", "io.unitycatalog.", "ucTableId"];

/// What a clone is to be.
pub(super) struct Definition {
    /// The protocol; nothing when that of the table which is there suffices.
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Metadata,
    pub(super) domains: Vec<DomainMetadata>,
}

pub(super) fn define(
    source: &Snapshot,
    target: &DeltaTable,
    now: Option<&Snapshot>,
    name: Option<String>,
    overrides: &BTreeMap<String, String>,
) -> Result<Definition> {
    let url = target.url();
    let own = |key: &str| {
        let starts = |prefix: &&str| key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        OF_THE_LOG.iter().any(|k| k.eq_ignore_ascii_case(key))
            || ROW_TRACKING_NAMES.iter().any(|k| k.eq_ignore_ascii_case(key))
            || OF_A_CATALOG.iter().any(starts)
    };
    let source_properties = &source.metadata().configuration;
    let mut configuration: BTreeMap<String, String> =
        source_properties.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in overrides.iter().filter(|(key, _)| !key.starts_with(FEATURE_PREFIX)) {
        configuration.retain(|known, _| !known.eq_ignore_ascii_case(key));
        configuration.insert(key.clone(), value.clone());
    }
    if let Some(now) = now {
        let kept = now.metadata().configuration.iter().filter(|(key, _)| own(key) || is_time(key));
        let kept: Vec<_> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        configuration.retain(|key, _| !is_time(key));
        configuration.extend(kept);
        raise_column_id(&mut configuration, now);
    }
    let properties = TableProperties::parse(&configuration).on(url)?;
    let modes = [Some(source.column_mapping()), now.map(Snapshot::column_mapping)];
    // Files name columns in one way, and versions before this one are read as well.
    if let Some(other) = modes.into_iter().flatten().find(|mode| *mode != properties.column_mapping_mode) {
        let problem = CloneProblem::MappingMode { from: other, to: properties.column_mapping_mode };
        return Err(DeltaError::CannotClone { url: url.to_owned(), problem });
    }
    if properties.enable_row_tracking {
        name_hidden_columns(target, &mut configuration);
    }
    let mut schema = source.delta_schema().clone();
    if let Some(now) = now {
        schema = schema.with_high_water_marks(&higher_marks(source, now)?);
    }
    let mut asked = configuration.clone();
    asked.extend(overrides.iter().filter(|(key, _)| key.starts_with(FEATURE_PREFIX)).map(|(k, v)| (k.clone(), v.clone())));
    let protocol = match now {
        None => {
            let base = without_catalog(source.protocol());
            Some(protocol_upgrade(&base, &schema, &asked).on(url)?.unwrap_or(base))
        }
        Some(now) => {
            let base = without_catalog(source.protocol());
            let missing = FEATURES.iter().filter(|f| f.preview_of.is_none() && features::has(&base, f.name));
            let missing = missing.filter(|f| !features::has(now.protocol(), f.name));
            asked.extend(missing.map(|f| (format!("{FEATURE_PREFIX}{}", f.name), "supported".to_owned())));
            protocol_upgrade(now.protocol(), &schema, &asked).on(url)?
        }
    };
    if let Some(protocol) = protocol.as_ref().or(now.map(Snapshot::protocol)) {
        require_times(protocol, &mut configuration);
    }
    let metadata = Metadata {
        id: now.map_or_else(|| target.env().uuid(), |now| now.metadata().id.clone()),
        name: name.or_else(|| now.and_then(|now| now.metadata().name.clone())),
        description: now.and_then(|now| now.metadata().description.clone()),
        schema_string: schema.to_json(),
        created_time: now.map_or_else(|| Some(target.env().now_ms()), |now| now.metadata().created_time),
        configuration,
        ..source.metadata().clone()
    };
    Ok(Definition { protocol, metadata, domains: domains(source, now) })
}

/// Whether commits hold their time stays as it is in a table that is there.
fn is_time(key: &str) -> bool {
    ["delta.enableInCommitTimestamps", "delta.enableInCommitTimestamps-preview"].iter().any(|k| k.eq_ignore_ascii_case(key))
}

/// Ids of columns only ever grow.
fn raise_column_id(configuration: &mut BTreeMap<String, String>, now: &Snapshot) {
    let Some(known) = now.properties().column_mapping_max_column_id else { return };
    let copied = configuration.iter().find(|(key, _)| key.eq_ignore_ascii_case(MAX_COLUMN_ID));
    if copied.and_then(|(_, value)| value.trim().parse::<i64>().ok()).is_none_or(|copied| copied < known) {
        configuration.retain(|key, _| !key.eq_ignore_ascii_case(MAX_COLUMN_ID));
        configuration.insert(MAX_COLUMN_ID.to_owned(), known.to_string());
    }
}

/// Numbers of identity columns that the table has given beyond those of the source.
fn higher_marks(source: &Snapshot, now: &Snapshot) -> Result<Vec<(String, i64)>> {
    let theirs = Rules::of(source.protocol(), source.metadata(), source.delta_schema()).on(source.url())?;
    let ours = Rules::of(now.protocol(), now.metadata(), now.delta_schema()).on(now.url())?;
    let mark_of = |name: &str| theirs.identities.iter().find(|column| column.column == name);
    let further = ours.identities.iter().filter_map(|column| {
        let (mark, source) = (column.high_water_mark?, mark_of(&column.column)?);
        let beyond = source.high_water_mark.is_none_or(|theirs| if source.step < 0 { mark < theirs } else { mark > theirs });
        (beyond && source.step.signum() == column.step.signum()).then(|| (column.column.clone(), mark))
    });
    Ok(further.collect())
}

/// The files of a clone decide about its versions, whoever decides about those of the source.
fn without_catalog(protocol: &Protocol) -> Protocol {
    let is_catalog = |name: &String| name == "catalogManaged" || name == "catalogOwned-preview";
    let keep = |names: &Option<Vec<String>>| {
        names.as_ref().map(|names| names.iter().filter(|name| !is_catalog(name)).cloned().collect::<Vec<_>>())
    };
    Protocol {
        reader_features: keep(&protocol.reader_features),
        writer_features: keep(&protocol.writer_features),
        ..protocol.clone()
    }
}

/// Domains of the source; those that a table which is there has beyond them go. Row ids are numbered anew.
fn domains(source: &Snapshot, now: Option<&Snapshot>) -> Vec<DomainMetadata> {
    let wanted = &source.state().domain_metadata;
    let known = now.map(|now| now.state().domain_metadata.clone()).unwrap_or_default();
    let changed = wanted.values().filter(|domain| known.get(&domain.domain) != Some(*domain)).cloned();
    let gone = known.values().filter(|domain| !wanted.contains_key(&domain.domain));
    let gone = gone.map(|domain| DomainMetadata { removed: true, ..domain.clone() });
    changed.chain(gone).filter(|domain| domain.domain != ROW_TRACKING_DOMAIN).collect()
}
