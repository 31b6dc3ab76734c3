//! Deleting files that no version within the retention needs.

use std::collections::HashSet;
use std::time::Duration;

use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, VectorLocation};
use boathouse_delta_protocol::log_path::LOG_FOLDER;
use futures::{StreamExt, TryStreamExt};

use crate::error::{DeltaError, OnTable, Result};
use crate::scan::below_table;
use crate::table::DeltaTable;

/// Files that are deleted at once.
const AT_ONCE: usize = 16;

/// How long files that are not in the newest version are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// As long as the table's property `delta.deletedFileRetentionDuration` says.
    #[default]
    Table,
    /// So long, which must not be less than the property says.
    AtLeastTable(Duration),
    /// So long, whatever the property says. **Readers of older versions fail, and running writers may lose files
    /// that they are about to commit.**
    Unsafe(Duration),
}

/// Deletes files that are not needed. Made by [`DeltaTable::vacuum`].
#[derive(Debug)]
#[must_use = "nothing is deleted before `run`"]
pub struct VacuumBuilder {
    table: DeltaTable,
    retention: Retention,
}

/// What was, or would be, deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VacuumReport {
    /// The files, relative to the table, sorted.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Whether they are gone. False for a dry run.
    pub deleted: bool,
}

impl VacuumBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, retention: Retention::Table }
    }

    /// Keeps files longer or shorter.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Says what would be deleted, and deletes nothing.
    ///
    /// **Errors**: as [`run`](Self::run).
    pub async fn dry_run(self) -> Result<VacuumReport> {
        self.find().await
    }

    /// Deletes data files and deletion vectors that neither the newest version nor one within the retention needs,
    /// and that are older than the retention: younger ones may belong to a commit that is under way.
    ///
    /// Files and folders whose name starts with `_` or `.` are left alone, other than change data and partitions of
    /// such a column.
    ///
    /// **Errors**: `Invalid` when the retention is below the table's; `Unsupported` when the table needs something
    /// of writers that is not supported.
    ///
    /// **Cost**: a LIST of the whole table, and a delete for each file.
    pub async fn run(self) -> Result<VacuumReport> {
        let storage = self.table.storage().clone();
        let report = self.find().await?;
        let deletes = report.files.iter().map(|path| {
            let storage = &storage;
            async move { storage.delete(path).await }
        });
        futures::stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(VacuumReport { deleted: true, ..report })
    }

    async fn find(&self) -> Result<VacuumReport> {
        let (storage, url) = (self.table.storage(), self.table.url());
        let snapshot = self.table.snapshot().await?;
        boathouse_delta_protocol::features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
        let required_us = snapshot.properties().deleted_file_retention_us;
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let keep_us = match self.retention {
            Retention::Table => required_us,
            Retention::AtLeastTable(asked) if us(asked) < required_us => {
                return Err(DeltaError::RetentionTooShort { url: url.to_owned(), asked_us: us(asked), required_us });
            }
            Retention::AtLeastTable(asked) | Retention::Unsafe(asked) => us(asked),
        };
        let cutoff_us = self.table.env().now_us().saturating_sub(i64::try_from(keep_us).unwrap_or(i64::MAX));
        let mut needed: HashSet<String> = HashSet::new();
        let mut need = |path: &str, vector: Option<&DeletionVectorDescriptor>| -> Result<()> {
            needed.extend(below_table(storage, &boathouse_delta_protocol::action::decode_path(path).on(url)?));
            match vector.map(DeletionVectorDescriptor::location).transpose().on(url)? {
                Some(VectorLocation::InTable(path) | VectorLocation::Absolute(path)) => {
                    needed.extend(below_table(storage, &path))
                }
                Some(VectorLocation::Inline) | None => {}
            }
            Ok(())
        };
        for file in snapshot.index().await?.iter() {
            need(file.path(), file.deletion_vector())?;
        }
        for remove in snapshot.tombstones().await? {
            // One without a time may be young.
            let removed_us = remove.deletion_timestamp.map(|ms| ms.saturating_mul(1000));
            if removed_us.is_none_or(|at| at >= cutoff_us) {
                need(&remove.path, remove.deletion_vector.as_deref())?;
            }
        }
        let mut report = VacuumReport::default();
        for entry in storage.list("").await? {
            let old = entry.modified_us < cutoff_us;
            if old && !needed.contains(&entry.path) && !is_hidden(&entry.path, snapshot.partition_columns()) {
                report.bytes += entry.size_bytes;
                report.files.push(entry.path);
            }
        }
        Ok(report)
    }
}

/// Whether a path is none of ours: the log, and what other programs hide.
fn is_hidden(path: &str, partition_columns: &[String]) -> bool {
    if path.starts_with("_change_data/") {
        return false;
    }
    path.split('/').any(|part| {
        let partition = partition_columns.iter().any(|c| part.strip_prefix(c.as_str()).is_some_and(|rest| rest.starts_with('=')));
        part == LOG_FOLDER || (part.starts_with(['_', '.']) && !partition)
    })
}
