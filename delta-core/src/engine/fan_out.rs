//! Rows on their way to a partitioned table.
//!
//! A writer has a file open for each partition that it meets. While these are few, rows are written as they come. When they are many, files
//! would end early to make room, and every batch would leave thousands of small ones behind: then rows are sorted by their partition
//! first, within a budget of memory and beyond it on disk, and one file is open at a time.
//!
//! `delta.autoOptimize.optimizeWrite` decides it for a table: true sorts always, false never. Without it the first rows decide.

use std::collections::HashSet;
use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_delta_table::{DataWriterSettings, Expression, RowOrder, Snapshot};
use boathouse_frames::{StreamProvider, from_datafusion, from_engine};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Column;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, stream};

use super::assign::{place, rules};
use super::error::{Attempt, Result};
use super::touched::unused_name;

/// Rows that decide whether there are many partitions.
const FIRST_ROWS: usize = 1 << 16;
/// Bytes of these rows, at most.
const FIRST_BYTES: usize = 64 << 20;
/// Memory of a sort, when the session has no limit of its own.
const SORT_BYTES: usize = 256 << 20;
/// Room that a sort keeps for bringing together what it wrote to disk, at most.
const MERGE_BYTES: usize = 10 << 20;

/// Where the partition of a row is to be seen before it is written.
pub(crate) struct Partitions {
    columns: Vec<Source>,
    converter: RowConverter,
    wish: Option<bool>,
}

#[derive(Debug)]
enum Source {
    /// A column of the rows.
    Column(usize),
    /// A column that the table computes from others.
    Generated(Arc<dyn Expression>),
}

impl Partitions {
    /// Those of a table, for rows of this schema; nothing when all rows may go to one partition.
    pub(crate) fn of(snapshot: &Snapshot, rows: &SchemaRef, attempt: &Attempt) -> Result<Option<Self>> {
        let (mut columns, mut types) = (Vec::new(), Vec::new());
        let (schema, rules) = (snapshot.schema(), rules(snapshot)?);
        for column in snapshot.partition_columns() {
            if let Some(at) = place(rows, column) {
                types.push(rows.field(at).data_type().clone());
                columns.push(Source::Column(at));
                continue;
            }
            let generated = rules.generated.iter().find(|value| value.column == *column);
            // What cannot be computed here is computed by the writer, which says what is wrong.
            let compiled = generated.zip(snapshot.table().expressions());
            let compiled = compiled.and_then(|(value, expressions)| expressions.compile(&value.expression, rows).ok());
            if let (Some(compiled), Some(at)) = (compiled, place(&schema, column)) {
                types.push(schema.field(at).data_type().clone());
                columns.push(Source::Generated(compiled));
            }
        }
        Self::new(columns, types, snapshot.properties().optimize_write, attempt)
    }

    /// Those of a new table.
    pub(crate) fn of_new(names: &[String], wish: Option<bool>, rows: &SchemaRef, attempt: &Attempt) -> Result<Option<Self>> {
        let places: Vec<usize> = names.iter().filter_map(|name| place(rows, name)).collect();
        let types = places.iter().map(|at| rows.field(*at).data_type().clone()).collect();
        Self::new(places.into_iter().map(Source::Column).collect(), types, wish, attempt)
    }

    fn new(columns: Vec<Source>, types: Vec<DataType>, wish: Option<bool>, attempt: &Attempt) -> Result<Option<Self>> {
        if columns.is_empty() || wish == Some(false) {
            return Ok(None);
        }
        let converter = RowConverter::new(types.into_iter().map(SortField::new).collect());
        Ok(Some(Self { columns, converter: converter.map_err(|source| attempt.compute(source))?, wish }))
    }

