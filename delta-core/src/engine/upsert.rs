//! A streaming sink that knows its key: each epoch is one MERGE.

use std::sync::Arc;

use boathouse_base::{
    AppTransaction, BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, OutputMode, SchemaMode, StreamSink,
};
use boathouse_delta_table::{DeltaSink, DeltaSinkSettings, DeltaTable};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Operator, binary_expr};
use datafusion::prelude::{DataFrame, SessionContext, lit};

use super::error::{Attempt, EngineError, Result};
use super::ext::DeltaTableExt;
use super::formula::Formula;
use super::merge::{MergeDelete, MergeInsert, MergeUpdate};
use super::touched::unused_name;

/// Writes the epochs of streaming queries into a table by key: a row replaces the one with its key, or is added.
///
/// As with [`DeltaSink`], an epoch is a `txn` action in the very commit that changes its rows, and its payload stands in that commit's info:
/// an epoch that was committed before is skipped. The first epoch creates the table. It takes the output modes
/// [`Update`](OutputMode::Update) and [`Append`](OutputMode::Append) alike; in [`Complete`](OutputMode::Complete) the rows replace all others.
///
/// A key may be null: two nulls are the same key.
///
/// **Cost**: the rows of an epoch are held in memory; then what a [merge](DeltaTableExt::merge) costs.
///
/// **Source**: Spark's `foreachBatch` with MERGE; `sequence_by` and `delete_when` are those of AUTO CDC (`APPLY CHANGES`), without its tombstones.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::{EpochCommit, OutputMode, ScanRequest, StreamSink};
/// use boathouse_delta_core::{DeltaTable, UpsertSink};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let column = |v: Vec<i64>| Arc::new(Int64Array::from(v)) as ArrayRef;
/// # let rows = |ids: Vec<i64>, stock: Vec<i64>| RecordBatch::try_from_iter([("id", column(ids)), ("stock", column(stock))]);
/// let sink = UpsertSink::new(table.clone(), ["id"]);
/// let epoch = |epoch| EpochCommit { query_id: "stock".into(), epoch, payload: "{}".into(), mode: OutputMode::Update };
///
/// sink.commit(epoch(0), rows(vec![1, 2], vec![7, 3])?.into()).await?;
/// sink.commit(epoch(1), rows(vec![2, 3], vec![4, 9])?.into()).await?;
/// let again = sink.commit(epoch(1), rows(vec![2, 3], vec![4, 9])?.into()).await?;
/// assert!(again.skipped);
/// let rows = table.snapshot().await?.scan(ScanRequest::default())?.collect().await?;
/// assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct UpsertSink {
    table: DeltaTable,
    settings: DeltaSinkSettings,
    keys: Vec<String>,
    sequence: Option<String>,
    delete: Option<Formula>,
    except: Vec<String>,
}

