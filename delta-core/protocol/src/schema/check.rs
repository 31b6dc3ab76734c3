//! Whether data fits a table.

use boathouse_base::{DomainError, ErrorKind};

use super::data_type::{DataType, PrimitiveType, StructField, StructType, same_name};

/// Data that does not fit a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaMismatch {
    /// A column has another type.
    #[error("column `{column}` has type {data_type} in the data and {table_type} in the table; cast it, or overwrite the schema")]
    Type {
        /// The column, dotted when nested.
        column: String,
        /// Its type in the table.
        table_type: String,
        /// Its type in the data.
        data_type: String,
    },
    /// The table does not have the column.
    #[error("column `{column}` of type {data_type} is not in the table; drop it, or merge the schema to add it")]
    UnknownColumn {
        /// The column, dotted when nested.
        column: String,
        /// Its type in the data.
        data_type: String,
    },
    /// The data does not have a column that must not be null.
    #[error("column `{column}` of type {table_type} is NOT NULL in the table and missing in the data; provide it")]
    MissingColumn {
        /// The column, dotted when nested.
        column: String,
        /// Its type in the table.
        table_type: String,
    },
    /// A column to be added does not allow nulls, but rows that are there have no value for it.
    #[error(
        "column `{column}` of type {data_type} is NOT NULL and not in the table: rows that are there have no value for it; make it nullable"
    )]
    RequiredColumn {
        /// The column, dotted when nested.
        column: String,
        /// Its type in the data.
        data_type: String,
    },
    /// Two columns of the data fit the same column of the table.
    #[error(
        "the columns `{first}` and `{second}` of the data have the same name for Delta, which ignores letter case; rename one"
    )]
    DuplicateColumn {
        /// The first of them.
        first: String,
        /// The second.
        second: String,
    },
}

impl SchemaMismatch {
    /// The column that does not fit.
    pub fn column(&self) -> &str {
        match self {
            Self::Type { column, .. }
            | Self::UnknownColumn { column, .. }
            | Self::MissingColumn { column, .. }
            | Self::RequiredColumn { column, .. } => column,
            Self::DuplicateColumn { second, .. } => second,
        }
    }
}

impl DomainError for SchemaMismatch {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl StructType {
    /// Checks that rows of schema `data` can be written to a table of this schema.
    ///
    /// - Columns are found by name, without regard to letter case, in any order.
    /// - A type must be the same, or one that [`PrimitiveType::widens_to`] the table's: the writer casts it.
    /// - A column of the table that is missing must be nullable: it is written as null; or the writer fills it in.
    /// - Data that may be null fits a NOT NULL column: the rows are checked when they are written.
    ///
    /// **Errors**: the first column that does not fit, with both types.
    ///
    /// # Example
    /// ```
    /// use boathouse_delta_protocol::schema::{PrimitiveType, StructField, StructType};
    ///
    /// let table = StructType::new([StructField::nullable("id", PrimitiveType::Long)]);
    /// let data = StructType::new([StructField::nullable("ID", PrimitiveType::String)]);
    /// assert_eq!(
    ///     table.check_write(&data).unwrap_err().to_string(),
    ///     "column `id` has type string in the data and long in the table; cast it, or overwrite the schema"
    /// );
    /// ```
    pub fn check_write(&self, data: &StructType) -> Result<(), SchemaMismatch> {
        check_struct("", self, data)
    }
}

impl StructType {
    /// Whether it could hold variants: two columns of bytes, `metadata` and `value`.
    pub(super) fn is_like_a_variant(&self) -> bool {
        let bytes = |name: &str| self.fields.iter().any(|f| f.name == name && f.data_type == PrimitiveType::Binary.into());
        self.fields.len() == 2 && bytes("metadata") && bytes("value")
    }
}

pub(super) fn path(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

pub(super) fn check_duplicates(parent: &str, data: &StructType) -> Result<(), SchemaMismatch> {
    let mut seen = std::collections::HashMap::new();
    for field in &data.fields {
        if let Some(first) = seen.insert(field.name.to_lowercase(), &field.name) {
            return Err(SchemaMismatch::DuplicateColumn { first: path(parent, first), second: path(parent, &field.name) });
        }
    }
    Ok(())
}

fn check_struct(parent: &str, table: &StructType, data: &StructType) -> Result<(), SchemaMismatch> {
    check_duplicates(parent, data)?;
    for field in &data.fields {
        let column = path(parent, &field.name);
        match table.field(&field.name) {
            Some(known) => check_type(&path(parent, &known.name), &known.data_type, &field.data_type)?,
            None => return Err(SchemaMismatch::UnknownColumn { column, data_type: field.data_type.to_string() }),
        }
    }
    check_missing(parent, table, data)
}

pub(super) fn check_missing(parent: &str, table: &StructType, data: &StructType) -> Result<(), SchemaMismatch> {
    // What the writer fills in may be missing.
    match table.fields.iter().find(|known| !known.nullable && !known.is_filled_in() && !has(data, known)) {
        Some(known) => {
            Err(SchemaMismatch::MissingColumn { column: path(parent, &known.name), table_type: known.data_type.to_string() })
        }
        None => Ok(()),
    }
}

fn has(data: &StructType, known: &StructField) -> bool {
    data.fields.iter().any(|field| same_name(&field.name, &known.name))
}

fn check_type(column: &str, table: &DataType, data: &DataType) -> Result<(), SchemaMismatch> {
    match (table, data) {
        (DataType::Primitive(to), DataType::Primitive(from)) if from.widens_to(*to) => Ok(()),
        (_, DataType::Primitive(PrimitiveType::Void)) | (DataType::Variant, DataType::Variant) => Ok(()),
        (DataType::Variant, DataType::Struct(data)) if data.is_like_a_variant() => Ok(()),
        (DataType::Struct(table), DataType::Struct(data)) => check_struct(column, table, data),
        (DataType::Array(table), DataType::Array(data)) => check_type(&path(column, "element"), &table.element, &data.element),
        (DataType::Map(table), DataType::Map(data)) => {
            check_type(&path(column, "key"), &table.key, &data.key)?;
            check_type(&path(column, "value"), &table.value, &data.value)
        }
        _ => Err(SchemaMismatch::Type { column: column.to_owned(), table_type: table.to_string(), data_type: data.to_string() }),
    }
}

impl PrimitiveType {
    /// Whether every value of this type is a value of the other one, without loss.
    ///
    /// `byte` → `short` → `integer` → `long`; integers → decimals with enough digits; up to `integer` → `double`;
    /// up to `short` → `float` → `double`; decimals with at least as many digits on both sides; `void` → anything.
    pub fn widens_to(self, wide: Self) -> bool {
        use PrimitiveType::{Byte, Decimal, Double, Float, Integer, Long, Short, Void};
        // Decimal digits that hold every value of an integer type.
        let digits = |t| match t {
            Byte => Some(3),
            Short => Some(5),
            Integer => Some(10),
            Long => Some(19),
            _ => None,
        };
        self == wide
            || match (self, wide) {
                (Void, _)
                | (Byte, Short | Integer | Long | Float | Double)
                | (Short, Integer | Long | Float | Double)
                | (Integer, Long | Double)
                | (Float, Double) => true,
                (Decimal { precision: p, scale: s }, Decimal { precision, scale }) => s <= scale && p - s <= precision - scale,
                (_, Decimal { precision, scale }) => digits(self).is_some_and(|d| d <= precision - scale),
                _ => false,
            }
    }
}