    fn keys(&self, batch: &RecordBatch, attempt: &Attempt) -> Result<Rows> {
        let column = |source: &Source| match source {
            Source::Column(at) => Ok(Arc::clone(batch.column(*at))),
            Source::Generated(expression) => expression.evaluate(batch).map_err(|error| attempt.rows(error)),
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect::<Result<_>>()?;
        self.converter.convert_columns(&columns).map_err(|source| attempt.compute(source))
    }
}

/// The rows, in an order in which a writer needs few open files, and that order.
pub(crate) async fn arranged(
    mut rows: BatchStream,
    partitions: Option<Partitions>,
    settings: &DataWriterSettings,
    runtime: &RuntimeEnv,
    attempt: &Attempt,
) -> Result<(BatchStream, RowOrder)> {
    let Some(partitions) = partitions else { return Ok((rows, RowOrder::Any)) };
    let schema = rows.schema();
    let (mut first, mut count, mut bytes, mut seen) = (Vec::new(), 0, 0, HashSet::new());
    let mut many = partitions.wish == Some(true);
    while !many && count < FIRST_ROWS && bytes < FIRST_BYTES {
        let Some(batch) = rows.next().await else { break };
        let batch = batch.map_err(|error| attempt.rows(error))?;
        for key in &partitions.keys(&batch, attempt)? {
            if !seen.contains(key.as_ref()) {
                seen.insert(key.as_ref().to_vec());
            }
        }
        (count, bytes) = (count + batch.num_rows(), bytes + batch.get_array_memory_size());
        first.push(Ok(batch));
        many = seen.len() > settings.open_partitions;
    }
    let all = BatchStream::new(SchemaRef::clone(&schema), stream::iter(first).chain(rows));
    if !many {
        return Ok((all, RowOrder::Any));
    }
    Ok((sorted(all, partitions, runtime, attempt).await?, RowOrder::ByPartition))
}

async fn sorted(rows: BatchStream, partitions: Partitions, runtime: &RuntimeEnv, attempt: &Attempt) -> Result<BatchStream> {
    let failed = |error| attempt.rows(from_datafusion("sort the rows by partition", error));
    let schema = rows.schema();
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let key = unused_name(&names);
    let fields = schema.fields().iter().cloned();
    let with_key: Vec<FieldRef> = fields.chain([Arc::new(Field::new(&key, DataType::Binary, false))]).collect();
    let with_key: SchemaRef = Arc::new(Schema::new(with_key));
    let (wide, by) = (SchemaRef::clone(&with_key), attempt.clone());
    let keyed = rows.map(move |batch| {
        let batch = batch?;
        let keys = partitions.keys(&batch, &by)?.try_into_binary().map_err(|source| by.compute(source))?;
        let columns = batch.columns().iter().cloned().chain([Arc::new(keys) as ArrayRef]).collect();
        Ok(RecordBatch::try_new(SchemaRef::clone(&wide), columns).map_err(|source| by.compute(source))?)
    });
    // A pool without a limit would hold all rows.
    let (pool, limit) = match runtime.memory_pool.memory_limit() {
        MemoryLimit::Finite(limit) => (Arc::clone(&runtime.memory_pool), limit),
        _ => (Arc::new(GreedyMemoryPool::new(SORT_BYTES)) as _, SORT_BYTES),
    };
    let own = RuntimeEnvBuilder::from_runtime_env(runtime).with_memory_pool(pool).build_arc().map_err(failed)?;
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.sort_spill_reservation_bytes = MERGE_BYTES.min(limit / 8);
    let session = SessionContext::new_with_config_rt(config, own);
    let keyed = BatchStream::new(with_key, keyed);
    let frame = session.read_table(Arc::new(StreamProvider::new(keyed))).map_err(failed)?;
    let order = Expr::Column(Column::from_name(&key)).sort(true, true);
    let rows = frame.sort(vec![order]).map_err(failed)?.execute_stream().await.map_err(failed)?;
    let (narrow, by) = (SchemaRef::clone(&schema), attempt.clone());
    let without_key = from_engine(rows).map(move |batch| {
        let columns = batch?.columns()[..narrow.fields().len()].to_vec();
        Ok(RecordBatch::try_new(SchemaRef::clone(&narrow), columns).map_err(|source| by.compute(source))?)
    });
    Ok(BatchStream::new(schema, without_key))
}
