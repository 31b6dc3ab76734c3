//! Rows in the order of a curve, or of a column.
//!
//! ```text
//!   sample ─ keys ─ split (several threads) ─▶ parts: runs of neighbouring keys, the last ones on disk
//!                                                │ one after the other, the next one sorted meanwhile
//!                                                └─ sort ─▶ files
//! ```
//! Nothing is merged: a part is sorted when all rows are spread, in memory, and each row is copied twice on its way.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_delta_table::{DataFile, DataWriter, FileRead, Snapshot};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use futures::{StreamExt, TryStreamExt, stream};

use super::bin::{Bin, Kind, Rewritten};
use super::column::OrderColumn;
use super::compact::keep;
use super::curve::Curve;
use super::keys::Keys;
use super::settings::OptimizeSettings;
use super::sort::{in_memory, on_disk};
use super::spread::{Gathered, Plan, Spread};
use crate::engine::error::{Attempt, Result};
use crate::engine::origins::Known;
use crate::engine::touched::unused_name;

/// Rows that are split at once.
const CHUNK_ROWS: usize = 64 * 1024;
/// Bytes that are split at once, if the budget is not small.
const CHUNK_BYTES: usize = 16 << 20;
/// Bytes of a part in memory, if the budget is not small: rows are picked from it in any order, so it should stay in a processor's cache.
const PART_BYTES: usize = 8 << 20;
/// A part is to have this share of the budget at most: two are sorted and written at a time, with what comes out.
const PARTS_OF_BUDGET: usize = 10;
/// Each part can have a file that is open.
const MOST_PARTS: usize = 512;

/// How rows are to lie.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) columns: Vec<OrderColumn>,
    pub(super) curve: Curve,
}

/// Writes the rows of a bin in this order, to files of the target size.
///
/// **Cost**: the columns of the order are read once more before, for their ranges. Rows beyond the budget go to disk once and come back.
pub(super) async fn order(
    snapshot: &Snapshot,
    bin: Bin,
    order: &Order,
    settings: &OptimizeSettings,
    attempt: &Attempt,
) -> Result<Rewritten> {
    let keys = Keys::of(snapshot, &bin, order, attempt).await?;
    let read = FileRead { row_tracking: snapshot.row_tracking().cloned(), ..FileRead::default() };
    let rows = snapshot.read_files(bin.files.clone(), read)?;
    let budget = settings.sort_bytes();
    let (plan, parts) = spread(rows, keys, &bin.files, budget, attempt).await?;
    let mut writer = DataWriter::new(snapshot, settings.writer(settings.target_bytes(snapshot)))?;
    if let Err(error) = write(snapshot, &mut writer, plan, parts, budget, attempt).await {
        writer.abort().await;
        return Err(error);
    }
    let written = writer.finish().await?;
    Ok(Rewritten { sources: bin.files, written, kind: Kind::Ordered })
}

fn failed(attempt: &Attempt) -> impl Fn(DataFusionError) -> crate::engine::error::EngineError {
    |error| attempt.rows(from_datafusion("put the rows in order", error))
}

/// A task's end as its result.
async fn done<T: 'static>(task: SpawnedTask<datafusion::error::Result<T>>) -> datafusion::error::Result<T> {
    task.join().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

/// Spreads all rows over parts.
async fn spread(
    rows: BatchStream,
    keys: Keys,
    files: &[DataFile],
    budget: usize,
    attempt: &Attempt,
) -> Result<(Arc<Plan>, Vec<Gathered>)> {
    let failed = failed(attempt);
    let schema = rows.schema();
    let mut chunks = std::pin::pin!(chunks(rows, CHUNK_BYTES.min(budget / 16)));
    let first = chunks.next().await.transpose().map_err(|error| attempt.rows(error))?.unwrap_or_default();
    let key_name = unused_name(&schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>());
    let plan = Arc::new(Plan::new(keys, parts(&first, files, budget), &schema, key_name));
    let disk = Arc::clone(&RuntimeEnvBuilder::new().build_arc().map_err(&failed)?.disk_manager);
    let mut spread = Spread::new(&plan, budget / 2, disk);
    let by = Arc::clone(&plan);
    let split = move |chunk: Vec<RecordBatch>| {
        let plan = Arc::clone(&by);
        SpawnedTask::spawn_blocking(move || Ok(plan.split(&chunk)?))
    };
    let chunks = stream::iter([Ok(first)]).chain(chunks);
    let mut splits = std::pin::pin!(
        chunks
            .map_ok(|chunk| {
                let task = split(chunk);
                async { Ok(done(task).await) }
            })
            .try_buffered(threads())
    );
    while let Some(split) = splits.next().await {
        let split = split.map_err(|error| attempt.rows(error))?.map_err(&failed)?;
        let add = SpawnedTask::spawn_blocking(move || {
            spread.add(split)?;
            Ok(spread)
        });
        spread = done(add).await.map_err(&failed)?;
    }
    Ok((plan, spread.finish().map_err(&failed)?))
}

/// Batches together until they are worth a task.
fn chunks(rows: BatchStream, most_bytes: usize) -> impl futures::Stream<Item = boathouse_base::Result<Vec<RecordBatch>>> {
    stream::try_unfold(rows, move |mut rows| async move {
        let (mut chunk, mut count, mut bytes) = (Vec::new(), 0, 0);
        while count < CHUNK_ROWS && bytes < most_bytes {
            let Some(batch) = rows.next().await.transpose()? else { break };
            count += batch.num_rows();
            bytes += batch.get_array_memory_size();
            chunk.push(batch);
        }
        Ok((!chunk.is_empty()).then_some((chunk, rows)))
    })
}

/// How many parts there are to be, as far as the first rows tell.
fn parts(first: &[RecordBatch], files: &[DataFile], budget: usize) -> usize {
    let rows = first.iter().map(RecordBatch::num_rows).sum::<usize>().max(1);
    let bytes = first.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
    // Of files that do not say how many rows they have: it may be ten times as much in memory.
    let all = match DataFile::total_rows(files) {
        Some(all) => usize::try_from(all).unwrap_or(usize::MAX).saturating_mul(bytes / rows + 1),
        None => usize::try_from(DataFile::total_bytes(files)).unwrap_or(usize::MAX).saturating_mul(10),
    };
    (all / PART_BYTES.min(budget / PARTS_OF_BUDGET).max(1) + 1).min(MOST_PARTS)
}

/// Sorts part by part, and writes each while the next one is sorted.
async fn write(
    snapshot: &Snapshot,
    writer: &mut DataWriter,
    plan: Arc<Plan>,
    parts: Vec<Gathered>,
    budget: usize,
    attempt: &Attempt,
) -> Result<()> {
    let failed = failed(attempt);
    let sorted = stream::iter(parts).map(|part| {
        let plan = Arc::clone(&plan);
        let large = part.bytes > budget / 3;
        async move {
            if large {
                return Ok(on_disk(plan.schema(), part, budget / 3).await?.boxed());
            }
            let task = SpawnedTask::spawn_blocking(move || in_memory(plan.keys(), part));
            Ok(stream::iter(done(task).await?.into_iter().map(Ok)).boxed())
        }
    });
    let mut sorted = std::pin::pin!(sorted.buffered(2));
    while let Some(part) = sorted.next().await {
        let mut part = part.map_err(&failed)?;
        while let Some(batch) = part.next().await {
            keep(writer, Known::of(snapshot, batch.map_err(&failed)?)).await?;
        }
    }
    Ok(())
}

/// Threads that split rows.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}