impl UpsertSink {
    /// A sink that writes to this table, whose rows are told apart by these columns.
    pub fn new<S: Into<String>>(table: DeltaTable, keys: impl IntoIterator<Item = S>) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        Self { table, settings: DeltaSinkSettings::default(), keys, sequence: None, delete: None, except: Vec::new() }
    }

    /// Sets how the first epoch creates the table, and what happens to columns that it does not have.
    #[must_use]
    pub fn with_settings(mut self, settings: DeltaSinkSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Of several rows with one key the one with the greatest value in this column counts, in an epoch and against the table: a row that
    /// comes after a newer one changes nothing. Without it, an epoch with two rows of one key is refused.
    ///
    /// A row that is deleted is forgotten with its value: an older one that comes later brings its key back.
    #[must_use]
    pub fn sequence_by(mut self, column: impl Into<String>) -> Self {
        self.sequence = Some(column.into());
        self
    }

    /// Rows for which this is true delete the one with their key. The columns are those of the epoch's rows: `op = 'delete'`.
    #[must_use]
    pub fn delete_when(mut self, condition: impl Into<Formula>) -> Self {
        self.delete = Some(condition.into());
        self
    }

    /// Columns that decide and are not written: `op`.
    #[must_use]
    pub fn except<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.except = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The table.
    pub fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// For what is not a merge.
    fn plain(&self) -> DeltaSink {
        DeltaSink::new(self.table.clone()).with_settings(self.settings.clone())
    }

    async fn write(&self, epoch: EpochCommit, data: BatchStream) -> boathouse_base::Result<EpochReport> {
        if epoch.mode == OutputMode::Complete {
            return self.plain().commit(epoch, data).await;
        }
        let snapshot = self.table.try_snapshot().await.map_err(EngineError::from)?;
        let app = AppTransaction { app_id: epoch.query_id.clone(), version: epoch.epoch, payload: Some(epoch.payload.clone()) };
        if let Some(snapshot) = &snapshot {
            let known = snapshot.app_transaction(&app.app_id).await.map_err(EngineError::from)?;
            if known.is_some_and(|known| known.version >= app.version) {
                return Ok(EpochReport { skipped: true, version: Some(snapshot.version()), ..EpochReport::default() });
            }
        }
        let schema = data.schema();
        let batches = data.collect().await?;
        let session = super::sql::session();
        let session = session.context();
        let rows = self.newest_of_each_key(session, &schema, batches).await?;
        Ok(match snapshot {
            Some(_) => self.merge(rows, app, session).await?,
            None => return self.create(rows, epoch, session).await,
        })
    }

    fn failed(&self) -> impl Fn(DataFusionError) -> EngineError + use<'_> {
        |error| Attempt::new("merge into", self.table.url()).frame(error)
    }

    /// The rows that count, one a key.
    async fn newest_of_each_key(
        &self,
        session: &SessionContext,
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<DataFrame> {
        for column in self.keys.iter().chain(&self.sequence).chain(&self.except) {
            if schema.index_of(column).is_err() {
                let available = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
                return Err(EngineError::UpsertColumn { url: self.table.url().to_owned(), column: column.clone(), available });
            }
        }
        let failed = self.failed();
        let keys: Vec<Expr> = self.keys.iter().map(|key| plain(key)).collect();
        let mut rows = table_of(session, schema, batches).map_err(&failed)?;
        if let Some(sequence) = &self.sequence {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let rank_name = unused_name(&names);
            let newest = rank().partition_by(keys.clone()).order_by(vec![plain(sequence).sort(false, false)]).build();
            let ranked = newest.and_then(|rank| rows.window(vec![rank.alias(&rank_name)])).map_err(&failed)?;
            let newest = ranked.filter(plain(&rank_name).eq(lit(1_u64))).and_then(|rows| rows.drop_columns(&[&rank_name]));
            // Of several with the same value all are kept, so that they are found.
            let batches = newest.map_err(&failed)?.collect().await.map_err(&failed)?;
            rows = table_of(session, schema, batches).map_err(&failed)?;
        }
        let counted = rows.clone().aggregate(keys, vec![count(lit(1)).alias(COUNT)]).map_err(&failed)?;
        let twice = counted.filter(plain(COUNT).gt(lit(1_i64))).and_then(|rows| rows.limit(0, Some(1))).map_err(&failed)?;
        if let Some(batch) = twice.collect().await.map_err(&failed)?.iter().find(|batch| batch.num_rows() > 0) {
            let key = self.keys.iter().zip(batch.columns()).map(|(name, values)| {
                let value = ArrayFormatter::try_new(values, &FormatOptions::default().with_null("NULL"));
                value.map(|value| format!("{name} = {}", value.value(0)))
            });
            let key = key.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| failed(error.into()))?.join(", ");
            return Err(EngineError::KeyTwice { url: self.table.url().to_owned(), key, sequence: self.sequence.clone() });
        }
        Ok(rows)
    }

    /// Whether a row deletes, over the columns of the source of a merge or of the rows alone.
    fn deletes(&self, rows: &DataFrame, session: &SessionContext, relation: Option<&str>) -> Result<Option<Expr>> {
        let Some(delete) = &self.delete else { return Ok(None) };
        let found = delete.over(session, rows.schema())?.transform(|part| {
            Ok(match part {
                Expr::Column(column) => Transformed::yes(Expr::Column(Column::new(relation, column.name))),
                other => Transformed::no(other),
            })
        });
        Ok(Some(found.map_err(self.failed())?.data))
    }

    /// The columns that are written.
    fn written(&self, rows: &DataFrame) -> Vec<String> {
        let all = rows.schema().fields().iter().map(|field| field.name().clone());
        all.filter(|name| !self.except.contains(name)).collect()
    }

    /// The first epoch: nothing is there to be replaced or deleted.
    async fn create(&self, rows: DataFrame, epoch: EpochCommit, session: &SessionContext) -> boathouse_base::Result<EpochReport> {
        let failed = self.failed();
        let written: Vec<Expr> = self.written(&rows).iter().map(|name| plain(name)).collect();
        let deletes = self.deletes(&rows, session, None)?;
        let kept = match deletes {
            Some(deletes) => rows.filter(Expr::IsNotTrue(Box::new(deletes))).map_err(&failed)?,
            None => rows,
        };
        let kept = kept.select(written).map_err(&failed)?;
        let schema = Arc::clone(kept.schema().inner());
        let batches = kept.collect().await.map_err(&failed)?;
        let append = EpochCommit { mode: OutputMode::Append, ..epoch };
        self.plain().commit(append, BatchStream::from_batches(schema, batches)).await
    }

    async fn merge(&self, rows: DataFrame, app: AppTransaction, session: &SessionContext) -> Result<EpochReport> {
        let same = |key: &String| binary_expr(of("t", key), Operator::IsNotDistinctFrom, of("s", key));
        let on = self.keys.iter().map(same).reduce(Expr::and).unwrap_or_else(|| lit(true));
        let newer = self.sequence.as_ref().map(|column| of("t", column).is_null().or(of("s", column).gt_eq(of("t", column))));
        let deletes = self.deletes(&rows, session, Some("s"))?;
        let values: Vec<(String, Formula)> =
            self.written(&rows).into_iter().map(|name| (name.clone(), of("s", &name).into())).collect();
        let mut merge = self.table.merge(rows, on).with_session(session).app_transaction(app);
        if self.settings.schema_mode == SchemaMode::Merge {
            merge = merge.with_schema_evolution();
        }
        if let Some(deletes) = &deletes {
            let condition = newer.iter().cloned().fold(deletes.clone(), Expr::and);
            merge = merge.when_matched_delete(MergeDelete::only_if(condition));
        }
        let mut update = MergeUpdate { condition: None, sets: Some(values.clone()) };
        if let Some(newer) = newer {
            update = update.only_if(newer);
        }
        let mut insert = MergeInsert { condition: None, values: Some(values) };
        if let Some(deletes) = deletes {
            insert = insert.only_if(Expr::IsNotTrue(Box::new(deletes)));
        }
        let report = merge.when_matched_update(update).when_not_matched_insert(insert).run().await?;
        Ok(EpochReport {
            rows: report.rows_inserted + report.rows_updated + report.rows_deleted,
            bytes: report.bytes_added,
            files: report.files_added,
            skipped: report.skipped,
            version: Some(report.version),
        })
    }
}

/// The column that counts the rows of a key.
const COUNT: &str = "__rows_of_the_key";

fn plain(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn of(relation: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(relation), name))
}

fn table_of(session: &SessionContext, schema: &SchemaRef, batches: Vec<RecordBatch>) -> datafusion::error::Result<DataFrame> {
    session.read_table(Arc::new(MemTable::try_new(SchemaRef::clone(schema), vec![batches])?))
}

impl StreamSink for UpsertSink {
    fn describe(&self) -> String {
        format!("delta[{}] by {}", self.table.url(), self.keys.join(", "))
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, boathouse_base::Result<Option<CommittedEpoch>>> {
        // As a plain sink has it: the log of the table says so.
        Box::pin(async move { self.plain().last_epoch(query_id).await })
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, boathouse_base::Result<EpochReport>> {
        Box::pin(self.write(epoch, data))
    }
}
