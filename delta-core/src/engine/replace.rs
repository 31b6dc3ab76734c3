//! Rows in the place of others.

use std::collections::BTreeSet;

use boathouse_base::{Predicate, Value};
use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_protocol::schema::StructType;
use boathouse_delta_table::{DataFile, DataWriterSettings, DeltaError, DeltaTable, RowOrder};
use boathouse_frames::{from_datafusion, from_engine};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator, binary_expr};
use datafusion::prelude::{DataFrame, SessionContext};

use super::assign::{names, place};
use super::cast::{loose, to_column};
use super::error::{Attempt, EngineError, Result};
use super::fan_out::{Partitions, arranged};
use super::fate::RowChangeSettings;
use super::formula::{Filter, Formula};
use super::leaving::{Leaving, leave};
use super::merge::MergeBuilder;
use super::output::{Output, Written};
use super::rewrite;
use super::statement::{Running, Statement};
use super::touched;

/// Replaces rows by others, in one commit. Made by [`DeltaTableExt::replace_where`](crate::DeltaTableExt::replace_where) and
/// [`DeltaTableExt::replace_partitions`](crate::DeltaTableExt::replace_partitions), and
/// [`DeltaTableExt::replace_using`](crate::DeltaTableExt::replace_using).
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt};
/// use datafusion::prelude::SessionContext;
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let column = |v: Vec<i64>| Arc::new(Int64Array::from(v)) as ArrayRef;
/// # let batch = RecordBatch::try_from_iter([("day", column(vec![1, 1, 2])), ("rides", column(vec![7, 3, 5]))])?;
/// # table.append(batch.into()).create_if_absent().partition_by(["day"]).run().await?;
/// // The table has two rows of day 1 and one of day 2.
/// let rows = SessionContext::new().sql("SELECT * FROM (VALUES (2, 6), (3, 9)) AS v (day, rides)").await?;
/// let report = table.replace_partitions(rows).run().await?;
/// assert_eq!((report.rows_inserted, report.rows_deleted), (2, Some(1)));
///
/// let rows = SessionContext::new().sql("SELECT 1 AS day, 4 AS rides").await?;
/// let report = table.replace_where(rows, "day = 1 AND rides % 7 > 0").run().await?;
/// assert_eq!((report.rows_inserted, report.rows_deleted), (1, Some(1)));
///
/// // A row that the condition would not have replaced is refused: it would be there twice the next time.
/// let rows = SessionContext::new().sql("SELECT 8 AS day, 4 AS rides").await?;
/// assert!(table.replace_where(rows, "day = 1").run().await.is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is replaced before `run`"]
pub struct ReplaceBuilder {
    statement: Statement,
    rows: DataFrame,
    what: What,
}

/// What is replaced.
#[derive(Debug, Clone)]
enum What {
    /// The rows for which this is true.
    Matching(Formula),
    /// The partitions of which there are new rows.
    Partitions,
    /// The rows that agree with a new row in these columns.
    Using(Vec<String>),
}

/// What a replacement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplaceReport {
    /// The version that holds it; the version that was found when there was nothing to do.
    pub version: u64,
    /// Whether there was anything to commit.
    pub committed: bool,
    /// Rows that came.
    pub rows_inserted: u64,
    /// Rows that left; `None` when a file left unread and its statistics do not say how many rows it had.
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

impl ReplaceBuilder {
    pub(crate) fn matching(table: DeltaTable, rows: DataFrame, condition: Formula) -> Self {
        Self { statement: Statement::new(table), rows, what: What::Matching(condition) }
    }

    pub(crate) fn partitions(table: DeltaTable, rows: DataFrame) -> Self {
        Self { statement: Statement::new(table), rows, what: What::Partitions }
    }

