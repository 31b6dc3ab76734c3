//! Which segments are a table.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Storage, VersionedObject};
use serde::{Deserialize, Serialize};

use super::names_below;
use crate::error::{Attempt, FeatureError, Result};

/// One publication.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) table: String,
    pub(super) primary_keys: Vec<String>,
    pub(super) timestamp_key: Option<String>,
    pub(super) max_age_us: Option<u64>,
    pub(super) source_location: String,
    pub(super) source_version: u64,
    pub(super) published_us: i64,
    pub(super) segments: Vec<SegmentEntry>,
    /// The segments of the manifest before: a reader may still be loading them.
    pub(super) previous: Vec<String>,
}

/// A segment, and how to know that it is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    /// Below the folder of the table.
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// FNV-1a of the bytes, 64 bits, as hexadecimal digits.
    pub(super) checksum: String,
}

pub(super) struct Manifests {
    storage: Storage,
    table: String,
}

impl Manifests {
    pub(super) fn new(storage: &Storage, table: &str) -> Self {
        Self { storage: storage.clone(), table: table.to_owned() }
    }

    pub(super) async fn names(&self) -> Result<Vec<String>> {
        names_below(&self.storage).await
    }

    fn object(&self) -> VersionedObject {
        VersionedObject::new(&self.storage.at(&self.table), "manifest")
    }

    pub(super) async fn read(&self) -> Result<Option<(u64, Manifest)>> {
        let attempt = || format!("open the online table `{}`", self.table);
        let Some((version, bytes)) = self.object().read().await.attempt(attempt)? else { return Ok(None) };
        let url = || self.storage.at(&self.table).url_of("manifest");
        let damaged = |reason: String| FeatureError::Corrupt { attempt: attempt(), url: url(), reason };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|source| damaged(source.to_string()))?;
        if manifest.format != 1 {
            return Err(damaged(format!("it has format {}, and 1 is known", manifest.format)));
        }
        Ok(Some((version, manifest)))
    }

    /// Makes a manifest the current one. `None`: another publication was faster.
    pub(super) async fn replace(&self, expected: Option<u64>, manifest: &Manifest) -> Result<Option<u64>> {
        let attempt = || format!("publish the feature table `{}`", self.table);
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|source| FeatureError::Json { attempt: attempt(), source })?;
        match self.object().compare_and_set(expected, bytes).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error).attempt(attempt),
        }
    }
}
