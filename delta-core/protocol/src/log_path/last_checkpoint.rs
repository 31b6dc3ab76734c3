//! The pointer to the last checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// MD5 of the other fields; not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl LastCheckpoint {
    /// Reads the file.
    ///
    /// **Errors**: `Corrupt`; a reader then lists the log from the start.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|source| ProtocolError::CorruptLastCheckpoint { source })
    }

    /// Writes the file.
    ///
    /// **Errors**: none in practice: every value of this type is JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|source| ProtocolError::CorruptLastCheckpoint { source })
    }
}
