//! Records of the log, as they are stored and as they are used.

use std::sync::Arc;

use arrow_schema::Fields;
use serde::{Deserialize, Serialize};

use super::marks::{CleanMark, CommitMark};
use super::segment::SegmentInfo;
use crate::evidence::ColumnEvidence;
use crate::fingerprint::Fingerprint;
use crate::schema::StoredField;

/// The version of the format.
pub(super) const FORMAT: u32 = 2;

/// A file that was discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landed {
    pub(crate) fingerprint: Fingerprint,
    /// Below the landing folder.
    pub(crate) path: Arc<str>,
    pub(crate) size_bytes: u64,
    pub(crate) modified_us: i64,
    pub(crate) etag: Option<Arc<str>>,
    /// When it became durable; set by the ledger.
    pub(crate) discovered_us: i64,
}

/// A schema, and the first file that needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SchemaVersion {
    pub(crate) from: u64,
    pub(crate) fields: Fields,
    /// What the columns that are new in it were inferred from.
    pub(crate) evidence: Vec<ColumnEvidence>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) v: u32,
    pub(super) number: u64,
    pub(super) at_us: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) schemas: Vec<StoredVersion>,
    /// Path, bytes, time of modification in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) discovered: Vec<(String, u64, i64)>,
    /// The tags of these files, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) etags: Vec<Option<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commits: Vec<CommitMark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) cleans: Vec<CleanMark>,
    /// Of a record that stands for many: where their files are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) segments: Vec<SegmentInfo>,
    /// Files that are never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<SegmentInfo>,
    /// Segments that the one before still named; they go with the next one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retired: Vec<SegmentInfo>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredVersion {
    pub(super) version: u64,
    pub(super) from: u64,
    pub(super) fields: Vec<StoredField>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<ColumnEvidence>,
}
