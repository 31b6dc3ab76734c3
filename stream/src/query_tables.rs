//! What queries do, as tables: `queries`, `progress` and `state`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use boathouse_base::{Error, ErrorKind, Result};
use boathouse_frames::into_datafusion;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::exec_datafusion_err;
use datafusion::datasource::MemTable;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use crate::listener::{QueryIdle, QueryStarted, QueryTerminated, StreamListener};
use crate::progress::{EpochProgress, OperatorProgress};
use crate::running::REPORTS;

/// Runs that are remembered. When there are more, the oldest that is over is forgotten.
const RUNS: usize = 100;

/// Remembers what queries do, and shows it as tables. Clones are one memory.
///
/// Give it to queries with [`StreamQuery::listener`](crate::StreamQuery::listener), and to sessions with [`register`](Self::register):
///
/// | table | a row for each | of |
/// | --- | --- | --- |
/// | `queries` | run of a query | the last 100 runs |
/// | `progress` | epoch, with Spark's progress as JSON in `json` | the last 100 epochs of each run |
/// | `state` | operator that remembers, and epoch | the same epochs |
///
/// **Source**: Spark, `StreamingQueryManager` and the fields of `StreamingQueryProgress`.
#[derive(Debug, Clone, Default)]
pub struct StreamingQueries(Arc<Mutex<VecDeque<Run>>>);

#[derive(Debug)]
struct Run {
    started: QueryStarted,
    is_idle: bool,
    terminated: Option<QueryTerminated>,
    input_rows: u64,
    output_rows: u64,
    late_rows: u64,
    epochs: VecDeque<EpochProgress>,
}

impl StreamingQueries {
    /// No queries yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The runs, in the order in which they began.
    ///
    /// **Shape**: `id`, `run_id`, `name`, `status` (`running`, `idle`, `stopped`, `failed`), `is_active`, `started`, `terminated`,
    /// `exception`, `batch_id` of the newest epoch, rows since the run began, `watermark` after the newest epoch.
    ///
    /// **Errors**: `Internal` when columns do not fit together.
    pub fn queries(&self) -> Result<RecordBatch> {
        let runs = self.runs();
        let runs = || runs.iter();
        let last = |run: &Run| run.epochs.back().cloned();
        batch([
            ("id", texts(runs().map(|run| Some(run.started.id.clone())))),
            ("run_id", texts(runs().map(|run| Some(run.started.run_id.clone())))),
            ("name", texts(runs().map(|run| Some(run.started.name.clone())))),
            ("status", texts(runs().map(|run| Some(run.status().to_owned())))),
            ("is_active", Arc::new(runs().map(|run| Some(run.terminated.is_none())).collect::<BooleanArray>())),
            ("started", times(runs().map(|run| Some(run.started.timestamp_us)))),
            ("terminated", times(runs().map(|run| run.terminated.as_ref().map(|event| event.timestamp_us)))),
            ("exception", texts(runs().map(|run| run.terminated.as_ref().and_then(|event| event.exception.clone())))),
            ("batch_id", numbers(runs().map(|run| last(run).map(|epoch| epoch.epoch)))),
            ("num_input_rows", numbers(runs().map(|run| Some(run.input_rows)))),
            ("num_output_rows", numbers(runs().map(|run| Some(run.output_rows)))),
            ("num_rows_dropped_by_watermark", numbers(runs().map(|run| Some(run.late_rows)))),
            ("watermark", times(runs().map(|run| last(run).and_then(|epoch| epoch.next_watermark_us)))),
        ])
    }

    /// Their recent epochs.
    ///
    /// **Shape**: `id`, `run_id`, `name`, `timestamp`, `batch_id`, `batch_duration_ms`, rows in, out, a second and dropped by the watermark,
    /// the event times, `watermark`, `sink`, and all of it as Spark's `json`.
    ///
    /// **Errors**: `Internal` when columns do not fit together.
    pub fn progress(&self) -> Result<RecordBatch> {
        let runs = self.runs();
        let epochs = || runs.iter().flat_map(|run| &run.epochs);
        batch([
            ("id", texts(epochs().map(|epoch| Some(epoch.query_id.clone())))),
            ("run_id", texts(epochs().map(|epoch| Some(epoch.run_id.clone())))),
            ("name", texts(epochs().map(|epoch| Some(epoch.name.clone())))),
            ("timestamp", times(epochs().map(|epoch| Some(epoch.timestamp_us)))),
            ("batch_id", numbers(epochs().map(|epoch| Some(epoch.epoch)))),
            ("batch_duration_ms", floats(epochs().map(|epoch| Some(epoch.batch_duration_ms())))),
            ("num_input_rows", numbers(epochs().map(|epoch| Some(epoch.input_rows)))),
            ("num_output_rows", numbers(epochs().map(|epoch| Some(epoch.output_rows)))),
            ("input_rows_per_second", floats(epochs().map(EpochProgress::input_rows_per_second))),
            ("processed_rows_per_second", floats(epochs().map(EpochProgress::processed_rows_per_second))),
            ("num_rows_dropped_by_watermark", numbers(epochs().map(|epoch| Some(epoch.late_rows)))),
            ("event_time_min", times(epochs().map(|epoch| epoch.event_time_min_us))),
            ("event_time_max", times(epochs().map(|epoch| epoch.event_time_max_us))),
            ("event_time_avg", times(epochs().map(|epoch| epoch.event_time_mean_us))),
            ("watermark", times(epochs().map(|epoch| epoch.watermark_us))),
            ("sink", texts(epochs().map(|epoch| Some(epoch.sink.clone())))),
            ("json", texts(epochs().map(|epoch| Some(epoch.to_json().to_string())))),
        ])
    }

