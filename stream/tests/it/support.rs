//! Rows of flights, queries over them, and reading results back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{Env, ManualClock};
use boathouse_storage::Storage;
use boathouse_stream::{CrashPoint, RunningQuery, StepOutcome, StreamError, StreamQuery, TumblingWindow};
use datafusion::arrow::array::types::{Int64Type, TimestampMicrosecondType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use datafusion::arrow::datatypes::SchemaRef;

/// Rows of (at: seconds, origin, delay).
pub(crate) type Row = (Option<i64>, Option<&'static str>, i64);

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(TimestampSecondArray::from_iter(rows.iter().map(|row| row.0)).with_timezone("UTC")) as ArrayRef, true),
        ("origin", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1))), true),
        ("delay", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))), true),
    ])
    .unwrap()
}

pub(crate) fn at(seconds: &[i64]) -> RecordBatch {
    batch(&seconds.iter().map(|s| (Some(*s), Some("JFK"), 1)).collect::<Vec<_>>())
}

pub(crate) fn schema() -> SchemaRef {
    batch(&[]).schema()
}

pub(crate) struct Rig {
    pub(crate) source: MemorySource,
    pub(crate) sink: MemorySink,
    pub(crate) checkpoint: Storage,
    pub(crate) env: Env,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            source: MemorySource::new(schema()),
            sink: MemorySink::new(),
            checkpoint: Storage::memory(),
            env: Env::new(ManualClock::starting_at_us(1_000_000), 7),
        }
    }

    pub(crate) fn push(&self, batch: RecordBatch) {
        self.source.push(batch).unwrap();
    }

    pub(crate) fn query(&self) -> StreamQuery {
        StreamQuery::named("test")
            .source(Arc::new(self.source.clone()))
            .sink(Arc::new(self.sink.clone()))
            .checkpoint(self.checkpoint.clone())
            .env(self.env.clone())
    }

    /// Counts in windows of 10 s by origin; rows may come 10 s late.
    pub(crate) fn windowed(&self) -> StreamQuery {
        let window = TumblingWindow::over("at", Duration::from_secs(10)).by(["origin"]).count("n").sum("delay", "delay");
        self.query().watermark("at", Duration::from_secs(10)).window(window)
    }

    /// What stands in a windowed sink, sorted: (window end in seconds, origin, n, delay).
    pub(crate) fn windows(&self) -> Vec<(i64, Option<String>, i64, i64)> {
        let mut rows: Vec<_> = self.sink.batches().iter().flat_map(windows).collect();
        rows.sort();
        rows
    }

    /// What stands in a sink of delays, in order.
    pub(crate) fn delays(&self) -> Vec<i64> {
        let of = |batch: &RecordBatch| batch.column_by_name("delay").unwrap().as_primitive::<Int64Type>().values().to_vec();
        self.sink.batches().iter().flat_map(of).collect()
    }

    /// Paths of the checkpoint.
    pub(crate) async fn files(&self, folder: &str) -> Vec<String> {
        self.checkpoint.list(folder).await.unwrap().into_iter().map(|entry| entry.path).collect()
    }
}

pub(crate) fn windows(batch: &RecordBatch) -> Vec<(i64, Option<String>, i64, i64)> {
    let ends = batch.column_by_name("window_end").unwrap().as_primitive::<TimestampMicrosecondType>();
    let origins = batch.column_by_name("origin").unwrap().as_string::<i32>();
    let number = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let (counts, delays) = (number("n"), number("delay"));
    (0..batch.num_rows())
        .map(|row| {
            let origin = origins.is_valid(row).then(|| origins.value(row).to_owned());
            (ends.value(row) / 1_000_000, origin, counts.value(row), delays.value(row))
        })
        .collect()
}

/// Steps until there is nothing to do.
pub(crate) async fn drain(query: &mut RunningQuery) -> Result<u64, StreamError> {
    let mut epochs = 0;
    while let StepOutcome::Epoch(_) = query.step().await? {
        epochs += 1;
    }
    Ok(epochs)
}

/// Dies at the nth time that it is asked.
pub(crate) fn crash_at(nth: u64) -> impl Fn(CrashPoint, u64) -> bool + Send + Sync {
    let asked = AtomicU64::new(0);
    move |_, _| asked.fetch_add(1, Ordering::Relaxed) == nth
}
