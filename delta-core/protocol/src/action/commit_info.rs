//! Who did what: the history of a table.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Who did what in a commit.
///
/// Writers put anything here. A field that does not have its usual type is kept in [`extra`](Self::extra)
/// under its own name, so that no foreign commit is refused for it.
///
/// **Source**: Delta protocol, "Commit Provenance Information"; field names as the reference writer has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommitInfo {
    /// When, in milliseconds since the Unix epoch, by the writer's clock.
    pub timestamp: Option<i64>,
    /// When, in milliseconds since the Unix epoch: the truth for tables with in-commit timestamps.
    pub in_commit_timestamp: Option<i64>,
    /// `WRITE`, `DELETE`, `MERGE`, `OPTIMIZE`, …
    pub operation: Option<String>,
    /// What it was asked to do.
    pub operation_parameters: Option<BTreeMap<String, Value>>,
    /// What it did; text or numbers.
    pub operation_metrics: Option<BTreeMap<String, Value>>,
    /// Whether it only added rows, without reading the table.
    pub is_blind_append: Option<bool>,
    /// The version that it read.
    pub read_version: Option<u64>,
    /// `Serializable`, `WriteSerializable` or `SnapshotIsolation`.
    pub isolation_level: Option<String>,
    /// Which program.
    pub engine_info: Option<String>,
    /// Unique for each attempt to write: how a writer finds its own commit again.
    pub txn_id: Option<String>,
    /// Free text of the user.
    pub user_metadata: Option<String>,
    /// All other fields, by name.
    pub extra: Map<String, Value>,
}

impl<'de> Deserialize<'de> for CommitInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        Ok(Self {
            timestamp: take(&mut fields, "timestamp"),
            in_commit_timestamp: take(&mut fields, "inCommitTimestamp"),
            operation: take(&mut fields, "operation"),
            operation_parameters: take(&mut fields, "operationParameters"),
            operation_metrics: take(&mut fields, "operationMetrics"),
            is_blind_append: take(&mut fields, "isBlindAppend"),
            read_version: take(&mut fields, "readVersion"),
            isolation_level: take(&mut fields, "isolationLevel"),
            engine_info: take(&mut fields, "engineInfo"),
            txn_id: take(&mut fields, "txnId"),
            user_metadata: take(&mut fields, "userMetadata"),
            extra: fields,
        })
    }
}

/// Takes a field out if it has the type; leaves it where it is otherwise.
fn take<T: serde::de::DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Option<T> {
    let value = fields.get(name)?;
    if value.is_null() {
        fields.remove(name);
        return None;
    }
    let found = T::deserialize(value).ok()?;
    fields.remove(name);
    Some(found)
}

impl Serialize for CommitInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // A field of ours goes before a stray one of the same name.
        let mut known = Vec::new();
        macro_rules! field {
            ($name:literal, $value:expr) => {
                if let Some(value) = $value {
                    known.push($name);
                    map.serialize_entry($name, value)?;
                }
            };
        }
        field!("timestamp", &self.timestamp);
        field!("inCommitTimestamp", &self.in_commit_timestamp);
        field!("operation", &self.operation);
        field!("operationParameters", &self.operation_parameters);
        field!("operationMetrics", &self.operation_metrics);
        field!("isBlindAppend", &self.is_blind_append);
        field!("readVersion", &self.read_version);
        field!("isolationLevel", &self.isolation_level);
        field!("engineInfo", &self.engine_info);
        field!("txnId", &self.txn_id);
        field!("userMetadata", &self.user_metadata);
        for (name, value) in self.extra.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
