//! Event time: reading it from rows, following it with a watermark, and dropping rows that are too late.
//!
//! # The watermark
//! After each epoch `watermark = max(watermark, max(event time seen) - delay)`. It says: rows older than this are not
//! expected any more. It never goes back, and moves only between epochs.
//!
//! A window `[start, end)` is closed when `end <= watermark`. One epoch compares with two watermarks:
//! - a row is **late** when its window was closed by the watermark of the *previous* epoch;
//! - a window is **emitted** when it is closed by the watermark of *this* epoch, that is, by what was seen up to the
//!   end of the previous one.
//!
//! So a row that comes in the same epoch that closes its window still counts. The promise is one-sided: a row less than
//! `delay` late is never dropped; one that is later may or may not be.
//!
//! When the watermark has moved and no rows come, an epoch without rows emits what it has closed.
//!
//! Worked example, windows of 10 s, delay 10 s, one line an epoch:
//!
//! | rows (s) | late if end <= | emitted if end <= | what happens | watermark after |
//! | --- | --- | --- | --- | --- |
//! | 10, 12 | - | - | window [10, 20) opens with 2 | 2 |
//! | 25 | 2 | 2 | window [20, 30) opens | 15 |
//! | - | 2 | 15 | nothing ends at or before 15 | 15 |
//! | 9 | 15 | 15 | its window ends at 10: late, dropped | 15 |
//! | 14 | 15 | 15 | its window ends at 20: counted | 15 |
//! | 31 | 15 | 15 | window [30, 40) opens | 21 |
//! | - | 15 | 21 | [10, 20) is emitted with 3 | 21 |
//!
//! **Source**: Spark Structured Streaming, "Handling Late Data and Watermarking"; the example continues one that was run
//! on Spark 4.3.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boathouse_base::{BatchStream, Error, ErrorKind};
use datafusion::arrow::array::types::{
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use futures::StreamExt;

use crate::error::StreamError;

/// Where a window begins, in the rows that are aggregated and in the result.
pub(crate) const WINDOW_START: &str = "window_start";
/// Where it ends.
pub(crate) const WINDOW_END: &str = "window_end";

/// Follow the event time of a column, and wait this long for late rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    pub(crate) column: String,
    pub(crate) delay: Duration,
}

impl Watermark {
    /// The watermark after an epoch, from that before and the latest event time seen.
    pub(crate) fn advance(&self, before_us: Option<i64>, seen_max_us: Option<i64>) -> Option<i64> {
        let delay_us = i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX);
        before_us.max(seen_max_us.map(|max| max.saturating_sub(delay_us)))
    }
}

/// What the rows of one epoch said about event time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) min_us: Option<i64>,
    pub(crate) max_us: Option<i64>,
    pub(crate) sum_us: i128,
    pub(crate) rows: u64,
    /// Rows without an event time: they belong to no window.
    pub(crate) null_rows: u64,
    pub(crate) late_rows: u64,
}

impl Seen {
    pub(crate) fn mean_us(&self) -> Option<i64> {
        if self.rows == 0 {
            return None;
        }
        i64::try_from(self.sum_us / i128::from(self.rows)).ok()
    }

    fn observe(&mut self, times: &Int64Array) {
        self.null_rows += times.null_count() as u64;
        for time in times.iter().flatten() {
            self.rows += 1;
            self.sum_us += i128::from(time);
            self.min_us = Some(self.min_us.map_or(time, |min| min.min(time)));
            self.max_us = self.max_us.max(Some(time));
        }
    }
}

/// One epoch's [`Seen`], filled while its rows pass.
pub(crate) type SharedSeen = Arc<Mutex<Seen>>;

