//! A table that takes more columns than it has.

use std::sync::Arc;

use arrow_schema::Schema;
use boathouse_delta_protocol::action::{Metadata, Protocol};
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType, Widening};

use crate::error::{OnTable, Result};
use crate::layout::Layout;
use crate::mapping::{PhysicalNames, map_new_columns};
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;

/// A version of a table as it is once it has taken new columns. Made by [`Snapshot::evolve`].
#[derive(Debug, Clone)]
pub struct Evolution {
    /// The same files, with the columns that the table is going to have.
    pub snapshot: Snapshot,
    protocol: Option<Protocol>,
    metadata: Metadata,
}

impl Evolution {
    /// Adds the change to a transaction that begins at the version before.
    pub fn stage(&self, transaction: Transaction) -> Transaction {
        let transaction = match &self.protocol {
            Some(protocol) => transaction.set_protocol(protocol.clone()),
            None => transaction,
        };
        transaction.set_metadata(self.metadata.clone())
    }
}

impl Snapshot {
    /// The table with the columns of `data` that it does not have, nested ones too. Columns that it has become wider where the
    /// table allows it, and else stay: their values have to be cast. Nothing, when nothing changes.
    ///
    /// **Errors**: `Invalid` for a new column whose name or type cannot be; `Unsupported` when a new type needs a feature that
    /// writers here do not know.
    pub fn evolve(&self, data: &Schema) -> Result<Option<Evolution>> {
        let known = self.delta_schema();
        let widening = widening(self);
        let data = StructType::from_arrow(data).on(self.url())?.as_data();
        let merges = |field: &boathouse_delta_protocol::schema::StructField| match known.field(&field.name) {
            None => true,
            Some(found) => StructType::new([found.clone()]).merge_widening(&StructType::new([field.clone()]), widening).is_ok(),
        };
        let mut incoming: Vec<_> = data.fields.iter().filter(|field| merges(field)).cloned().collect();
        // What the data lacks stays as it is, NOT NULL or not.
        let lacks = |name: &str| StructType::new(incoming.iter().cloned()).field(name).is_none();
        let missing: Vec<_> = known.fields.iter().filter(|field| lacks(&field.name)).cloned().collect();
        incoming.extend(missing);
        let merged = known.merge_widening(&StructType::new(incoming), widening).on(self.url())?;
        if merged == *known {
            return Ok(None);
        }
        let (protocol, metadata, layout) = evolved(self, merged)?;
        let snapshot = self.with_layout(protocol.as_ref(), &metadata, layout);
        Ok(Some(Evolution { snapshot, protocol, metadata }))
    }
}

/// What a table is when its schema becomes this one.
pub(super) fn evolved(base: &Snapshot, schema: StructType) -> Result<(Option<Protocol>, Metadata, Arc<Layout>)> {
    let (table, url) = (base.table(), base.url());
    schema.validate(base.column_mapping()).on(url)?;
    schema.validate_partitioning(base.partition_columns()).on(url)?;
    let mut configuration = base.metadata().configuration.clone();
    let schema = match base.column_mapping() {
        ColumnMappingMode::None => schema,
        _ => map_new_columns(table, &schema, &mut configuration, PhysicalNames::Fresh).on(url)?,
    };
    let metadata = Metadata { schema_string: schema.to_json(), configuration, ..base.metadata().clone() };
    let protocol = features::protocol_upgrade(base.protocol(), &schema, &metadata.configuration).on(url)?;
    features::check_write(protocol.as_ref().unwrap_or(base.protocol()), &metadata).on(url)?;
    let layout = Arc::new(Layout::new(url, protocol.as_ref().unwrap_or(base.protocol()), &metadata)?);
    Ok((protocol, metadata, layout))
}

/// Which types the table lets become wider.
pub(super) fn widening(base: &Snapshot) -> Widening {
    if !base.properties().enable_type_widening || !features::has(base.protocol(), "typeWidening") {
        return Widening::Off;
    }
    let iceberg = ["icebergCompatV1", "icebergCompatV2"].iter().any(|feature| features::has(base.protocol(), feature));
    if iceberg { Widening::Iceberg } else { Widening::SameKind }
}
