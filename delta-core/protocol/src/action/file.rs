//! Files of the table: added, removed, and those that only change readers look at.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::string_map::StringMap;
use crate::deletion_vector::DeletionVectorDescriptor;
use crate::error::{ProtocolError, Result};

/// A data file that becomes part of the table.
///
/// **Source**: Delta protocol, "Add File and Remove File".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    /// Percent-encoded path, relative to the table or absolute; see [`decoded_path`](Self::decoded_path).
    pub path: String,
    /// Partition column (by physical name) to value; see [`partition`](crate::partition).
    #[serde(default)]
    pub partition_values: StringMap,
    /// Bytes of the file.
    pub size: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub modification_time: i64,
    /// False when it only rearranges rows that were in the table.
    pub data_change: bool,
    /// Statistics as JSON text; see [`FileStats`](crate::stats::FileStats).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Free facts about the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
    /// Which rows of the file are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<Box<DeletionVectorDescriptor>>,
    /// Row id of the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    /// First version that added this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
    /// Which clustering made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustering_provider: Option<String>,
}

/// A data file that leaves the table.
///
/// **Source**: Delta protocol, "Add File and Remove File".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// The path, letter by letter as it was added.
    pub path: String,
    /// When it was removed, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    /// False when its rows are still in the table, in other files.
    pub data_change: bool,
    /// Whether partition values and size are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_file_metadata: Option<bool>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_values: Option<StringMap>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<Box<DeletionVectorDescriptor>>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
}

/// A file that holds changed rows, for readers of the change feed only.
///
/// **Source**: Delta protocol, "Add CDC File".
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cdc {
    /// As in [`Add`].
    pub path: String,
    /// As in [`Add`].
    #[serde(default)]
    pub partition_values: StringMap,
    /// Bytes of the file.
    pub size: u64,
    /// Always false.
    #[serde(default)]
    pub data_change: bool,
    /// As in [`Add`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<StringMap>,
}

/// What makes two file actions speak of the same logical file: the path as it stands in the log, and
/// the unique id of the deletion vector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The path as it stands in the log.
    pub path: String,
    /// [`DeletionVectorDescriptor::unique_id`].
    pub deletion_vector: Option<String>,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deletion_vector {
            None => f.write_str(&self.path),
            Some(id) => write!(f, "{} with deletion vector {id}", self.path),
        }
    }
}

impl Add {
    /// The path with percent-encoding taken away: what the object store knows.
    ///
    /// **Errors**: `Corrupt` when it is not UTF-8.
    pub fn decoded_path(&self) -> Result<Cow<'_, str>> {
        decode_path(&self.path)
    }

    /// What it is known by in the log.
    pub fn key(&self) -> FileKey {
        key(&self.path, self.deletion_vector.as_deref())
    }

    /// The action that takes this file out of the table again.
    pub fn to_remove(&self, deletion_timestamp_ms: i64, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            deletion_timestamp: Some(deletion_timestamp_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition_values.clone()),
            size: Some(self.size),
            stats: self.stats.clone(),
            tags: self.tags.clone(),
            deletion_vector: self.deletion_vector.clone(),
            base_row_id: self.base_row_id,
            default_row_commit_version: self.default_row_commit_version,
        }
    }
}

impl Remove {
    /// The path with percent-encoding taken away.
    ///
    /// **Errors**: `Corrupt` when it is not UTF-8.
    pub fn decoded_path(&self) -> Result<Cow<'_, str>> {
        decode_path(&self.path)
    }

    /// What it is known by in the log.
    pub fn key(&self) -> FileKey {
        key(&self.path, self.deletion_vector.as_deref())
    }
}

fn key(path: &str, vector: Option<&DeletionVectorDescriptor>) -> FileKey {
    FileKey { path: path.to_owned(), deletion_vector: vector.map(DeletionVectorDescriptor::unique_id) }
}

/// What stays as it is in a path of the log: RFC 2396 "unreserved" and what a path segment may hold.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'/');

/// Percent-encodes a path for the log.
///
/// A path that [starts like](decode_path) a URL scheme is safe too: our relative paths never do.
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, ENCODED).to_string()
}

/// Takes percent-encoding away from a path of the log.
///
/// **Errors**: `Corrupt` when it is not UTF-8.
pub fn decode_path(path: &str) -> Result<Cow<'_, str>> {
    percent_decode_str(path).decode_utf8().map_err(|_| ProtocolError::InvalidPath { path: path.to_owned() })
}
