//! Columns that statistics are about.

use std::fmt;

use crate::error::{ProtocolError, Result};
use crate::properties::TableProperties;
use crate::schema::{ColumnMappingMode, DataType, StructField, StructType};

/// The names from the top to a column, by which users know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnPath(Vec<String>);

impl ColumnPath {
    /// A path of these names.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The column that has these names in files; nothing when the schema has none.
    pub fn of_physical(schema: &StructType, names: &[String], mode: ColumnMappingMode) -> Option<Self> {
        let (mut inner, mut path) = (Some(schema), Vec::with_capacity(names.len()));
        for name in names {
            let field = inner?.fields.iter().find(|field| field.physical_name(mode) == name)?;
            path.push(field.name.clone());
            inner = match &field.data_type {
                DataType::Struct(inner) => Some(inner),
                _ => None,
            };
        }
        Some(Self(path))
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([name.to_owned()]).collect())
    }
}

impl<S: Into<String>> From<S> for ColumnPath {
    /// A column at the top; a dot is part of its name.
    fn from(name: S) -> Self {
        Self(vec![name.into()])
    }
}

impl fmt::Display for ColumnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i > 0 { "." } else { "" })?;
        }
        Ok(())
    }
}

/// The columns for which a writer collects statistics: the table's properties choose them.
///
/// Structs are entered; lists and maps stand for themselves (only their nulls are counted). Partition columns
/// have none, since their value is known.
///
/// **Errors**: `Invalid` names a column of `delta.dataSkippingStatsColumns` that is not in the schema.
pub fn indexed_columns(
    schema: &StructType,
    partition_columns: &[String],
    properties: &TableProperties,
) -> Result<Vec<ColumnPath>> {
    let mut all = Vec::new();
    for field in schema.fields.iter().filter(|f| !partition_columns.contains(&f.name)) {
        leaves(&ColumnPath::from(field.name.as_str()), field, &mut all);
    }
    if let Some(wanted) = &properties.data_skipping_stats_columns {
        for name in wanted {
            if schema.paths_to(name).is_empty() {
                return Err(ProtocolError::UnknownColumn {
                    purpose: "collect statistics (delta.dataSkippingStatsColumns)",
                    column: name.clone(),
                    available: schema.names().collect::<Vec<_>>().join(", "),
                });
            }
        }
        // A struct stands for all that is in it.
        all.retain(|path| (1..=path.0.len()).any(|n| wanted.contains(&ColumnPath(path.0[..n].to_vec()).to_string())));
    } else if let Some(limit) = properties.data_skipping_num_indexed_cols {
        all.truncate(limit);
    }
    Ok(all)
}

fn leaves(path: &ColumnPath, field: &StructField, into: &mut Vec<ColumnPath>) {
    match &field.data_type {
        DataType::Struct(inner) => inner.fields.iter().for_each(|f| leaves(&path.child(&f.name), f, into)),
        _ => into.push(path.clone()),
    }
}
