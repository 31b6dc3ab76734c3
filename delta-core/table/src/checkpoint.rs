//! Checkpoints of a table.

use std::future::IntoFuture;
use std::sync::Arc;

use boathouse_base::BoxFuture;
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::properties::CheckpointPolicy;

use crate::error::{DeltaError, Result};
use crate::log::checkpoint_write::{Contents, Shape, Written, write_checkpoint};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Which files make a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointForm {
    /// As the table says: [`Uuid`](Self::Uuid) when it has the feature `v2Checkpoint` and its property
    /// `delta.checkpointPolicy` is `v2`, else [`Classic`](Self::Classic).
    #[default]
    Table,
    /// One Parquet file (V1): what every reader knows.
    Classic,
    /// A main file in Parquet with the name of a classic checkpoint, and sidecars with the files (V2). Clients that do
    /// not know V2 find it, and refuse the table for the right reason.
    ClassicV2,
    /// A small main file in JSON with a UUID in its name, and sidecars (V2). Two writers never write the same file.
    Uuid,
}

/// Writes a checkpoint of the newest version. Made by [`DeltaTable::checkpoint`]; `await` runs it.
#[derive(Debug)]
#[must_use = "nothing is written before `run`"]
pub struct CheckpointBuilder {
    table: DeltaTable,
    form: CheckpointForm,
}

/// A checkpoint that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The version that it holds.
    pub version: u64,
    /// Its bytes, sidecars included.
    pub bytes: u64,
    /// Data files in it.
    pub files: u64,
    /// Its sidecars.
    pub sidecars: u64,
    /// Whether `_last_checkpoint` speaks of it; false when a later one was there.
    pub is_last: bool,
}

impl CheckpointBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, form: CheckpointForm::Table }
    }

    /// Chooses the files.
    pub fn form(mut self, form: CheckpointForm) -> Self {
        self.form = form;
        self
    }

    /// Writes it.
    ///
    /// **Cost**: loads the files; a pass over their statistics in the log for each million of files, whose text is in
    /// memory. When the table was not open yet, and its commits are no more than 1.25 GB, the first pass is saved. The checkpoint is read back before `_last_checkpoint` points to it.
    ///
    /// **Errors**: `Invalid` for a V2 form on a table without the feature `v2Checkpoint`; `Internal` with
    /// [`DeltaError::CheckpointUnsound`] when it does not read back: then it is deleted.
    pub async fn run(self) -> Result<CheckpointReport> {
        write(&self.table.snapshot_with_statistics().await?, self.form).await
    }
}

impl IntoFuture for CheckpointBuilder {
    type Output = Result<CheckpointReport>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Writes a checkpoint of a snapshot.
pub(crate) async fn write(snapshot: &Snapshot, form: CheckpointForm) -> Result<CheckpointReport> {
    let (table, properties) = (snapshot.table(), snapshot.properties());
    // Only what is published may be replaced by a checkpoint.
    table.publish().await?;
    let v2 = features::has(snapshot.protocol(), "v2Checkpoint");
    let shape = match form {
        CheckpointForm::Table if v2 && properties.checkpoint_policy == CheckpointPolicy::V2 => Shape::Uuid,
        CheckpointForm::Table | CheckpointForm::Classic => Shape::Classic,
        CheckpointForm::ClassicV2 if v2 => Shape::ClassicV2,
        CheckpointForm::Uuid if v2 => Shape::Uuid,
        CheckpointForm::ClassicV2 | CheckpointForm::Uuid => {
            let form = if form == CheckpointForm::Uuid { "Uuid" } else { "ClassicV2" };
            return Err(DeltaError::CheckpointNeedsFeature { url: table.url().to_owned(), form });
        }
    };
    let now_ms = table.env().now_ms();
    let before = |us: u64| now_ms.saturating_sub(i64::try_from(us / 1000).unwrap_or(i64::MAX));
    let tombstones_since_ms = before(properties.deleted_file_retention_us);
    let txns_since_ms = properties.transaction_retention_us.map(before);
    let files = snapshot.index().await?;
    let mut tombstones = snapshot.tombstones().await?;
    tombstones.retain(|remove| remove.deletion_timestamp.unwrap_or(0) > tombstones_since_ms);
    tombstones.sort_by(|a, b| (&a.partition_values, &a.path).cmp(&(&b.partition_values, &b.path)));
    let count = files.len() as u64;
    let contents =
        Contents { head: snapshot.state().clone(), layout: Arc::clone(snapshot.layout()), files, tombstones, txns_since_ms };
    let Written { bytes, sidecars, is_last } =
        write_checkpoint(table.storage(), table.env(), contents, snapshot.lazy_files(), shape).await?;
    Ok(CheckpointReport { version: snapshot.version(), bytes, files: count, sidecars: sidecars as u64, is_last })
}
