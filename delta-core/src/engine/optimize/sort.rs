//! The rows of one part in the order of their keys.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_frames::StreamProvider;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::keys::Keys;
use super::ranges::first;
use super::spread::Gathered;

/// Rows of a batch that comes out.
const BATCH_ROWS: usize = 8 * 1024;
/// Room that a sort keeps for bringing together what it wrote to disk, at most.
const MERGE_BYTES: usize = 10 << 20;

/// Where a row is: in which batch, and in which row of it.
type Place = (u32, u32);

/// Sorts the rows by their last column, their key, which is left out. Rows with the same key stay in their order.
///
/// **Cost**: memory for the rows and once more for what comes out.
pub(super) fn in_memory(keys: &Keys, part: Gathered) -> Result<Vec<RecordBatch>> {
    let batches = part.batches()?.collect::<Result<Vec<_>>>()?;
    let key_columns = batches.iter().map(|batch| batch.column(batch.num_columns() - 1));
    let places = match keys {
        Keys::Place { .. } => by_place(key_columns),
        Keys::Value { column, .. } => by_value(&column.data_type, key_columns)?,
    };
    let columns: Vec<usize> = (0..batches.first().map_or(0, |batch| batch.num_columns() - 1)).collect();
    let batches = batches.iter().map(|batch| batch.project(&columns)).collect::<std::result::Result<Vec<_>, _>>()?;
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let mut indices = Vec::with_capacity(BATCH_ROWS);
    let sorted = places.chunks(BATCH_ROWS).map(|chunk| {
        indices.clear();
        indices.extend(chunk.iter().map(|(batch, row)| (*batch as usize, *row as usize)));
        Ok(interleave_record_batch(&batches, &indices)?)
    });
    sorted.collect()
}

/// The rows in the order of their places on a curve.
fn by_place<'a>(keys: impl Iterator<Item = &'a ArrayRef>) -> Vec<Place> {
    let mut places: Vec<(u64, Place)> = Vec::new();
    for (batch, keys) in (0..).zip(keys) {
        places.extend(keys.as_primitive::<UInt64Type>().values().iter().zip(0..).map(|(key, row)| (*key, (batch, row))));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, place)| place).collect()
}

/// The rows in the order of their values, nulls first. The beginnings of values mostly decide.
fn by_value<'a>(data_type: &DataType, keys: impl Iterator<Item = &'a ArrayRef>) -> Result<Vec<Place>> {
    let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
    let rows =
        keys.map(|keys| converter.convert_columns(std::slice::from_ref(keys))).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut places: Vec<(u128, Place)> = Vec::new();
    for (batch, rows) in (0..).zip(&rows) {
        places.extend(rows.iter().zip(0..).map(|(key, row)| (first(key.as_ref()), (batch, row))));
    }
    let whole = |(batch, row): Place| rows[batch as usize].row(row as usize);
    places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| whole(a.1).cmp(&whole(b.1))).then_with(|| a.1.cmp(&b.1)));
    Ok(places.into_iter().map(|(_, place)| place).collect())
}

/// The same for a part that is too large for it: one in which many rows have one key.
///
/// Rows with the same key are in an order that depends on nothing but the rows and the budget.
pub(super) async fn on_disk(schema: &SchemaRef, part: Gathered, memory_bytes: usize) -> Result<SendableRecordBatchStream> {
    let pool = Arc::new(GreedyMemoryPool::new(memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.sort_spill_reservation_bytes = MERGE_BYTES.min(memory_bytes / 8);
    let session = SessionContext::new_with_config_rt(config, runtime);
    let failed = |error| boathouse_frames::from_datafusion("read the rows again", error);
    let rows = futures::stream::iter(part.batches()?.map(move |batch| batch.map_err(failed)));
    let frame = session.read_table(Arc::new(StreamProvider::new(BatchStream::new(SchemaRef::clone(schema), rows))))?;
    let (key, columns) = match schema.fields().split_last() {
        Some((key, columns)) => (key.name(), columns),
        None => return frame.execute_stream().await,
    };
    let by = Expr::Column(Column::from_name(key)).sort(true, true);
    let columns = columns.iter().map(|column| Expr::Column(Column::from_name(column.name())));
    frame.sort(vec![by])?.select(columns)?.execute_stream().await
}
