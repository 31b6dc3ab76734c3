//! What in a table does not go together.

use super::active::{catalog_feature, has, has_in_commit_timestamps, used_by};
use super::table::feature;
use crate::action::{Metadata, Protocol};
use crate::error::{ProtocolError, Result};
use crate::properties::TableProperties;
use crate::schema::{ColumnMappingMode, DataType, PrimitiveType, StructField, StructType};

/// Checks that the features of a table, its properties and its schema go together.
///
/// **Errors**: `Invalid` names the feature, what enables it, and what it excludes.
pub(super) fn check_combination(protocol: &Protocol, metadata: &Metadata) -> Result<()> {
    if has(protocol, "clustering") && !metadata.partition_columns.is_empty() {
        let columns = metadata.partition_columns.join(", ");
        return Err(conflict("clustering", "the table feature", format!("the partition columns {columns}")));
    }
    if has(protocol, "variantType") {
        variants(metadata)?;
    }
    if is_on(protocol, metadata, "rowTracking") {
        row_tracking(protocol, metadata)?;
    }
    if let Some(feature) = catalog_feature(protocol)
        && !has_in_commit_timestamps(protocol, &metadata.configuration)
    {
        let found = "`delta.enableInCommitTimestamps` other than true".to_owned();
        return Err(conflict(feature, "the table feature", found));
    }
    if is_on(protocol, metadata, "icebergCompatV1") {
        iceberg(protocol, metadata, "icebergCompatV1", "delta.enableIcebergCompatV1")?;
    }
    if is_on(protocol, metadata, "icebergCompatV2") {
        iceberg(protocol, metadata, "icebergCompatV2", "delta.enableIcebergCompatV2")?;
    }
    Ok(())
}

/// No expression gives a variant.
fn variants(metadata: &Metadata) -> Result<()> {
    let generated =
        |field: &StructField| field.data_type == DataType::Variant && field.metadata.contains_key("delta.generationExpression");
    match metadata.schema()?.find_column(&mut |field| generated(field)) {
        None => Ok(()),
        Some(column) => Err(conflict("variantType", "a column of type `variant`", format!("the generated column `{column}`"))),
    }
}

/// Rows carry their ids along in columns that must have names, which no other column has.
fn row_tracking(protocol: &Protocol, metadata: &Metadata) -> Result<()> {
    let conflict = |found: String| Err(conflict("rowTracking", "delta.enableRowTracking", found));
    let properties: TableProperties = metadata.properties()?;
    if properties.row_tracking_suspended {
        return conflict("`delta.rowTrackingSuspended` = true".to_owned());
    }
    let hidden = [
        ("delta.rowTracking.materializedRowIdColumnName", &properties.materialized_row_id_column),
        ("delta.rowTracking.materializedRowCommitVersionColumnName", &properties.materialized_row_commit_version_column),
    ];
    let (schema, mode) = (metadata.schema()?, super::column_mapping(protocol, &properties));
    for (key, name) in hidden {
        let Some(name) = name else { return conflict(format!("no `{key}`")) };
        let same = |column: &str| column.eq_ignore_ascii_case(name);
        if let Some(field) = schema.fields.iter().find(|field| same(&field.name) || same(field.physical_name(mode))) {
            return conflict(format!("column `{}`, whose name `{key}` has", field.name));
        }
    }
    match hidden[0].1 == hidden[1].1 {
        true => conflict(format!("one name for `{}` and `{}`", hidden[0].0, hidden[1].0)),
        false => Ok(()),
    }
}

fn is_on(protocol: &Protocol, metadata: &Metadata, name: &str) -> bool {
    has(protocol, name)
        && feature(name).is_some_and(|f| used_by(f.enabled, &metadata.configuration, &StructType::default()).is_some())
}

/// What Iceberg could not read.
fn iceberg(protocol: &Protocol, metadata: &Metadata, name: &'static str, property: &str) -> Result<()> {
    let first = name == "icebergCompatV1";
    let conflict = |found: String| Err(conflict(name, property, found));
    let properties: TableProperties = metadata.properties()?;
    if super::column_mapping(protocol, &properties) == ColumnMappingMode::None {
        return conflict("`delta.columnMapping.mode` = none; set it to `name`".to_owned());
    }
    if first && has(protocol, "deletionVectors") {
        return conflict("the table feature `deletionVectors`".to_owned());
    }
    if properties.enable_deletion_vectors && has(protocol, "deletionVectors") {
        return conflict("`delta.enableDeletionVectors` = true".to_owned());
    }
    if !first && is_on(protocol, metadata, "icebergCompatV1") {
        return conflict("`delta.enableIcebergCompatV1` = true".to_owned());
    }
    let schema = metadata.schema()?;
    if let Some(column) = schema.find_type(PrimitiveType::Void) {
        return conflict(format!("column `{column}` of type void"));
    }
    if let Some(column) = schema.find_variant() {
        return conflict(format!("column `{column}` of type variant"));
    }
    let nested = |data_type: &DataType| matches!(data_type, DataType::Array(_) | DataType::Map(_));
    if first && let Some(column) = schema.find_column(&mut |field| nested(&field.data_type)) {
        return conflict(format!("column `{column}`, which is a list or a map"));
    }
    match schema.find_type_change(&mut |from, to| !from.may_become(to, true)) {
        Some((column, change)) => conflict(format!("column `{column}`, whose type was widened from {change}")),
        None => Ok(()),
    }
}

fn conflict(feature: &'static str, property: &str, found: String) -> ProtocolError {
    ProtocolError::FeatureConflict { feature, property: property.to_owned(), found }
}
