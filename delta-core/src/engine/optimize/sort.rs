//! The rows of one part in the order of their keys.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_frames::StreamProvider;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::keys::Keys;
use super::spread::Gathered;

/// Rows of a batch that comes out.
const BATCH_ROWS: usize = 8 * 1024;
/// Room that a sort keeps for bringing together what it wrote to disk, at most.
const MERGE_BYTES: usize = 10 << 20;

/// Where a row is, with the beginning of its key in front.
type Place = (u128, u32, u32);

/// Sorts the rows by their last column, their key, which is left out. Rows with the same key stay in their order.
///
/// **Cost**: memory for the rows and once more for what comes out.
pub(super) fn in_memory(keys: &Keys, part: Gathered) -> Result<Vec<RecordBatch>> {
    let batches = part.batches()?.collect::<Result<Vec<_>>>()?;
    let compared = batches.iter().map(|batch| keys.compared(batch.column(batch.num_columns() - 1)));
    let compared = compared.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut places: Vec<Place> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (at, (batch, keys)) in (0..).zip(batches.iter().zip(&compared)) {
        places.extend((0..batch.num_rows()).zip(0..).map(|(row, place)| (keys.first(row), at, place)));
    }
    let whole = |(_, batch, row): &Place| compared[*batch as usize].whole(*row as usize);
    places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| whole(a).cmp(whole(b))).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let columns: Vec<usize> = (0..batches.first().map_or(0, |batch| batch.num_columns() - 1)).collect();
    let batches = batches.iter().map(|batch| batch.project(&columns)).collect::<std::result::Result<Vec<_>, _>>()?;
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let mut indices = Vec::with_capacity(BATCH_ROWS);
    let sorted = places.chunks(BATCH_ROWS).map(|chunk| {
        indices.clear();
        indices.extend(chunk.iter().map(|(_, batch, row)| (*batch as usize, *row as usize)));
        Ok(interleave_record_batch(&batches, &indices)?)
    });
    sorted.collect()
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
