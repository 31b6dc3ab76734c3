//! DELETE.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{DataFile, DataWriter, DataWriterSettings, DeltaTable, FileRead, Transaction, WrittenFiles};
use datafusion::arrow::compute::{filter_record_batch, not};
use datafusion::prelude::SessionContext;

use super::error::Result;
use super::formula::{Filter, Formula};
use super::rewrite;
use super::statement::{Running, Statement};
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

    /// Deletes. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: a condition on partition columns alone reads no data; otherwise the columns of the condition are read in
    /// files that can match, and files with a match are written again.
    ///
    /// **Errors**: `Invalid` for a condition that does not fit the table, and on append-only tables; `Conflict` when
    /// another writer changed the rows that this one looked at.
    pub async fn run(self) -> Result<DeleteReport> {
        let mut running = self.statement.begin("delete from", RowChange::RemoveFiles).await?;
        let Some(condition) = &self.condition else { return delete_all(&running).await };
        let (snapshot, attempt) = (&running.snapshot, &running.attempt);
        let filter = Filter::new(condition, &running.session, &snapshot.schema(), attempt)?;
        let touched = touched::find(snapshot, &filter, attempt).await?;
        if touched.is_empty() {
            return Ok(nothing_deleted(&running));
        }
        running.scanned();
        let rest: Vec<&DataFile> = touched.iter().filter(|touched| !touched.whole).map(|touched| &touched.file).collect();
        let change = if rest.is_empty() { RowChange::RemoveFiles } else { RowChange::Rewrite };
        rewrite::check(&running.snapshot, change)?;
        let written = copy_rest(&running, &rest, &filter).await?;
        let transaction = running.transaction(filter.predicate.clone()).row_change(change);
        let transaction = transaction.read_files(touched.iter().map(|touched| &touched.file));
        commit(&running, transaction, &touched, &written, Some(&filter.text)).await
    }
}

fn nothing_deleted(running: &Running) -> DeleteReport {
    DeleteReport { version: running.snapshot.version(), rows_deleted: Some(0), ..DeleteReport::default() }
}

/// Writes the rows that stay.
async fn copy_rest(running: &Running, files: &[&DataFile], filter: &Filter) -> Result<WrittenFiles> {
    if files.is_empty() {
        return Ok(WrittenFiles::default());
    }
    let (snapshot, attempt) = (&running.snapshot, &running.attempt);
    let fill = async |writer: &mut DataWriter| {
        for file in files {
            let mut rows = snapshot.read_file(file, FileRead::default())?;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| attempt.rows(error))?;
                let stays = not(&filter.wide.is_true(&batch, attempt)?).map_err(|source| attempt.compute(source))?;
                writer.write_kept(&filter_record_batch(&batch, &stays).map_err(|source| attempt.compute(source))?).await?;
            }
        }
        Ok(())
    };
    let (written, ()) = running.write(fill).await?;
    Ok(written)
}

async fn delete_all(running: &Running) -> Result<DeleteReport> {
    let whole = |file: DataFile| Touched { matching: file.row_count(), file, whole: true };
    let touched: Vec<Touched> = running.snapshot.files(None).await?.into_iter().map(whole).collect();
    if touched.is_empty() {
        return Ok(nothing_deleted(running));
    }
    commit(running, running.transaction(None), &touched, &WrittenFiles::default(), None).await
}

async fn commit(
    running: &Running,
    transaction: Transaction,
    touched: &[Touched],
    written: &WrittenFiles,
    condition: Option<&str>,
) -> Result<DeleteReport> {
    let rows_deleted: Option<u64> = touched.iter().try_fold(0_u64, |rows, touched| rows.checked_add(touched.matching?));
    let removed = touched.iter().map(|touched| &touched.file);
    let mut metrics = vec![
        ("numAddedFiles", written.adds.len() as u64),
        ("numRemovedFiles", touched.len() as u64),
        ("numCopiedRows", written.rows),
        ("numAddedBytes", written.bytes),
        ("numRemovedBytes", DataFile::total_bytes(removed.clone())),
    ];
    metrics.extend(rows_deleted.map(|rows| ("numDeletedRows", rows)));
    metrics.extend(running.times());
    let transaction = transaction
        .remove_all(removed)
        .operation("DELETE", [("predicate", rewrite::predicate_parameter(condition))])
        .metrics(metrics);
    let report = running.commit(transaction, written).await?;
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
