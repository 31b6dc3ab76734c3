//! Rows by number, for tests and measurements: the same every time.

use std::sync::Arc;

use boathouse_base::{
    BatchStream, BoxFuture, DomainError, Error, ErrorKind, Offset, PlannedBatch, ReadLimit, Result, StreamSource,
};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Batches of so many rows each; a batch is a unit of [`ReadLimit::files`], [`ReadLimit::rows`] takes whole batches, and there is always one more, up to
/// [`batches`](Self::batches).
///
/// **Shape**: `timestamp` (microseconds, UTC), which goes up by [`advance_us`](Self::advance_us) from batch to batch, and `value`, the
/// number of the row from 0.
///
/// **Source**: Spark's `rate-micro-batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateMicroBatch {
    /// Rows of a batch.
    pub rows_per_batch: u64,
    /// The timestamp of the first batch, in microseconds since the Unix epoch.
    pub start_us: i64,
    /// What is added to it for each batch.
    pub advance_us: i64,
    /// How many batches there are; `None`: without end. `available_now` needs an end.
    pub batches: Option<u64>,
}

impl RateMicroBatch {
    /// Batches of so many rows, a second apart, without end.
    pub fn new(rows_per_batch: u64) -> Self {
        Self { rows_per_batch, start_us: 0, advance_us: 1_000_000, batches: None }
    }

    fn batch_of(&self, offset: Option<&Offset>) -> Result<u64, RateError> {
        let Some(offset) = offset else { return Ok(0) };
        offset.as_str().parse().map_err(|_| RateError { offset: offset.as_str().to_owned() })
    }

    fn shape(&self) -> SchemaRef {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![Field::new("timestamp", timestamp, false), Field::new("value", DataType::Int64, false)]))
    }

    fn rows_of(&self, batch: u64) -> Result<RecordBatch> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let time = self.start_us.saturating_add(self.advance_us.saturating_mul(number(batch)));
        let first = number(batch.saturating_mul(self.rows_per_batch));
        let rows = number(self.rows_per_batch);
        let times = TimestampMicrosecondArray::from_value(time, usize::try_from(rows).unwrap_or(usize::MAX)).with_timezone("UTC");
        let values = Int64Array::from_iter_values(first..first.saturating_add(rows));
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(values)];
        RecordBatch::try_new(self.shape(), columns).map_err(|error| Error::new(ErrorKind::Internal, error))
    }
}

/// An offset of another source.
#[derive(Debug, thiserror::Error)]
#[error("read the rate source: `{offset}` is no number of a batch")]
struct RateError {
    offset: String,
}

impl DomainError for RateError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl StreamSource for RateMicroBatch {
    fn describe(&self) -> String {
        format!("rate-micro-batch[rowsPerBatch={}]", self.rows_per_batch)
    }

    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        Box::pin(std::future::ready(Ok(Some(self.shape()))))
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        let planned = self.batch_of(start).map(|start| {
            let left = self.batches.map_or(u64::MAX, |batches| batches.saturating_sub(start));
            let by_rows = limit.rows.map(|rows| rows / self.rows_per_batch.max(1));
            // Without an end and without limits: one at a time.
            let most =
                [limit.files, by_rows].into_iter().flatten().min().unwrap_or(if self.batches.is_some() { u64::MAX } else { 1 });
            let files = left.min(most.max(1));
            let end = Offset::new(start.saturating_add(files).to_string());
            (files > 0).then_some(PlannedBatch { end, files, bytes: 0, more: files < left })
        });
        Box::pin(std::future::ready(planned.map_err(Into::into)))
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        let rows = || {
            let (start, end) = (self.batch_of(start)?, self.batch_of(Some(end))?);
            let source = self.clone();
            let rows = futures::stream::iter((start..end).map(move |batch| source.rows_of(batch)));
            Ok(BatchStream::new(self.shape(), rows))
        };
        Box::pin(std::future::ready(rows()))
    }

    fn commit<'a>(&'a self, _: &'a Offset) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_are_numbered_over_batches_and_ranges_add_up() {
        let source = RateMicroBatch { batches: Some(3), ..RateMicroBatch::new(4) };
        let all = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
        assert_eq!((all.files, all.more), (3, false));
        let rows = source.read(None, &all.end).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4, 4, 4]);
        let one = source.plan(None, ReadLimit { files: Some(1), ..ReadLimit::default() }).await.unwrap().unwrap();
        assert!(one.more);
        for (files, rows, taken) in [(None, 8, 2), (None, 7, 1), (None, 1, 1), (Some(3), 4, 1), (Some(1), 12, 1)] {
            let limit = ReadLimit { files, rows: Some(rows), ..ReadLimit::default() };
            assert_eq!(source.plan(None, limit).await.unwrap().unwrap().files, taken, "{limit:?}");
        }
        let rest = source.read(Some(&one.end), &all.end).await.unwrap().collect().await.unwrap();
        assert_eq!(rest, rows[1..]);
        assert!(source.plan(Some(&all.end), ReadLimit::default()).await.unwrap().is_none());
        assert_eq!(source.plan(Some(&Offset::new("x")), ReadLimit::default()).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