    /// What their operators remembered after each recent epoch.
    ///
    /// **Shape**: `id`, `run_id`, `name`, `batch_id`, `operator` (unique in the query), `operator_name` (Spark's), rows in all, updated,
    /// removed and dropped by the watermark, `memory_used_bytes`, `state_files`.
    ///
    /// **Errors**: `Internal` when columns do not fit together.
    pub fn state(&self) -> Result<RecordBatch> {
        let runs = self.runs();
        let epochs = runs.iter().flat_map(|run| &run.epochs);
        let all: Vec<(&EpochProgress, &OperatorProgress)> =
            epochs.flat_map(|epoch| epoch.operators.iter().map(move |operator| (epoch, operator))).collect();
        let operators = || all.iter().map(|(_, operator)| *operator);
        let epochs = || all.iter().map(|(epoch, _)| *epoch);
        batch([
            ("id", texts(epochs().map(|epoch| Some(epoch.query_id.clone())))),
            ("run_id", texts(epochs().map(|epoch| Some(epoch.run_id.clone())))),
            ("name", texts(epochs().map(|epoch| Some(epoch.name.clone())))),
            ("batch_id", numbers(epochs().map(|epoch| Some(epoch.epoch)))),
            ("operator", texts(operators().map(|operator| Some(operator.name.clone())))),
            ("operator_name", texts(operators().map(|operator| Some(operator.kind.to_owned())))),
            ("num_rows_total", numbers(operators().map(|operator| Some(operator.rows)))),
            ("num_rows_updated", numbers(operators().map(|operator| Some(operator.updated_rows)))),
            ("num_rows_removed", numbers(operators().map(|operator| Some(operator.removed_rows)))),
            ("num_rows_dropped_by_watermark", numbers(operators().map(|operator| Some(operator.late_rows)))),
            ("memory_used_bytes", numbers(operators().map(|operator| Some(operator.bytes)))),
            ("state_files", numbers(operators().map(|operator| Some(operator.files)))),
        ])
    }

    /// Makes the tables known to a session, in a schema of this name: `SELECT * FROM streams.progress`. Each query of the session sees
    /// them as they are then.
    ///
    /// **Errors**: `Invalid` when the session has no default catalog, or one that takes no schema.
    pub fn register(&self, session: &SessionContext, schema: &str) -> DataFusionResult<()> {
        let catalog = session.state().config().options().catalog.default_catalog.clone();
        let catalog = session
            .catalog(&catalog)
            .ok_or_else(|| exec_datafusion_err!("register the tables of queries: the session has no catalog `{catalog}`"))?;
        let tables = MemorySchemaProvider::new();
        for table in [Table::Queries, Table::Progress, Table::State] {
            let schema = table.rows(self)?.schema();
            let live = LiveTable { queries: self.clone(), table, schema };
            tables.register_table(table.name().to_owned(), Arc::new(live))?;
        }
        catalog.register_schema(schema, Arc::new(tables))?;
        Ok(())
    }

    fn runs(&self) -> MutexGuard<'_, VecDeque<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, run_id: &str, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs().iter_mut().find(|run| run.started.run_id == run_id) {
            change(run);
        }
    }
}

impl Run {
    fn status(&self) -> &'static str {
        match &self.terminated {
            Some(event) if event.exception.is_some() => "failed",
            Some(_) => "stopped",
            None if self.is_idle => "idle",
            None => "running",
        }
    }
}

impl StreamListener for StreamingQueries {
    fn on_query_started(&self, event: &QueryStarted) {
        let mut runs = self.runs();
        if runs.len() >= RUNS
            && let Some(over) = runs.iter().position(|run| run.terminated.is_some())
        {
            runs.remove(over);
        }
        runs.push_back(Run {
            started: event.clone(),
            is_idle: false,
            terminated: None,
            input_rows: 0,
            output_rows: 0,
            late_rows: 0,
            epochs: VecDeque::new(),
        });
    }

    fn on_query_progress(&self, progress: &EpochProgress) {
        self.change(&progress.run_id, |run| {
            run.is_idle = false;
            run.input_rows += progress.input_rows;
            run.output_rows += progress.output_rows;
            run.late_rows += progress.late_rows;
            if run.epochs.len() == REPORTS {
                run.epochs.pop_front();
            }
            run.epochs.push_back(progress.clone());
        });
    }

    fn on_query_idle(&self, event: &QueryIdle) {
        self.change(&event.run_id, |run| run.is_idle = true);
    }

    fn on_query_terminated(&self, event: &QueryTerminated) {
        self.change(&event.run_id, |run| run.terminated = Some(event.clone()));
    }
}

/// Which table.
#[derive(Debug, Clone, Copy)]
enum Table {
    Queries,
    Progress,
    State,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Queries => "queries",
            Self::Progress => "progress",
            Self::State => "state",
        }
    }

    fn rows(self, queries: &StreamingQueries) -> DataFusionResult<RecordBatch> {
        let rows = match self {
            Self::Queries => queries.queries(),
            Self::Progress => queries.progress(),
            Self::State => queries.state(),
        };
        rows.map_err(into_datafusion)
    }
}

/// A table whose rows are made when it is scanned.
#[derive(Debug)]
struct LiveTable {
    queries: StreamingQueries,
    table: Table,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for LiveTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let now = MemTable::try_new(SchemaRef::clone(&self.schema), vec![vec![self.table.rows(&self.queries)?]])?;
        now.scan(session, projection, filters, limit).await
    }
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    let nullable = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(nullable).map_err(|error: ArrowError| Error::new(ErrorKind::Internal, error))
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn numbers(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|value| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))).collect::<Int64Array>())
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
