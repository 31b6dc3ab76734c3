//! A table's schema with the new columns of some data.

use super::check::{SchemaMismatch, check_duplicates, check_missing, path};
use super::data_type::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};

impl StructType {
    /// This schema with the columns of `data` that it does not have, nested ones too, at the end.
    ///
    /// Types of columns that are there do not change, except that `void` becomes what the data has. New columns
    /// are nullable. When nothing is added, the result equals this schema. The data
    /// [fits](Self::check_write) the result.
    ///
    /// **Errors**: names the column and both types when they differ in more than
    /// [`PrimitiveType::widens_to`] allows; a NOT NULL column that the data misses; a new column that is NOT NULL.
    pub fn merge(&self, data: &StructType) -> Result<StructType, SchemaMismatch> {
        merge_struct("", self, data)
    }
}

fn merge_struct(parent: &str, table: &StructType, data: &StructType) -> Result<StructType, SchemaMismatch> {
    check_duplicates(parent, data)?;
    check_missing(parent, table, data)?;
    let mut merged = table.clone();
    for field in &data.fields {
        match table.index_of(&field.name) {
            Some(at) => {
                let known = &mut merged.fields[at];
                known.data_type = merge_type(&path(parent, &known.name), &known.data_type, &field.data_type)?;
            }
            None if !field.nullable => {
                return Err(SchemaMismatch::RequiredColumn {
                    column: path(parent, &field.name),
                    data_type: field.data_type.to_string(),
                });
            }
            None => merged.fields.push(StructField { nullable: true, ..field.clone() }),
        }
    }
    Ok(merged)
}

fn merge_type(column: &str, table: &DataType, data: &DataType) -> Result<DataType, SchemaMismatch> {
    Ok(match (table, data) {
        (_, DataType::Primitive(PrimitiveType::Void)) => table.clone(),
        (DataType::Primitive(PrimitiveType::Void), _) => data.clone(),
        (DataType::Variant, DataType::Variant) => DataType::Variant,
        (DataType::Primitive(to), DataType::Primitive(from)) if from.widens_to(*to) => table.clone(),
        (DataType::Struct(table), DataType::Struct(data)) => merge_struct(column, table, data)?.into(),
        (DataType::Array(table), DataType::Array(data)) => ArrayType {
            element: merge_type(&path(column, "element"), &table.element, &data.element)?,
            contains_null: table.contains_null,
        }
        .into(),
        (DataType::Map(table), DataType::Map(data)) => MapType {
            key: merge_type(&path(column, "key"), &table.key, &data.key)?,
            value: merge_type(&path(column, "value"), &table.value, &data.value)?,
            value_contains_null: table.value_contains_null,
        }
        .into(),
        _ => {
            return Err(SchemaMismatch::Type {
                column: column.to_owned(),
                table_type: table.to_string(),
                data_type: data.to_string(),
            });
        }
    })
}
