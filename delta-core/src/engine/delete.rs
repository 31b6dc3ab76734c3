//! DELETE.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{DataFile, DataWriterSettings, DeltaTable, Transaction};
use datafusion::prelude::SessionContext;

use super::error::Result;
use super::fate::RowChangeSettings;
use super::formula::{Filter, Formula};
use super::leaving::{Leaving, leave};
use super::output::{Output, Written};
use super::rewrite;
use super::statement::{Running, Statement};
use super::touched;

/// Deletes rows. Made by [`DeltaTableExt::delete`](crate::DeltaTableExt::delete).
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let ids = Int64Array::from(vec![Some(1), Some(2), None]);
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)])?;
/// # table.append(batch.into()).create_if_absent().run().await?;
/// // The rows are 1, 2 and null. Of a null it is not known whether it is above 1: it stays.
/// let report = table.delete().filter("id > 1").run().await?;
/// assert_eq!((report.version, report.rows_deleted), (1, Some(1)));
///
/// let report = table.delete().filter("id > 1").run().await?;
/// assert_eq!((report.version, report.committed), (1, false));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is deleted before `run`"]
pub struct DeleteBuilder {
    statement: Statement,
    condition: Option<Formula>,
}

/// What a DELETE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeleteReport {
    /// The version that holds it; the version that was found when no row matched.
    pub version: u64,
    /// Whether there was anything to commit.
    pub committed: bool,
    /// Rows deleted; `None` when a file left unread and its statistics do not say how many rows it had.
    pub rows_deleted: Option<u64>,
    /// Rows that were written again because they lay in the same file.
    pub rows_copied: u64,
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Files that stay, with more of their rows marked as deleted.
    pub files_marked: u64,
    /// Attempts to commit: 1 without contention, 0 without a commit.
    pub attempts: u32,
}

impl DeleteBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { statement: Statement::new(table), condition: None }
    }

    /// Deletes the rows for which this is true. Without it, all rows.
    pub fn filter(mut self, condition: impl Into<Formula>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Evaluates with this session: its functions and settings.
    pub fn with_session(mut self, session: &SessionContext) -> Self {
        self.statement = self.statement.with_session(session);
        self
    }

    /// Sets how data files are written.
    pub fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.statement = self.statement.with_writer_settings(settings);
        self
    }

    /// Sets when rows are marked as deleted, and when files are written again.
    pub fn with_row_change_settings(mut self, settings: RowChangeSettings) -> Self {
        self.statement = self.statement.with_row_change_settings(settings);
        self
    }

    /// Deletes. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: a condition on partition columns alone reads no data; otherwise the columns of the condition are read in
    /// files that can match. Where the table has deletion vectors the rows are then marked; other files with a match, and those that
    /// [would lose too many](RowChangeSettings), are written again.
    ///
    /// **Errors**: `Invalid` for a condition that does not fit the table, and on append-only tables; `Conflict` when
    /// another writer deleted one of these rows, or added some that match.
    pub async fn run(self) -> Result<DeleteReport> {
        let mut running = self.statement.begin("delete from", RowChange::RemoveFiles).await?;
        let Some(condition) = &self.condition else { return delete_all(&running).await };
        let (snapshot, attempt) = (&running.snapshot, &running.attempt);
        let filter = Filter::new(condition, &running.session, &snapshot.schema(), attempt)?;
        let found = touched::find(snapshot, &filter, attempt).await?;
        if found.touched.is_empty() {
            return Ok(nothing_deleted(&running));
        }
        running.scanned();
        let leaving = Leaving::of(&running, found);
        rewrite::check(&running.snapshot, leaving.change())?;
        let written = match leaving.copies() {
            false => Written::default(),
            true => {
                let fill = async |output: &mut Output| leave(&running, &leaving, &filter, output).await;
                running.write(running.recording(true), fill).await?.0
            }
        };
        commit(&running, running.transaction(filter.predicate.clone()), &leaving, &written, Some(&filter.text)).await
    }
}

fn nothing_deleted(running: &Running) -> DeleteReport {
    DeleteReport { version: running.snapshot.version(), rows_deleted: Some(0), ..DeleteReport::default() }
}

async fn delete_all(running: &Running) -> Result<DeleteReport> {
    let leaving = Leaving::whole(running.snapshot.files(None).await?);
    if leaving.is_empty() {
        return Ok(nothing_deleted(running));
    }
    commit(running, running.transaction(None), &leaving, &Written::default(), None).await
}

async fn commit(
    running: &Running,
    transaction: Transaction,
    leaving: &Leaving,
    written: &Written,
    condition: Option<&str>,
) -> Result<DeleteReport> {
    let (files_removed, files_marked) = (leaving.removed().count() as u64, leaving.marked());
    let mut metrics = vec![
        ("numAddedFiles", written.files.adds.len() as u64),
        ("numRemovedFiles", files_removed),
        ("numCopiedRows", written.files.rows),
        ("numAddedBytes", written.files.bytes),
        ("numRemovedBytes", DataFile::total_bytes(leaving.removed())),
        ("numDeletionVectorsAdded", files_marked),
        ("numAddedChangeFiles", written.changes.files.len() as u64),
    ];
    metrics.extend(leaving.rows().map(|rows| ("numDeletedRows", rows)));
    metrics.extend(running.times());
    let transaction =
        leaving.stage(transaction).operation("DELETE", [("predicate", rewrite::predicate_parameter(condition))]).metrics(metrics);
    let report = running.commit(transaction, written).await?;
    Ok(DeleteReport {
        version: report.version,
        committed: true,
        rows_deleted: leaving.rows(),
        rows_copied: written.files.rows,
        files_added: written.files.adds.len() as u64,
        files_removed,
        files_marked,
        attempts: report.attempts,
    })
}