    pub(crate) fn using(table: DeltaTable, rows: DataFrame, columns: Vec<String>) -> Self {
        Self { statement: Statement::new(table), rows, what: What::Using(columns) }
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

    /// Replaces. The table is at a new version afterwards, or as it was.
    ///
    /// **Cost**: one pass over the new rows, which are never held as a whole, but for `replace_using`, which is a [merge](crate::MergeBuilder::run)
    /// and holds them as that does; rows that leave are found and treated as in
    /// [`DeleteBuilder::run`](crate::DeleteBuilder::run). Partitions leave without being read.
    ///
    /// **Errors**: `Invalid` for a new row that the condition does not hold for, for columns that do not fit, and on append-only tables;
    /// `Conflict` when another writer deleted one of the rows that leave, or added some that would have left.
    pub async fn run(self) -> Result<ReplaceReport> {
        if let What::Using(columns) = self.what {
            return replace_using(self.statement, self.rows, columns).await;
        }
        let mut running = self.statement.begin("replace rows of", RowChange::RemoveFiles).await?;
        let (snapshot, attempt) = (running.snapshot.clone(), running.attempt.clone());
        let What::Matching(condition) = &self.what else { return replace_partitions(&running, self.rows).await };
        let filter = Filter::new(condition, &running.session, &snapshot.schema(), &attempt)?;
        let found = touched::find(&snapshot, &filter, &attempt).await?;
        running.scanned();
        let leaving = Leaving::of(&running, found);
        rewrite::check(&snapshot, leaving.change())?;
        let fill = async |output: &mut Output| {
            let inserted = insert(&running, self.rows.clone(), Some(&filter), output).await?;
            leave(&running, &leaving, &filter, output).await?;
            Ok(inserted)
        };
        let (written, inserted) = running.write(running.recording(leaving.copies()), fill).await?;
        if inserted == 0 && leaving.is_empty() {
            let (version, rows_deleted) = (snapshot.version(), Some(0));
            return Ok(ReplaceReport { version, rows_deleted, ..ReplaceReport::default() });
        }
        commit(&running, &leaving, &written, inserted, filter.predicate.clone(), Some(&filter.text)).await
    }
}

/// Writes new rows. Returns how many.
async fn insert(running: &Running, rows: DataFrame, filter: Option<&Filter>, output: &mut Output) -> Result<u64> {
    let attempt = &running.attempt;
    let failed = |error| attempt.rows(from_datafusion("compute the new rows", error));
    let batches = from_engine(rows.execute_stream().await.map_err(failed)?);
    let schema = running.snapshot.schema();
    let incoming = StructType::from_arrow(&batches.schema());
    let incoming = incoming.map_err(|source| DeltaError::Protocol { url: attempt.url.clone(), source })?;
    let fits = running.snapshot.delta_schema().check_write(&incoming.as_data());
    fits.map_err(|source| DeltaError::Schema { url: attempt.url.clone(), source })?;
    let partitions = Partitions::of(&running.snapshot, &batches.schema(), attempt)?;
    let runtime = running.session.runtime_env();
    let (mut batches, order) = arranged(batches, partitions, &DataWriterSettings::default(), &runtime, attempt).await?;
    output.set_row_order(order);
    let mut inserted = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| attempt.rows(error))?;
        let complete = output.complete(&batch)?;
        let batch = complete.as_ref().unwrap_or(&batch);
        if let Some(filter) = filter {
            let matching = filter.narrow.is_true(&narrow(batch, &filter.columns, &schema, attempt)?, attempt)?;
            if let Some(row) = outside(&matching) {
                let (url, predicate) = (attempt.url.clone(), filter.text.clone());
                return Err(DeltaError::ReplacedRowOutside { url, predicate, row }.into());
            }
        }
        inserted += batch.num_rows() as u64;
        output.insert_complete(batch).await?;
    }
    output.set_row_order(RowOrder::Any);
    Ok(inserted)
}

fn outside(matching: &BooleanArray) -> Option<usize> {
    matching.values().iter().position(|matches| !matches)
}

