//! Whether a schema may be that of a table.

use std::collections::HashMap;

use super::data_type::{DataType, StructType};
use super::mapping::ColumnMappingMode;
use crate::error::{ProtocolError, Result};

/// What Parquet readers of Spark refuse in a column name.
const INVALID: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

impl StructType {
    /// Checks the rules for the schema of a table: names differ in more than letter case, and hold no
    /// character that needs column mapping.
    ///
    /// **Errors**: `Invalid` names the column.
    pub fn validate(&self, mode: ColumnMappingMode) -> Result<()> {
        validate("", self, mode)
    }

    /// Checks that these can be the partition columns, in this order.
    ///
    /// **Errors**: `Invalid` names the column.
    pub fn validate_partitioning<S: AsRef<str>>(&self, columns: &[S]) -> Result<()> {
        for (at, column) in columns.iter().map(AsRef::as_ref).enumerate() {
            let field = self.fields.iter().find(|f| f.name == column).ok_or_else(|| ProtocolError::UnknownColumn {
                purpose: "partition the table",
                column: column.to_owned(),
                available: self.names().collect::<Vec<_>>().join(", "),
            })?;
            if field.data_type.as_primitive().is_none() {
                return Err(ProtocolError::InvalidPartitionColumn {
                    column: column.to_owned(),
                    data_type: field.data_type.to_string(),
                });
            }
            if columns[..at].iter().any(|c| c.as_ref() == column) {
                return Err(ProtocolError::DuplicateColumn { first: column.to_owned(), second: column.to_owned() });
            }
        }
        if !columns.is_empty() && columns.len() >= self.fields.len() {
            return Err(ProtocolError::NoDataColumn { columns: columns.len() });
        }
        Ok(())
    }
}

fn validate(parent: &str, inner: &StructType, mode: ColumnMappingMode) -> Result<()> {
    let mut seen = HashMap::new();
    for field in &inner.fields {
        let column = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        if field.name.is_empty() {
            return Err(ProtocolError::EmptyColumnName { parent: parent.to_owned() });
        }
        if let Some(first) = seen.insert(field.name.to_lowercase(), column.clone()) {
            return Err(ProtocolError::DuplicateColumn { first, second: column });
        }
        if mode == ColumnMappingMode::None
            && let Some(character) = field.name.chars().find(|c| INVALID.contains(c))
        {
            return Err(ProtocolError::InvalidColumnName { column, character });
        }
        validate_type(&column, &field.data_type, mode)?;
    }
    Ok(())
}

fn validate_type(column: &str, data_type: &DataType, mode: ColumnMappingMode) -> Result<()> {
    match data_type {
        DataType::Primitive(_) | DataType::Variant => Ok(()),
        DataType::Struct(inner) => validate(column, inner, mode),
        DataType::Array(array) => validate_type(&format!("{column}.element"), &array.element, mode),
        DataType::Map(map) => {
            validate_type(&format!("{column}.key"), &map.key, mode)?;
            validate_type(&format!("{column}.value"), &map.value, mode)
        }
    }
}
