//! What a table is: its name, schema, partitioning and properties.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Result;
use crate::properties::TableProperties;
use crate::schema::StructType;

/// What a table is. Each one replaces the last completely.
///
/// **Source**: Delta protocol, "Change Metadata".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// A UUID that names the table for ever.
    pub id: String,
    /// Given by the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Given by the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The files' encoding.
    #[serde(default)]
    pub format: Format,
    /// The schema as JSON text; see [`schema`](Self::schema). A table that was created without columns has none
    /// in the log: it is read as the empty struct.
    #[serde(default = "no_columns", deserialize_with = "or_no_columns")]
    pub schema_string: String,
    /// Names of the partition columns, in order.
    #[serde(default)]
    pub partition_columns: Vec<String>,
    /// When this action was made, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    /// Table properties; see [`properties`](Self::properties).
    #[serde(default, deserialize_with = "without_nulls")]
    pub configuration: BTreeMap<String, String>,
}

/// The encoding of data files; in practice always Parquet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// `parquet`.
    pub provider: String,
    /// Options of the format.
    #[serde(default, deserialize_with = "without_nulls")]
    pub options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Self {
        Self { provider: "parquet".to_owned(), options: BTreeMap::new() }
    }
}

impl Metadata {
    /// The schema, parsed.
    ///
    /// **Errors**: `Corrupt` when it is not a Delta schema; `Unsupported` for types that are not known.
    pub fn schema(&self) -> Result<StructType> {
        StructType::from_json(&self.schema_string)
    }

    /// The properties, parsed and checked.
    ///
    /// **Errors**: `Invalid` names the property and what would be right.
    pub fn properties(&self) -> Result<TableProperties> {
        TableProperties::parse(&self.configuration)
    }
}

fn no_columns() -> String {
    StructType::default().to_json()
}

fn or_no_columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(no_columns))
}

fn without_nulls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(map.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}
