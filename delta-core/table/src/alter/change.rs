//! One change of a table's metadata.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field};

/// Where a column stands among those of its table or struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// Before all others.
    First,
    /// Behind this one: its name alone, without those of the structs that hold it.
    After(String),
}

impl ColumnPlace {
    /// As SQL has it.
    fn words(&self) -> String {
        match self {
            Self::First => "FIRST".to_owned(),
            Self::After(column) => format!("AFTER {column}"),
        }
    }
}

/// One change, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// `parent`: the dotted path of the struct; empty for the table.
    AddColumn {
        parent: String,
        field: Field,
        place: Option<ColumnPlace>,
    },
    ReplaceColumns {
        fields: Vec<Field>,
    },
    RenameColumn {
        column: String,
        to: String,
    },
    DropColumn {
        column: String,
    },
    WidenColumn {
        column: String,
        to: DataType,
    },
    MoveColumn {
        column: String,
        place: ColumnPlace,
    },
    AllowNulls {
        column: String,
    },
    RequireValues {
        column: String,
    },
    Comment {
        column: String,
        text: Option<String>,
    },
    Describe {
        text: Option<String>,
    },
    SyncIdentity {
        column: String,
    },
    SetDefault {
        column: String,
        expression: String,
    },
    DropDefault {
        column: String,
    },
    AddConstraint {
        name: String,
        expression: String,
    },
    DropConstraint {
        name: String,
        absent: Absent,
    },
    SetProperty {
        key: String,
        value: String,
    },
    UnsetProperty {
        key: String,
        absent: Absent,
    },
}

/// The path of a column of a struct.
pub(super) fn joined(parent: &str, column: &str) -> String {
    if parent.is_empty() { column.to_owned() } else { format!("{parent}.{column}") }
}

/// What happens when there is nothing to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Fail,
    Ignore,
}

impl Change {
    /// The operation, as the history has it.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::AddColumn { .. } => "ADD COLUMNS",
            Self::ReplaceColumns { .. } => "REPLACE COLUMNS",
            Self::RenameColumn { .. } => "RENAME COLUMN",
            Self::DropColumn { .. } => "DROP COLUMNS",
            Self::WidenColumn { .. }
            | Self::MoveColumn { .. }
            | Self::AllowNulls { .. }
            | Self::RequireValues { .. }
            | Self::Comment { .. }
            | Self::SetDefault { .. }
            | Self::DropDefault { .. } => "CHANGE COLUMN",
            Self::SyncIdentity { .. } => "SYNC IDENTITY",
            // As the reference writer has it: the comment of a table is one of its properties there.
            Self::Describe { .. } => "SET TBLPROPERTIES",
            Self::AddConstraint { .. } => "ADD CONSTRAINT",
            Self::DropConstraint { .. } => "DROP CONSTRAINT",
            Self::SetProperty { .. } => "SET TBLPROPERTIES",
            Self::UnsetProperty { .. } => "UNSET TBLPROPERTIES",
        }
    }

    /// What the history says of it.
    pub(super) fn parameters(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::ReplaceColumns { fields } => {
                let column = |field: &Field| serde_json::json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()});
                let columns: Vec<_> = fields.iter().map(column).collect();
                BTreeMap::from([("columns", serde_json::Value::from(columns).to_string())])
            }
            Self::AddColumn { parent, field, place } => {
                let mut facts =
                    BTreeMap::from([("column", joined(parent, field.name())), ("type", field.data_type().to_string())]);
                facts.extend(place.iter().map(|place| ("position", place.words())));
                facts
            }
            Self::MoveColumn { column, place } => BTreeMap::from([("column", column.clone()), ("position", place.words())]),
            Self::RequireValues { column } => BTreeMap::from([("column", column.clone()), ("nullable", "false".to_owned())]),
            Self::Comment { column, text } => {
                BTreeMap::from([("column", column.clone()), ("comment", text.clone().unwrap_or_default())])
            }
            Self::Describe { text } => BTreeMap::from([("comment", text.clone().unwrap_or_default())]),
            Self::RenameColumn { column, to } => {
                BTreeMap::from([("oldColumnPath", column.clone()), ("newColumnPath", to.clone())])
            }
            Self::DropColumn { column } => BTreeMap::from([("columns", column.clone())]),
            Self::WidenColumn { column, to } => BTreeMap::from([("column", column.clone()), ("type", to.to_string())]),
            Self::AllowNulls { column } => BTreeMap::from([("column", column.clone()), ("nullable", "true".to_owned())]),
            Self::SetDefault { column, expression } => {
                BTreeMap::from([("column", column.clone()), ("default", expression.clone())])
            }
            Self::SyncIdentity { column } | Self::DropDefault { column } => BTreeMap::from([("column", column.clone())]),
            Self::AddConstraint { name, expression } => BTreeMap::from([("name", name.clone()), ("expr", expression.clone())]),
            Self::DropConstraint { name, .. } => BTreeMap::from([("name", name.clone())]),
            Self::SetProperty { key, value } => BTreeMap::from([("key", key.clone()), ("value", value.clone())]),
            Self::UnsetProperty { key, .. } => BTreeMap::from([("key", key.clone())]),
        }
    }
}
