//! What a table is that is made, or made anew over one that is there.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{DomainMetadata, Metadata, Protocol};
use boathouse_delta_protocol::clustering::CLUSTERING_DOMAIN;
use boathouse_delta_protocol::features::{self, FEATURE_PREFIX};
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
use boathouse_delta_protocol::stats::ColumnPath;

use crate::cluster;
use crate::create::{ROW_TRACKING_NAMES, new_table, require_times};
use crate::error::{AlterProblem, DeltaError, OnTable, Result};
use crate::mapping::MAX_COLUMN_ID;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Properties that say something of the log, which goes on, or of columns that no other may be taken for.
const KEPT: [&str; 7] = [
    "delta.enableInCommitTimestamps",
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.requireCheckpointProtectionBeforeVersion",
    MAX_COLUMN_ID,
    ROW_TRACKING_NAMES[0],
    ROW_TRACKING_NAMES[1],
];

/// What a table is to be.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) schema: StructType,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) clustering: Vec<String>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
}

/// What a commit says of it.
pub(super) struct Defined {
    /// Nothing when that of the table which is there suffices.
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Metadata,
    /// Nothing when the table was not clustered, and is not going to be.
    pub(super) clustering: Option<(Vec<ColumnPath>, DomainMetadata)>,
}

impl Definition {
    /// The table, new or over the one that is there: its log goes on, its history, its id.
    pub(super) fn apply(&self, table: &DeltaTable, base: Option<&Snapshot>) -> Result<Defined> {
        let (url, properties) = (table.url(), self.properties_over(table, base)?);
        let (schema, partitions) = (self.schema.clone(), &self.partition_columns);
        let (name, description) = (self.name.clone(), self.description.clone());
        let (mut protocol, mut metadata) = new_table(table, schema, partitions, &properties, name, description)?;
        let Some(base) = base else {
            let (paths, domain) = cluster::of_new_table(url, &mut protocol, &metadata, &self.clustering)?;
            let clustering = domain.map(|domain| (paths, domain));
            return Ok(Defined { protocol: Some(protocol), metadata, clustering });
        };
        metadata.id.clone_from(&base.metadata().id);
        metadata.created_time = base.metadata().created_time;
        if metadata.name.is_none() {
            metadata.name.clone_from(&base.metadata().name);
        }
        // Versions before this one need what they needed.
        let mut asked = metadata.configuration.clone();
        asked.extend(properties.into_iter().filter(|(key, _)| key.starts_with(FEATURE_PREFIX)));
        let schema = metadata.schema().on(url)?;
        let mut protocol =
            features::protocol_upgrade(base.protocol(), &schema, &asked).on(url)?.unwrap_or(base.protocol().clone());
        require_times(&protocol, &mut metadata.configuration);
        let (paths, domain) = cluster::of_new_table(url, &mut protocol, &metadata, &self.clustering)?;
        let before = base.state().domain_metadata.get(CLUSTERING_DOMAIN);
        let gone = before.map(|before| DomainMetadata { removed: true, ..before.clone() });
        let clustering = domain.or(gone).map(|domain| (paths, domain));
        Ok(Defined { protocol: (protocol != *base.protocol()).then_some(protocol), metadata, clustering })
    }

    fn properties_over(&self, table: &DeltaTable, base: Option<&Snapshot>) -> Result<BTreeMap<String, String>> {
        let mut properties = self.properties.clone();
        let Some(base) = base else { return Ok(properties) };
        let is = |key: &str, known: &str| key.eq_ignore_ascii_case(known);
        for (key, value) in &base.metadata().configuration {
            if KEPT.iter().any(|kept| is(key, kept)) && !properties.keys().any(|asked| is(asked, key)) {
                properties.insert(key.clone(), value.clone());
            }
        }
        let mode = base.column_mapping();
        if mode != ColumnMappingMode::None {
            const MODE: &str = "delta.columnMapping.mode";
            let asked = TableProperties::parse(&properties).on(table.url())?.column_mapping_mode;
            if !properties.keys().any(|key| is(key, MODE)) {
                properties.insert(MODE.to_owned(), mode_name(mode).to_owned());
            } else if asked != mode {
                let problem = AlterProblem::MappingMode { from: mode_name(mode).to_owned(), to: mode_name(asked).to_owned() };
                return Err(DeltaError::CannotAlter { url: table.url().to_owned(), problem });
            }
        }
        Ok(properties)
    }
}

fn mode_name(mode: ColumnMappingMode) -> &'static str {
    match mode {
        ColumnMappingMode::None => "none",
        ColumnMappingMode::Id => "id",
        ColumnMappingMode::Name => "name",
    }
}
