//! One change of a table's metadata.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field};

/// One change, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    AddColumn(Field),
    RenameColumn { column: String, to: String },
    DropColumn { column: String },
    WidenColumn { column: String, to: DataType },
    AllowNulls { column: String },
    SetDefault { column: String, expression: String },
    DropDefault { column: String },
    AddConstraint { name: String, expression: String },
    DropConstraint { name: String },
    SetProperty { key: String, value: String },
    UnsetProperty { key: String },
}

impl Change {
    /// The operation, as the history has it.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::AddColumn(_) => "ADD COLUMNS",
            Self::RenameColumn { .. } => "RENAME COLUMN",
            Self::DropColumn { .. } => "DROP COLUMNS",
            Self::WidenColumn { .. } | Self::AllowNulls { .. } | Self::SetDefault { .. } | Self::DropDefault { .. } => {
                "CHANGE COLUMN"
            }
            Self::AddConstraint { .. } => "ADD CONSTRAINT",
            Self::DropConstraint { .. } => "DROP CONSTRAINT",
            Self::SetProperty { .. } => "SET TBLPROPERTIES",
            Self::UnsetProperty { .. } => "UNSET TBLPROPERTIES",
        }
    }

    /// What the history says of it.
    pub(super) fn parameters(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::AddColumn(field) => BTreeMap::from([("column", field.name().clone()), ("type", field.data_type().to_string())]),
            Self::RenameColumn { column, to } => {
                BTreeMap::from([("oldColumnPath", column.clone()), ("newColumnPath", to.clone())])
            }
            Self::DropColumn { column } => BTreeMap::from([("columns", column.clone())]),
            Self::WidenColumn { column, to } => BTreeMap::from([("column", column.clone()), ("type", to.to_string())]),
            Self::AllowNulls { column } => BTreeMap::from([("column", column.clone()), ("nullable", "true".to_owned())]),
            Self::SetDefault { column, expression } => {
                BTreeMap::from([("column", column.clone()), ("default", expression.clone())])
            }
            Self::DropDefault { column } => BTreeMap::from([("column", column.clone())]),
            Self::AddConstraint { name, expression } => BTreeMap::from([("name", name.clone()), ("expr", expression.clone())]),
            Self::DropConstraint { name } => BTreeMap::from([("name", name.clone())]),
            Self::SetProperty { key, value } => BTreeMap::from([("key", key.clone()), ("value", value.clone())]),
            Self::UnsetProperty { key } => BTreeMap::from([("key", key.clone())]),
        }
    }
}
