//! The pointer to the last checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json_checksum::{CHECKSUM, checksum};
use crate::action::StringMap;
use crate::error::{ProtocolError, Result};

/// What `_last_checkpoint` says. A hint: the checkpoint may be gone, and there may be later ones.
///
/// **Source**: Delta protocol, "Last Checkpoint File Schema".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCheckpoint {
    /// The version of the checkpoint.
    pub version: u64,
    /// Its actions.
    #[serde(default)]
    pub size: u64,
    /// Its files, when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// Its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_in_bytes: Option<u64>,
    /// Its `add` actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_of_add_files: Option<u64>,
    /// The schema of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_schema: Option<Map<String, Value>>,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
    /// MD5 of the other fields; [written](Self::to_json) by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl LastCheckpoint {
    /// Reads the file.
    ///
    /// **Errors**: `Corrupt` when it is not JSON, or has a checksum that is not its own; a reader then lists the log
    /// from the start.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let corrupt = |source| ProtocolError::CorruptLastCheckpoint { source };
        let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(corrupt)?;
        if let Some(Value::String(expected)) = fields.get(CHECKSUM) {
            let found = checksum(&fields);
            if found != *expected {
                return Err(ProtocolError::LastCheckpointChecksum { expected: expected.clone(), found });
            }
        }
        serde_json::from_value(Value::Object(fields)).map_err(corrupt)
    }

    /// Writes the file, with its checksum.
    ///
    /// **Errors**: none in practice: every value of this type is JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let corrupt = |source| ProtocolError::CorruptLastCheckpoint { source };
        let mut value = serde_json::to_value(self).map_err(corrupt)?;
        if let Value::Object(fields) = &mut value {
            let checksum = checksum(fields);
            fields.insert(CHECKSUM.to_owned(), Value::String(checksum));
        }
        serde_json::to_vec(&value).map_err(corrupt)
    }
}
