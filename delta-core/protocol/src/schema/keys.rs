//! The keys of the protocol in the metadata of columns.
//!
//! **Source**: Delta protocol, "Column Metadata".

use super::data_type::{ArrayType, DataType, MapType, StructField, StructType};

/// The id of a column in files.
pub(crate) const COLUMN_ID: &str = "delta.columnMapping.id";
/// The name of a column in files.
pub(crate) const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
/// Ids of elements, keys and values within a column.
pub(crate) const NESTED_IDS: &str = "delta.columnMapping.nested.ids";
/// A condition on every row.
pub(crate) const INVARIANTS: &str = "delta.invariants";
/// The expression that gives a column its value.
pub(crate) const GENERATION_EXPRESSION: &str = "delta.generationExpression";
/// The value of a column when none is given.
pub(crate) const CURRENT_DEFAULT: &str = "CURRENT_DEFAULT";
/// The first value of an identity column.
pub(crate) const IDENTITY_START: &str = "delta.identity.start";
/// The distance of two values of an identity column.
pub(crate) const IDENTITY_STEP: &str = "delta.identity.step";
/// The last value of an identity column that was given out.
pub(crate) const IDENTITY_HIGH_WATER_MARK: &str = "delta.identity.highWaterMark";
/// Whether writers may give values for an identity column.
pub(crate) const IDENTITY_EXPLICIT: &str = "delta.identity.allowExplicitInsert";
/// The types that a column had before.
pub(crate) const TYPE_CHANGES: &str = "delta.typeChanges";

/// Whether a key means something to the protocol, and not to users alone.
fn is_of_protocol(key: &str) -> bool {
    key.starts_with("delta.") || key == CURRENT_DEFAULT || key == "EXISTS_DEFAULT"
}

impl StructField {
    /// Whether the writer fills the column in where the data does not have it: by default, generation or identity.
    pub fn is_filled_in(&self) -> bool {
        [GENERATION_EXPRESSION, CURRENT_DEFAULT, IDENTITY_STEP].iter().any(|key| self.metadata.contains_key(*key))
    }
}

impl StructType {
    /// The schema without what column metadata says to the protocol, at every depth: the schema of mere data.
    ///
    /// Rows that were read from a table carry the metadata of its columns. In another table it would be wrong.
    #[must_use]
    pub fn as_data(&self) -> Self {
        self.map_fields(&mut |mut field| {
            field.metadata.retain(|key, _| !is_of_protocol(key));
            field
        })
    }

    /// The schema without column mapping and without a memory of earlier types, at every depth: a new table has none.
    #[must_use]
    pub fn without_mapping(&self) -> Self {
        self.without_keys(&[COLUMN_ID, PHYSICAL_NAME, NESTED_IDS, TYPE_CHANGES])
    }

    /// The schema without column mapping, at every depth: files have the names that users see.
    #[must_use]
    pub fn without_column_names(&self) -> Self {
        self.without_keys(&[COLUMN_ID, PHYSICAL_NAME, NESTED_IDS])
    }

    /// The schema without a memory of earlier types, at every depth: no file has any of them.
    #[must_use]
    pub fn without_type_changes(&self) -> Self {
        self.without_keys(&[TYPE_CHANGES])
    }

    fn without_keys(&self, keys: &[&str]) -> Self {
        self.map_fields(&mut |mut field| {
            field.metadata.retain(|key, _| !keys.contains(&key.as_str()));
            field
        })
    }

    /// The schema with every column, at every depth, changed; parents come before their children.
    #[must_use]
    pub(crate) fn map_fields(&self, change: &mut dyn FnMut(StructField) -> StructField) -> Self {
        let fields = self.fields.iter().map(|field| {
            let mut field = change(field.clone());
            field.data_type = map_type(&field.data_type, change);
            field
        });
        Self { fields: fields.collect() }
    }
}

fn map_type(data_type: &DataType, change: &mut dyn FnMut(StructField) -> StructField) -> DataType {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => data_type.clone(),
        DataType::Struct(inner) => inner.map_fields(change).into(),
        DataType::Array(array) => {
            ArrayType { element: map_type(&array.element, change), contains_null: array.contains_null }.into()
        }
        DataType::Map(map) => MapType {
            key: map_type(&map.key, change),
            value: map_type(&map.value, change),
            value_contains_null: map.value_contains_null,
        }
        .into(),
    }
}
