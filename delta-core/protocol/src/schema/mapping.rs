//! Column mapping: files may know columns by other names than users do.
//!
//! **Source**: Delta protocol, "Column Mapping".

use super::data_type::{ArrayType, DataType, MapType, StructField, StructType};
use super::keys::{COLUMN_ID, NESTED_IDS, PHYSICAL_NAME};

/// How columns of the table are found in its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColumnMappingMode {
    /// By the names that users see.
    #[default]
    None,
    /// By the Parquet field id; partition values and statistics by physical name.
    Id,
    /// By physical name.
    Name,
}

impl StructField {
    /// The name of the column in partition values, statistics and (unless by id) in files.
    pub fn physical_name(&self, mode: ColumnMappingMode) -> &str {
        match mode {
            ColumnMappingMode::None => &self.name,
            ColumnMappingMode::Id | ColumnMappingMode::Name => {
                self.metadata.get(PHYSICAL_NAME).and_then(|v| v.as_str()).unwrap_or(&self.name)
            }
        }
    }

    /// The column's id, which is the Parquet field id of its files.
    pub fn column_mapping_id(&self) -> Option<i64> {
        self.metadata.get(COLUMN_ID)?.as_i64()
    }

    /// The id of something nested in the column, by its path from the physical name on, such as `col-1.element`.
    pub fn nested_id(&self, path: &str) -> Option<i64> {
        self.metadata.get(NESTED_IDS)?.get(path)?.as_i64()
    }
}

impl StructType {
    /// The same schema with the names that files have, at every depth.
    #[must_use]
    pub fn physical(&self, mode: ColumnMappingMode) -> Self {
        if mode == ColumnMappingMode::None {
            return self.clone();
        }
        let fields = self.fields.iter().map(|field| StructField {
            name: field.physical_name(mode).to_owned(),
            data_type: physical_type(&field.data_type, mode),
            nullable: field.nullable,
            metadata: field.metadata.clone(),
        });
        Self { fields: fields.collect() }
    }
}

fn physical_type(data_type: &DataType, mode: ColumnMappingMode) -> DataType {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => data_type.clone(),
        DataType::Struct(inner) => inner.physical(mode).into(),
        DataType::Array(array) => {
            ArrayType { element: physical_type(&array.element, mode), contains_null: array.contains_null }.into()
        }
        DataType::Map(map) => MapType {
            key: physical_type(&map.key, mode),
            value: physical_type(&map.value, mode),
            value_contains_null: map.value_contains_null,
        }
        .into(),
    }
}
