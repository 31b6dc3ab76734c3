//! UPDATE.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{ChangeType, DataFile, DataWriterSettings, DeltaTable, FileRead, RowOrigins, Snapshot};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::common::DFSchema;
use datafusion::prelude::{SessionContext, lit};

use super::assign::{Assignments, weave};
use super::cast::{loose, loose_schema};
use super::error::{Attempt, Result};
use super::fate::{Fate, RowChangeSettings};
use super::formula::{Filter, Formula};
use super::leaving::Leaving;
use super::origins::{Known, read_known, with_changed};
use super::output::Output;
use super::rewrite;
use super::statement::{Running, Statement};
use super::touched::{self, Touched};

/// Changes columns of rows. Made by [`DeltaTableExt::update`](crate::DeltaTableExt::update).
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let column = |v: Vec<i64>| Arc::new(Int64Array::from(v)) as ArrayRef;
/// # let batch = RecordBatch::try_from_iter([("id", column(vec![1, 2])), ("stock", column(vec![7, 0]))])?;
/// # table.append(batch.into()).create_if_absent().run().await?;
/// let report = table.update().set("stock", "stock - 1").filter("stock > 0").run().await?;
/// assert_eq!((report.rows_updated, report.rows_copied), (1, 1));
///
/// // A value that does not fit its column is refused, not rounded.
/// let error = table.update().set("stock", "stock + 0.5").run().await.unwrap_err();
/// assert!(error.to_string().contains("column `stock`"));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is updated before `run`"]
pub struct UpdateBuilder {
    statement: Statement,
    sets: Vec<(String, Formula)>,
    condition: Option<Formula>,
}

/// What an UPDATE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateReport {
    /// The version that holds it; the version that was found when no row matched.
    pub version: u64,
    /// Whether there was anything to commit.
    pub committed: bool,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows that were written again because they lay in the same file.
    pub rows_copied: u64,
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Files that stay, with the rows that changed marked as deleted.
    pub files_marked: u64,
    /// Attempts to commit: 1 without contention, 0 without a commit.
    pub attempts: u32,
}

impl UpdateBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { statement: Statement::new(table), sets: Vec::new(), condition: None }
    }

    /// Sets a column to a value. All values are of the row as it was.
    pub fn set(mut self, column: impl Into<String>, value: impl Into<Formula>) -> Self {
        self.sets.push((column.into(), value.into()));
        self
    }

    /// Updates the rows for which this is true. Without it, all rows.
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

    /// Updates. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: the columns of the condition are read in files that can match, then all columns of the rows that do. Where the table
    /// has deletion vectors only these are written; other files with a match, and those of which
    /// [too much changes](RowChangeSettings), are written again.
    ///
    /// **Errors**: `Invalid` names a column that is not there, or a value that would be another one in its column; also
    /// on append-only tables. `Conflict` when another writer changed one of these rows, or added some that match.
    pub async fn run(self) -> Result<UpdateReport> {
        let mut running = self.statement.begin("update", RowChange::Rewrite).await?;
        let (snapshot, session, attempt) = (&running.snapshot, &running.session, &running.attempt);
        let schema = loose_schema(&snapshot.schema());
        let row = DFSchema::try_from(schema.clone()).map_err(|error| attempt.frame(error))?;
        let assignments = Assignments::new(&self.sets, &schema, &row, session, attempt)?.of_update(snapshot, attempt)?;
        let text = self.condition.as_ref().map(ToString::to_string);
        let condition = self.condition.unwrap_or_else(|| Formula::from(lit(true)));
        let filter = Filter::new(&condition, session, &schema, attempt)?;
        let found = touched::find(snapshot, &filter, attempt).await?;
        if found.touched.is_empty() {
            return Ok(UpdateReport { version: snapshot.version(), ..UpdateReport::default() });
        }
        running.scanned();
        let leaving = Leaving::of(&running, found);
        let change = Change { running: &running, filter: &filter, assignments: &assignments };
        let fill = async |output: &mut Output| {
            let mut updated = 0;
            for (fate, touched) in &leaving.fates {
                updated += match fate {
                    Fate::Copy => change.copy(&touched.file, output).await?,
                    Fate::Mark | Fate::Remove => change.rows(touched, output).await?,
                };
            }
            Ok(updated)
        };
        let (written, rows_updated) = running.write(running.recording(true), fill).await?;
        let rows_copied = written.files.rows - rows_updated;
        let (files_removed, files_marked) = (leaving.removed().count() as u64, leaving.marked());
        let mut metrics = vec![
            ("numAddedFiles", written.files.adds.len() as u64),
            ("numRemovedFiles", files_removed),
            ("numUpdatedRows", rows_updated),
            ("numCopiedRows", rows_copied),
            ("numAddedBytes", written.files.bytes),
            ("numRemovedBytes", DataFile::total_bytes(leaving.removed())),
            ("numDeletionVectorsAdded", files_marked),
            ("numAddedChangeFiles", written.changes.files.len() as u64),
        ];
        metrics.extend(running.times());
        let transaction = leaving
            .stage(running.transaction(filter.predicate.clone()))
            .row_change(RowChange::Rewrite)
            .operation("UPDATE", [("predicate", rewrite::predicate_parameter(text.as_deref()))])
            .metrics(metrics);
        let report = running.commit(transaction, &written).await?;
        Ok(UpdateReport {
            version: report.version,
            committed: true,
            rows_updated,
            rows_copied,
            files_added: written.files.adds.len() as u64,
            files_removed,
            files_marked,
            attempts: report.attempts,
        })
    }
}

