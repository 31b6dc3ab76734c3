//! Columns of a table in its files, for readers that bring their own Parquet decoder.

use arrow_array::ArrayRef;
use arrow_schema::{ArrowError, DataType as ArrowType, Field, FieldRef, Fields, SchemaRef};
use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType, is_variant};

use crate::conform::{FieldMatch, conform_field, find_field, has_field_ids, relabel};

/// How a table's columns are found in files, and what becomes of what is found.
///
/// Columns go by their physical names: those that files, partition values and statistics have.
///
/// # Example
/// ```
/// use arrow_schema::{DataType, Field, Fields};
/// use boathouse_delta_table::FileColumns;
/// use boathouse_delta_table::protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
///
/// let table = StructType::new([StructField::nullable("delay", PrimitiveType::Long)]);
/// let columns = FileColumns::new(&table, ColumnMappingMode::None);
/// // A file of another writer: letter case does not tell columns apart.
/// let file = Fields::from(vec![Field::new("id", DataType::Int64, true), Field::new("Delay", DataType::Int64, true)]);
/// assert_eq!(columns.find(&file, "delay"), Some(1));
/// ```
#[derive(Debug, Clone)]
pub struct FileColumns {
    schema: StructType,
    physical: SchemaRef,
    mode: ColumnMappingMode,
}

impl FileColumns {
    /// For a table with these columns.
    pub fn new(schema: &StructType, mode: ColumnMappingMode) -> Self {
        let physical = match mode {
            ColumnMappingMode::None => schema.to_arrow(),
            _ => schema.physical(mode).to_arrow(),
        };
        Self { schema: schema.clone(), physical: physical.into(), mode }
    }

    /// The columns as the log has them.
    pub fn schema(&self) -> &StructType {
        &self.schema
    }

    /// How files name them.
    pub fn mode(&self) -> ColumnMappingMode {
        self.mode
    }

    /// The place of a column at the top of a file.
    pub fn find(&self, file: &Fields, physical_name: &str) -> Option<usize> {
        find_field(file, self.wanted(physical_name)?, self.field_match())
    }

    /// Whether columns can only be found by field ids, and this file has none.
    pub fn lack_field_ids(&self, file: &Fields) -> bool {
        !file.is_empty() && self.mode == ColumnMappingMode::Id && !has_field_ids(file)
    }

    /// Whether a reader that knows Parquet alone finds every column by its physical name and type.
    pub fn are_plain(&self) -> bool {
        match self.mode {
            ColumnMappingMode::Id => false,
            ColumnMappingMode::None | ColumnMappingMode::Name => {
                !self.physical.fields().iter().any(|field| self.must_conform(field.name()))
            }
        }
    }

    /// Whether the parts of a column go by other names in files, must not be null, or are variants: then [`conform`](Self::conform)
    /// alone knows what a file says of it.
    pub fn must_conform(&self, physical_name: &str) -> bool {
        self.wanted(physical_name).is_some_and(|field| {
            has_variant(field) || has_required(field) || (field.data_type().is_nested() && self.mode != ColumnMappingMode::None)
        })
    }

    /// A column of a file as one of the table, of type `to`.
    ///
    /// Parts of structs that the file does not have are null; shredded variants are put together.
    ///
    /// **Errors**: a value does not fit the type, or a null stands where the table allows none.
    pub fn conform(&self, physical_name: &str, read: &ArrayRef, to: &ArrowType) -> Result<ArrayRef, ArrowError> {
        let Some(wanted) = self.wanted(physical_name) else {
            return Err(ArrowError::SchemaError(format!("the table has no column `{physical_name}`")));
        };
        relabel(&conform_field(read, wanted, self.field_match())?, to)
    }

    fn wanted(&self, physical_name: &str) -> Option<&FieldRef> {
        self.physical.fields().iter().find(|field| field.name() == physical_name)
    }

    fn field_match(&self) -> FieldMatch {
        if self.mode == ColumnMappingMode::Id { FieldMatch::Id } else { FieldMatch::Name }
    }
}

/// Whether a part of a column must not be null. Files say of every part that it may be.
fn has_required(field: &Field) -> bool {
    let part = |part: &FieldRef| !part.is_nullable() || has_required(part);
    match field.data_type() {
        ArrowType::Struct(fields) => fields.iter().any(part),
        ArrowType::List(element) => part(element),
        ArrowType::Map(entries, _) => match entries.data_type() {
            // Keys are never null.
            ArrowType::Struct(pair) => pair.first().is_some_and(|key| has_required(key)) || pair.get(1).is_some_and(part),
            _ => false,
        },
        _ => false,
    }
}

fn has_variant(field: &Field) -> bool {
    is_variant(field)
        || match field.data_type() {
            ArrowType::Struct(fields) => fields.iter().any(|field| has_variant(field)),
            ArrowType::List(inner) | ArrowType::Map(inner, _) => has_variant(inner),
            _ => false,
        }
}