pub(crate) fn read(seen: &SharedSeen) -> Seen {
    *seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event time of rows of one schema.
#[derive(Debug, Clone)]
pub(crate) struct EventTime {
    index: usize,
    zone: Option<Arc<str>>,
}

impl EventTime {
    pub(crate) fn find(query: &str, column: &str, schema: &SchemaRef) -> Result<Self, StreamError> {
        let Ok(index) = schema.index_of(column) else {
            let available = schema.fields().iter().map(|field| field.name().clone()).collect();
            return Err(StreamError::MissingColumn { query: query.to_owned(), column: column.to_owned(), available });
        };
        match schema.field(index).data_type() {
            DataType::Timestamp(_, zone) => Ok(Self { index, zone: zone.clone() }),
            other => Err(StreamError::EventTimeType { query: query.to_owned(), column: column.to_owned(), found: other.clone() }),
        }
    }

    /// Passes rows on and remembers their event times.
    pub(crate) fn watch(self, rows: BatchStream, seen: SharedSeen) -> BatchStream {
        let schema = rows.schema();
        BatchStream::new(
            schema,
            rows.inspect(move |batch| {
                if let Ok(batch) = batch {
                    let times = microseconds(batch.column(self.index));
                    seen.lock().unwrap_or_else(PoisonError::into_inner).observe(&times);
                }
            }),
        )
    }

    /// The schema of [`stamp`](Self::stamp)ed rows: where their window begins, then what they had.
    pub(crate) fn stamped(&self, schema: &SchemaRef) -> SchemaRef {
        let start = Field::new(WINDOW_START, DataType::Timestamp(TimeUnit::Microsecond, self.zone.clone()), false);
        let fields = std::iter::once(Arc::new(start)).chain(schema.fields().iter().cloned());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Passes those rows on that are in time, each with the beginning of its window.
    pub(crate) fn stamp(self, rows: BatchStream, width_us: i64, late_us: Option<i64>, seen: SharedSeen) -> BatchStream {
        let schema = self.stamped(&rows.schema());
        let announced = SchemaRef::clone(&schema);
        BatchStream::new(
            schema,
            rows.map(move |batch| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                self.stamp_batch(&batch?, &announced, width_us, late_us, &mut seen)
                    .map_err(|error| Error::new(ErrorKind::Internal, error))
            }),
        )
    }

    fn stamp_batch(
        &self,
        batch: &RecordBatch,
        schema: &SchemaRef,
        width_us: i64,
        late_us: Option<i64>,
        seen: &mut Seen,
    ) -> Result<RecordBatch, ArrowError> {
        let times = microseconds(batch.column(self.index));
        seen.observe(&times);
        let starts: Vec<Option<i64>> = times.iter().map(|time| time.and_then(|time| window_start(time, width_us))).collect();
        let in_time: BooleanArray = starts
            .iter()
            .map(|start| {
                let is_late = start.is_some_and(|start| late_us.is_some_and(|late| start.saturating_add(width_us) <= late));
                seen.late_rows += u64::from(is_late);
                Some(start.is_some() && !is_late)
            })
            .collect();
        let starts = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(starts.iter().map(|start| start.unwrap_or(0)));
        let starts: ArrayRef = Arc::new(starts.with_timezone_opt(self.zone.clone()));
        let columns = std::iter::once(starts).chain(batch.columns().iter().cloned()).collect();
        let stamped = RecordBatch::try_new(SchemaRef::clone(schema), columns)?;
        if in_time.true_count() == in_time.len() { Ok(stamped) } else { filter_record_batch(&stamped, &in_time) }
    }
}

/// The beginning of the window that a time falls into; windows are aligned to the epoch. `None` at the edge of what a
/// timestamp can say.
pub(crate) fn window_start(time_us: i64, width_us: i64) -> Option<i64> {
    time_us.checked_sub(time_us.rem_euclid(width_us)).filter(|start| start.checked_add(width_us).is_some())
}

/// A timestamp of any unit in microseconds, rounded down; null where it does not fit.
fn microseconds(column: &ArrayRef) -> Int64Array {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            column.as_primitive::<TimestampSecondType>().unary_opt::<_, Int64Type>(|v| v.checked_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().unary_opt::<_, Int64Type>(|v| v.checked_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().unary::<_, Int64Type>(|v| v)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().unary::<_, Int64Type>(|v| v.div_euclid(1_000))
        }
        // `find` has let timestamps through only.
        _ => Int64Array::new_null(column.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray};

    #[test]
    fn a_window_begins_at_or_before_its_time_also_before_the_epoch() {
        assert_eq!(window_start(25, 10), Some(20));
        assert_eq!(window_start(20, 10), Some(20));
        assert_eq!(window_start(-1, 10), Some(-10));
        assert_eq!(window_start(i64::MIN, 10), None);
        assert_eq!(window_start(i64::MAX, 10), None);
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let watermark = Watermark { column: "t".into(), delay: Duration::from_micros(10) };
        assert_eq!(watermark.advance(None, None), None);
        assert_eq!(watermark.advance(None, Some(12)), Some(2));
        assert_eq!(watermark.advance(Some(15), Some(12)), Some(15));
        assert_eq!(watermark.advance(Some(15), Some(i64::MIN)), Some(15));
    }

    #[test]
    fn timestamps_of_every_unit_become_microseconds_rounded_down() {
        let s: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(2), None, Some(i64::MAX)]));
        let ms: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-3]).with_timezone("UTC"));
        let ns: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999]));
        assert_eq!(microseconds(&s), Int64Array::from(vec![Some(2_000_000), None, None]));
        assert_eq!(microseconds(&ms), Int64Array::from(vec![-3_000]));
        assert_eq!(microseconds(&ns), Int64Array::from(vec![-1, 1]));
    }

    #[test]
    fn rows_without_a_time_are_in_no_window_and_late_ones_are_counted() {
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(9), None, Some(14), Some(31)]));
        let batch = RecordBatch::try_from_iter([("t", times)]).unwrap();
        let time = EventTime::find("q", "t", &batch.schema()).unwrap();
        let mut seen = Seen::default();
        let schema = time.stamped(&batch.schema());
        let stamped = time.stamp_batch(&batch, &schema, 10_000_000, Some(15_000_000), &mut seen).unwrap();
        let starts = stamped.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(starts.values(), &[10_000_000, 30_000_000]);
        let expected =
            Seen { min_us: Some(9_000_000), max_us: Some(31_000_000), sum_us: 54_000_000, rows: 3, null_rows: 1, late_rows: 1 };
        assert_eq!(seen, expected);
        assert_eq!(seen.mean_us(), Some(18_000_000));
    }

    #[test]
    fn an_event_time_that_is_text_is_refused_with_its_type() {
        let batch =
            RecordBatch::try_from_iter([("t", Arc::new(datafusion::arrow::array::StringArray::from(vec!["x"])) as ArrayRef)])
                .unwrap();
        let error = EventTime::find("q", "t", &batch.schema()).unwrap_err();
        assert!(error.to_string().contains("`t` has the type Utf8"), "{error}");
    }
}