/// What is done to rows.
struct Change<'a> {
    running: &'a Running,
    filter: &'a Filter,
    assignments: &'a Assignments,
}

impl Change<'_> {
    /// Writes the rows of a file that match, and no other. Returns how many.
    async fn rows(&self, touched: &Touched, output: &mut Output) -> Result<u64> {
        let (snapshot, attempt) = (&self.running.snapshot, &self.running.attempt);
        let mut updated = 0;
        let mut rows = read_known(snapshot, &touched.file, FileRead { rows: touched.rows.clone(), ..FileRead::default() })?;
        while let Some(batch) = rows.next().await {
            let Known { rows: before, origins } =
                Known::of(snapshot, batch.map_err(|error| attempt.rows(error))?).loose(attempt)?;
            let origins = origins.map(|from| RowOrigins::changed(from.ids));
            let after = self.assignments.columns(&before, attempt, |at| before.column(at).clone())?;
            let after = checked(snapshot, after, attempt)?;
            updated += before.num_rows() as u64;
            output.change(&after, origins.as_ref()).await?;
            output.record(&before, ChangeType::UpdatePreimage).await?;
            output.record(&after, ChangeType::UpdatePostimage).await?;
        }
        Ok(updated)
    }

    /// Writes all rows of a file again, in their order, with new values where the condition holds. Returns for how many it does.
    async fn copy(&self, file: &DataFile, output: &mut Output) -> Result<u64> {
        let (snapshot, attempt) = (&self.running.snapshot, &self.running.attempt);
        let mut updated = 0;
        let mut rows = read_known(snapshot, file, FileRead::default())?;
        while let Some(batch) = rows.next().await {
            let Known { rows: batch, origins } =
                Known::of(snapshot, batch.map_err(|error| attempt.rows(error))?).loose(attempt)?;
            let matching = self.filter.wide.is_true(&batch, attempt)?;
            let before = filter_record_batch(&batch, &matching).map_err(|source| attempt.compute(source))?;
            updated += before.num_rows() as u64;
            if before.num_rows() == 0 {
                output.keep(&batch, origins.as_ref()).await?;
                continue;
            }
            let after = self.assignments.columns(&before, attempt, |at| before.column(at).clone())?;
            let columns = weave(&[batch.columns(), &after], &places(&matching), attempt)?;
            let origins = origins.map(|from| with_changed(&from, &matching, attempt)).transpose()?;
            output.change(&checked(snapshot, columns, attempt)?, origins.as_ref()).await?;
            output.record(&before, ChangeType::UpdatePreimage).await?;
            output.record(&checked(snapshot, after, attempt)?, ChangeType::UpdatePostimage).await?;
        }
        Ok(updated)
    }
}

/// Where each row is: the rows that match in the second set, one after the other, all others where they were in the first.
fn places(matching: &BooleanArray) -> Vec<(usize, usize)> {
    let mut next = 0;
    let place = |(row, matches): (usize, bool)| {
        if matches {
            next += 1;
            (1, next - 1)
        } else {
            (0, row)
        }
    };
    matching.values().iter().enumerate().map(place).collect()
}

/// A batch of the table. Nulls where none may be are left to the writer, which names the column.
pub(crate) fn checked(snapshot: &Snapshot, columns: Vec<ArrayRef>, attempt: &Attempt) -> Result<RecordBatch> {
    let schema = snapshot.schema();
    let fields: Vec<_> = schema.fields().iter().map(|field| loose(field)).collect();
    let schema = std::sync::Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new(schema, columns).map_err(|source| attempt.compute(source))
}
