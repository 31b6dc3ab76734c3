//! Actions that stand only in V2 checkpoints.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::file::decode_path;
use super::string_map::StringMap;
use crate::error::Result;

/// Marks a checkpoint as one of the V2 form.
///
/// **Source**: Delta protocol, "Checkpoint Metadata".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointMetadata {
    /// The version that is checkpointed.
    pub version: u64,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
}

/// A Parquet file in `_delta_log/_sidecars` that holds file actions of a V2 checkpoint.
///
/// **Source**: Delta protocol, "Sidecar File Information".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Percent-encoded; usually the file name alone.
    pub path: String,
    /// Bytes of the file.
    pub size_in_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub modification_time: i64,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
}

impl Sidecar {
    /// The path with percent-encoding taken away.
    ///
    /// **Errors**: `Corrupt` when it is not UTF-8.
    pub fn decoded_path(&self) -> Result<Cow<'_, str>> {
        decode_path(&self.path)
    }
}