/// The columns that a condition reads, as the table has them; what the rows lack is null.
fn narrow(batch: &RecordBatch, columns: &[String], table: &SchemaRef, attempt: &Attempt) -> Result<RecordBatch> {
    let (mut fields, mut arrays): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for column in columns {
        let field = table.field_with_name(column).map_err(|source| attempt.compute(source))?;
        let field = loose(field);
        arrays.push(match place(&batch.schema(), column) {
            Some(at) => to_column(std::sync::Arc::clone(batch.column(at)), &field, attempt)?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
        fields.push(field);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(std::sync::Arc::new(Schema::new(fields)), arrays, &options);
    batch.map_err(|source| attempt.compute(source))
}

async fn replace_using(statement: Statement, rows: DataFrame, columns: Vec<String>) -> Result<ReplaceReport> {
    let (table, source) = (statement.table().snapshot().await?.schema(), rows.schema().as_arrow().clone());
    let source: SchemaRef = std::sync::Arc::new(source);
    let mut same: Vec<Expr> = Vec::new();
    for column in &columns {
        let found = |schema: &SchemaRef, alias: &str| {
            place(schema, column).map(|at| Expr::Column(Column::new(Some(alias), schema.field(at).name())))
        };
        let (Some(target), Some(new)) = (found(&table, "t"), found(&source, "s")) else {
            let (attempted, url, column) = ("replace rows of", statement.url().to_owned(), column.clone());
            let available = names(if place(&table, &column).is_none() { &table } else { &source });
            return Err(EngineError::UnknownColumn { attempted, url, column, available });
        };
        same.push(binary_expr(target, Operator::IsNotDistinctFrom, new));
    }
    let Some(on) = conjunction(same) else {
        return Err(EngineError::NothingSet { attempted: "replace rows of", url: statement.url().to_owned() });
    };
    let report = MergeBuilder::replacing(statement, rows, on.into(), columns).run().await?;
    Ok(ReplaceReport {
        version: report.version,
        committed: report.committed,
        rows_inserted: report.rows_inserted,
        rows_deleted: Some(report.rows_deleted),
        rows_copied: report.rows_copied,
        files_added: report.files_added,
        files_removed: report.files_removed,
        files_marked: report.files_marked,
        attempts: report.attempts,
    })
}

/// A condition names partitions one by one up to so many; beyond, the whole table counts as read.
const NAMED_PARTITIONS: usize = 256;

async fn replace_partitions(running: &Running, rows: DataFrame) -> Result<ReplaceReport> {
    let snapshot = &running.snapshot;
    let fill = async |output: &mut Output| insert(running, rows.clone(), None, output).await;
    // Whole files come and leave: that needs no files of changes.
    let (written, inserted) = running.write(running.recording(false), fill).await?;
    if inserted == 0 {
        let (version, rows_deleted) = (snapshot.version(), Some(0));
        return Ok(ReplaceReport { version, rows_deleted, ..ReplaceReport::default() });
    }
    let (schema, mode) = (snapshot.delta_schema(), snapshot.column_mapping());
    let mut columns: Vec<&str> = Vec::new();
    for column in snapshot.partition_columns() {
        columns.push(schema.field(column).map_or(column.as_str(), |field| field.physical_name(mode)));
    }
    let replaced: BTreeSet<Vec<Option<String>>> = written
        .files
        .adds
        .iter()
        .map(|add| columns.iter().map(|column| add.partition_values.get(column).flatten().map(str::to_owned)).collect())
        .collect();
    let key = |file: &DataFile| file.partition_texts().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let files = match snapshot.files(None).await {
        Ok(files) => files,
        Err(error) => {
            rewrite::discard(snapshot, &written).await;
            return Err(error.into());
        }
    };
    let gone: Vec<DataFile> = files.into_iter().filter(|file| replaced.contains(&key(file))).collect();
    let predicate =
        (replaced.len() <= NAMED_PARTITIONS && !columns.is_empty()).then(|| named(&gone, snapshot.partition_columns()));
    // Partitions that are new are not named by their files: then any row may be one of theirs.
    let known: BTreeSet<Vec<Option<String>>> = gone.iter().map(key).collect();
    let predicate = predicate.filter(|_| known.len() == replaced.len());
    let leaving = Leaving::whole(gone);
    commit(running, &leaving, &written, inserted, predicate, None).await
}

/// The partitions of these files.
fn named(files: &[DataFile], columns: &[String]) -> Predicate {
    let is = |(column, value): (&String, &Value)| match value {
        Value::Null => Predicate::IsNull(column.clone()),
        value => Predicate::eq(column.clone(), value.clone()),
    };
    let partition = |file: &DataFile| Predicate::And(columns.iter().zip(file.partition_values()).map(is).collect());
    let mut partitions: Vec<Predicate> = Vec::new();
    for file in files {
        let partition = partition(file);
        if !partitions.contains(&partition) {
            partitions.push(partition);
        }
    }
    Predicate::Or(partitions)
}

async fn commit(
    running: &Running,
    leaving: &Leaving,
    written: &Written,
    inserted: u64,
    predicate: Option<Predicate>,
    condition: Option<&str>,
) -> Result<ReplaceReport> {
    let partitions = serde_json::Value::from(running.snapshot.partition_columns().to_vec()).to_string();
    let mut parameters = vec![("mode", "Overwrite".to_owned()), ("partitionBy", partitions)];
    match condition {
        Some(condition) => parameters.push(("predicate", rewrite::predicate_parameter(Some(condition)))),
        None => parameters.push(("isDynamicPartitionOverwrite", "true".to_owned())),
    }
    let (files_removed, files_marked) = (leaving.removed().count() as u64, leaving.marked());
    let mut metrics = vec![
        ("numFiles", written.files.adds.len() as u64),
        ("numOutputRows", inserted),
        ("numOutputBytes", written.files.bytes),
        ("numCopiedRows", written.files.rows - inserted),
        ("numRemovedFiles", files_removed),
        ("numDeletionVectorsAdded", files_marked),
        ("numAddedChangeFiles", written.changes.files.len() as u64),
    ];
    metrics.extend(running.times());
    let transaction = leaving.stage(running.transaction(predicate)).operation("WRITE", parameters).metrics(metrics);
    let report = running.commit(transaction, written).await?;
    Ok(ReplaceReport {
        version: report.version,
        committed: true,
        rows_inserted: inserted,
        rows_deleted: leaving.rows(),
        rows_copied: written.files.rows - inserted,
        files_added: written.files.adds.len() as u64,
        files_removed,
        files_marked,
        attempts: report.attempts,
    })
}
