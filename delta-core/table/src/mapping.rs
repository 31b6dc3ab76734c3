//! Column mapping of tables that are written: ids and physical names for columns that have none.

use std::collections::BTreeMap;

use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ColumnMappingMode, NestedIds, StructField, StructType};

use crate::table::DeltaTable;

/// The property with the highest id that was ever given.
pub(crate) const MAX_COLUMN_ID: &str = "delta.columnMapping.maxColumnId";

/// What new columns are called in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhysicalNames {
    /// A name that no column ever had.
    Fresh,
    /// The name that users see: files of a table that gets its mapping only now have that.
    AsShown,
}

/// Gives columns without a mapping one, when the table has a mapping. Keeps count in the configuration.
pub(crate) fn map_new_columns(
    table: &DeltaTable,
    schema: &StructType,
    configuration: &mut BTreeMap<String, String>,
    names: PhysicalNames,
) -> Result<StructType, ProtocolError> {
    let properties = TableProperties::parse(configuration)?;
    if properties.column_mapping_mode == ColumnMappingMode::None {
        return Ok(schema.clone());
    }
    let nested = if properties.enable_iceberg_compat_v2 { NestedIds::Assigned } else { NestedIds::None };
    let mut name = |field: &StructField| match names {
        PhysicalNames::Fresh => format!("col-{}", table.env().uuid()),
        PhysicalNames::AsShown => field.name.clone(),
    };
    let (mapped, max_id) = schema.assign_mapping(properties.column_mapping_max_column_id.unwrap_or(0), nested, &mut name);
    configuration.retain(|key, _| !key.eq_ignore_ascii_case(MAX_COLUMN_ID));
    configuration.insert(MAX_COLUMN_ID.to_owned(), max_id.to_string());
    Ok(mapped)
}
