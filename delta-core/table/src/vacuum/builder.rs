//! The vacuum itself.

use std::time::Duration;

use boathouse_delta_protocol::features;

use super::candidates::{VacuumScope, candidates, note};
use super::hidden::is_hidden;
use super::needed::Needed;
use crate::deletion::delete_all;
use crate::error::{DeltaError, OnTable, Result};
use crate::log_cleanup::refuse_managed;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

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
    scope: VacuumScope,
    recorded: bool,
}

/// What was, or would be, deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VacuumReport {
    /// The files, relative to the table, sorted. Of a [lite](VacuumScope::Lite) vacuum some may have been gone before.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Whether they are gone. False for a dry run.
    pub deleted: bool,
    /// The versions of the commits `VACUUM START` and `VACUUM END`, where they were made.
    pub recorded_versions: Option<(u64, u64)>,
}

/// What is to be done.
struct Found {
    snapshot: Snapshot,
    report: VacuumReport,
    looked_up_to: Option<u64>,
    asked_us: Option<u64>,
    cutoff_us: i64,
}

impl VacuumBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, retention: Retention::Table, scope: VacuumScope::Full, recorded: true }
    }

    /// Keeps files longer or shorter.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Looks for files elsewhere than in the whole folder.
    pub fn scope(mut self, scope: VacuumScope) -> Self {
        self.scope = scope;
        self
    }

    /// Makes no commits `VACUUM START` and `VACUUM END`, with which the history shows what happened.
    pub fn unrecorded(mut self) -> Self {
        self.recorded = false;
        self
    }

    /// Says what would be deleted, and deletes nothing.
    ///
    /// **Errors**: as [`run`](Self::run).
    pub async fn dry_run(self) -> Result<VacuumReport> {
        Ok(self.find().await?.report)
    }

    /// Deletes data files, change data and deletion vectors that neither the newest version nor one within the retention
    /// needs, and that are older than the retention: younger ones may belong to a commit that is under way.
    ///
    /// Files and folders whose name starts with `_` or `.` are left alone, other than change data and partitions of
    /// such a column. Folders that become empty stay where a store has such a thing.
    ///
    /// With something to delete, two commits without actions say so in the history.
    ///
    /// **Errors**: `Invalid` when the retention is below the table's, or a lite vacuum lacks commits; `Unsupported` when
    /// the table needs something of writers that is not supported (which is what the feature `vacuumProtocolCheck`
    /// demands), or when a catalog manages it. After an error while deleting, some files are gone: run it again.
    ///
    /// **Cost**: a LIST of the whole table, or with [`VacuumScope::Lite`] of the log and a GET for each commit since the
    /// last one; bulk deletes where the store has them.
    pub async fn run(self) -> Result<VacuumReport> {
        let Found { snapshot, mut report, looked_up_to, asked_us, cutoff_us } = self.find().await?;
        let record = self.recorded && !report.files.is_empty();
        let mut start = None;
        if record {
            let mut parameters = vec![
                ("retentionCheckEnabled", (!matches!(self.retention, Retention::Unsafe(_))).to_string()),
                ("defaultRetentionMillis", (snapshot.properties().deleted_file_retention_us / 1000).to_string()),
            ];
            parameters.extend(asked_us.map(|us| ("specifiedRetentionMillis", (us / 1000).to_string())));
            let metrics = [("numFilesToDelete", report.files.len() as u64), ("sizeOfDataToDelete", report.bytes)];
            let transaction = Transaction::begin(&snapshot).operation("VACUUM START", parameters).metrics(metrics);
            start = Some(transaction.commit().await?.version);
        }
        // A commit may have brought files back since they were found: RESTORE does.
        if !report.files.is_empty() {
            let needed = Needed::of(&self.checked().await?, cutoff_us).await?;
            report.files.retain(|path| !needed.contains(path));
        }
        let deleted = delete_all(self.table.storage(), &report.files).await;
        let mut recorded_versions = None;
        if let Some(start) = start {
            let status = if deleted.is_ok() { "COMPLETED" } else { "FAILED" };
            let snapshot = self.table.snapshot().await?;
            let end = Transaction::begin(&snapshot).operation("VACUUM END", [("status", status.to_owned())]);
            let metrics = [("numDeletedFiles", report.files.len() as u64)];
            let end = if deleted.is_ok() { end.metrics(metrics) } else { end };
            recorded_versions = Some((start, end.commit().await?.version));
        }
        deleted?;
        if let Some(version) = looked_up_to {
            note(self.table.storage(), version).await?;
        }
        Ok(VacuumReport { deleted: true, recorded_versions, ..report })
    }

    async fn find(&self) -> Result<Found> {
        let (storage, url) = (self.table.storage(), self.table.url());
        // Commits are looked through where they are published.
        self.table.publish().await?;
        let snapshot = self.checked().await?;
        let required_us = snapshot.properties().deleted_file_retention_us;
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let asked_us = match self.retention {
            Retention::Table => None,
            Retention::AtLeastTable(asked) if us(asked) < required_us => {
                return Err(DeltaError::RetentionTooShort { url: url.to_owned(), asked_us: us(asked), required_us });
            }
            Retention::AtLeastTable(asked) | Retention::Unsafe(asked) => Some(us(asked)),
        };
        let keep_us = i64::try_from(asked_us.unwrap_or(required_us)).unwrap_or(i64::MAX);
        let cutoff_us = self.table.env().now_us().saturating_sub(keep_us);
        // Candidates first: what is committed meanwhile is then among what is needed.
        let found = candidates(storage, &self.scope, cutoff_us).await?;
        let snapshot = self.checked().await?;
        let needed = Needed::of(&snapshot, cutoff_us).await?;
        let mut report = VacuumReport::default();
        for (path, candidate) in found.files {
            let old = candidate.modified_us.is_none_or(|at| at < cutoff_us);
            if old && !needed.contains(&path) && !is_hidden(&path, snapshot.partition_columns()) {
                report.bytes += candidate.size_bytes;
                report.files.push(path);
            }
        }
        Ok(Found { snapshot, report, looked_up_to: found.looked_up_to, asked_us, cutoff_us })
    }

    /// The newest version, if it may be vacuumed.
    async fn checked(&self) -> Result<Snapshot> {
        let snapshot = self.table.snapshot().await?;
        features::check_write(snapshot.protocol(), snapshot.metadata()).on(self.table.url())?;
        refuse_managed(&snapshot, "vacuum")?;
        Ok(snapshot)
    }
}
