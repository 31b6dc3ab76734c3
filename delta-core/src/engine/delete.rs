//! DELETE.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{DataFile, DataWriterSettings, DeltaTable, FileRead, Snapshot, Transaction, WrittenFiles};
use datafusion::arrow::compute::{filter_record_batch, not};
use datafusion::prelude::SessionContext;

use super::error::{Attempt, Result};
use super::formula::{Filter, Formula};
use super::rewrite;
use super::session::GivenSession;
use super::touched::{self, Touched};

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
    table: DeltaTable,
    condition: Option<Formula>,
    session: GivenSession,
    settings: DataWriterSettings,
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
    /// Attempts to commit: 1 without contention, 0 without a commit.
    pub attempts: u32,
}

impl DeleteBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, condition: None, session: GivenSession::default(), settings: DataWriterSettings::default() }
    }

    /// Deletes the rows for which this is true. Without it, all rows.
    pub fn filter(mut self, condition: impl Into<Formula>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Evaluates with this session: its functions and settings.
    pub fn with_session(mut self, session: &SessionContext) -> Self {
        self.session = GivenSession::of(session);
        self
    }

    /// Sets how data files are written.
    pub fn with_writer_settings(mut self, settings: DataWriterSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Deletes. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: a condition on partition columns alone reads no data; otherwise the columns of the condition are read in
    /// files that can match, and files with a match are written again.
    ///
    /// **Errors**: `Invalid` for a condition that does not fit the table, and on append-only tables; `Conflict` when
    /// another writer changed the rows that this one looked at.
    pub async fn run(self) -> Result<DeleteReport> {
        let snapshot = self.table.snapshot().await?;
        let started_ms = self.table.env().now_ms();
        let attempt = Attempt::new("delete from", snapshot.url());
        rewrite::check(&snapshot, RowChange::RemoveFiles)?;
        let Some(condition) = &self.condition else { return delete_all(&snapshot, started_ms).await };
        let session = self.session.get();
        let filter = Filter::new(condition, &session, &snapshot.schema(), &attempt)?;
        let touched = touched::find(&snapshot, &filter, &attempt).await?;
        if touched.is_empty() {
            return Ok(DeleteReport { version: snapshot.version(), rows_deleted: Some(0), ..DeleteReport::default() });
        }
        let scanned_ms = self.table.env().now_ms();
        let rest: Vec<&DataFile> = touched.iter().filter(|touched| !touched.whole).map(|touched| &touched.file).collect();
        if !rest.is_empty() {
            rewrite::check(&snapshot, RowChange::Rewrite)?;
        }
        let written = copy_rest(&snapshot, &rest, &filter, self.settings, &attempt).await?;
        let change = if rest.is_empty() { RowChange::RemoveFiles } else { RowChange::Rewrite };
        let mut transaction = Transaction::begin(&snapshot).row_change(change).read_files(touched.iter().map(|t| &t.file));
        transaction = match filter.predicate {
            Some(predicate) => transaction.read_predicate(predicate),
            None => transaction.read_whole_table(),
        };
        commit(&snapshot, transaction, &touched, &written, Some(&filter.text), (started_ms, scanned_ms)).await
    }
}

async fn copy_rest(
    snapshot: &Snapshot,
    files: &[&DataFile],
    filter: &Filter,
    settings: DataWriterSettings,
    attempt: &Attempt,
) -> Result<WrittenFiles> {
    if files.is_empty() {
        return Ok(WrittenFiles::default());
    }
    let fill = async |writer: &mut boathouse_delta_table::DataWriter| {
        for file in files {
            let mut rows = snapshot.read_file(file, FileRead::default())?;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| attempt.rows(error))?;
                let stays = not(&filter.wide.is_true(&batch, attempt)?).map_err(|source| attempt.compute(source))?;
                writer.write(&filter_record_batch(&batch, &stays).map_err(|source| attempt.compute(source))?).await?;
            }
        }
        Ok(())
    };
    let (written, ()) = rewrite::write(snapshot, settings, fill).await?;
    Ok(written)
}

async fn delete_all(snapshot: &Snapshot, started_ms: i64) -> Result<DeleteReport> {
    let whole = |file: DataFile| Touched { matching: file.row_count(), file, whole: true };
    let touched: Vec<Touched> = snapshot.files(None)?.into_iter().map(whole).collect();
    if touched.is_empty() {
        return Ok(DeleteReport { version: snapshot.version(), rows_deleted: Some(0), ..DeleteReport::default() });
    }
    let transaction = Transaction::begin(snapshot).read_whole_table();
    commit(snapshot, transaction, &touched, &WrittenFiles::default(), None, (started_ms, started_ms)).await
}

async fn commit(
    snapshot: &Snapshot,
    transaction: Transaction,
    touched: &[Touched],
    written: &WrittenFiles,
    condition: Option<&str>,
    (started_ms, scanned_ms): (i64, i64),
) -> Result<DeleteReport> {
    let rows_deleted: Option<u64> = touched.iter().map(|touched| touched.matching).sum();
    let now_ms = snapshot.table().env().now_ms();
    let span = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
    let removed = touched.iter().map(|touched| &touched.file);
    let mut metrics = vec![
        ("numAddedFiles", written.adds.len() as u64),
        ("numRemovedFiles", touched.len() as u64),
        ("numCopiedRows", written.rows),
        ("numAddedBytes", written.bytes),
        ("numRemovedBytes", removed.clone().map(DataFile::size_bytes).sum()),
        ("executionTimeMs", span(started_ms, now_ms)),
        ("scanTimeMs", span(started_ms, scanned_ms)),
        ("rewriteTimeMs", span(scanned_ms, now_ms)),
    ];
    metrics.extend(rows_deleted.map(|rows| ("numDeletedRows", rows)));
    let transaction = transaction
        .remove_all(removed)
        .operation("DELETE", [("predicate", rewrite::predicate_parameter(condition))])
        .metrics(metrics);
    let report = rewrite::commit(snapshot, transaction, written).await?;
    tracing::debug!(table = snapshot.url(), version = report.version, rows = rows_deleted, "deleted");
    Ok(DeleteReport {
        version: report.version,
        committed: true,
        rows_deleted,
        rows_copied: written.rows,
        files_added: written.adds.len() as u64,
        files_removed: touched.len() as u64,
        attempts: report.attempts,
    })
}
