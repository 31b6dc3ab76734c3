//! Checkpoints of a table.

use crate::error::Result;
use crate::log::checkpoint_write::{Contents, write_checkpoint};
use crate::snapshot::Snapshot;

/// A checkpoint that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The version that it holds.
    pub version: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Data files in it.
    pub files: u64,
}

/// Writes a checkpoint of a snapshot.
pub(crate) async fn write(snapshot: &Snapshot) -> Result<CheckpointReport> {
    let properties = snapshot.properties();
    let now_ms = snapshot.table().env().now_ms();
    let before = |us: u64| now_ms.saturating_sub(i64::try_from(us / 1000).unwrap_or(i64::MAX));
    let tombstones_since_ms = before(properties.deleted_file_retention_us);
    let txns_since_ms = properties.transaction_retention_us.map(before);
    let mut tombstones = snapshot.tombstones().await?;
    tombstones.retain(|remove| remove.deletion_timestamp.unwrap_or(0) > tombstones_since_ms);
    let files = snapshot.index_with_stats().await?;
    let count = files.len() as u64;
    let contents = Contents { head: snapshot.state().clone(), files, tombstones, txns_since_ms };
    let bytes = write_checkpoint(snapshot.table().storage(), contents).await?;
    Ok(CheckpointReport { version: snapshot.version(), bytes, files: count })
}
