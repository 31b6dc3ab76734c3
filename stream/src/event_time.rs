//! Event time: reading it from rows, and following it with a watermark.
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

use datafusion::arrow::array::types::{
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// Follow the event time of a column, and wait this long for late rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    pub(crate) column: String,
    pub(crate) delay: Duration,
}

impl Watermark {
    pub(crate) fn delay_us(&self) -> i64 {
        i64::try_from(self.delay.as_micros()).unwrap_or(i64::MAX)
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
}

impl Seen {
    pub(crate) fn mean_us(&self) -> Option<i64> {
        if self.rows == 0 {
            return None;
        }
        i64::try_from(self.sum_us / i128::from(self.rows)).ok()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.min_us = [self.min_us, other.min_us].into_iter().flatten().min();
        self.max_us = self.max_us.max(other.max_us);
        self.sum_us += other.sum_us;
        self.rows += other.rows;
        self.null_rows += other.null_rows;
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

/// What was seen until now; the next epoch begins anew.
pub(crate) fn take(seen: &SharedSeen) -> Seen {
    std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Looks at the event times of rows that pass.
pub(crate) fn observe(seen: &SharedSeen, times: &ArrayRef) {
    seen.lock().unwrap_or_else(PoisonError::into_inner).observe(&microseconds(times));
}

/// The beginning of the window that a time falls into; windows are aligned to the epoch. `None` at the edge of what a
/// timestamp can say.
pub(crate) fn window_start(time_us: i64, width_us: i64) -> Option<i64> {
    time_us.checked_sub(time_us.rem_euclid(width_us)).filter(|start| start.checked_add(width_us).is_some())
}

/// A timestamp of any unit in microseconds, rounded down; null where it does not fit.
pub(crate) fn microseconds(column: &ArrayRef) -> Int64Array {
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
    fn timestamps_of_every_unit_become_microseconds_rounded_down() {
        let s: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(2), None, Some(i64::MAX)]));
        let ms: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-3]).with_timezone("UTC"));
        let ns: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999]));
        assert_eq!(microseconds(&s), Int64Array::from(vec![Some(2_000_000), None, None]));
        assert_eq!(microseconds(&ms), Int64Array::from(vec![-3_000]));
        assert_eq!(microseconds(&ns), Int64Array::from(vec![-1, 1]));
    }

    #[test]
    fn what_rows_say_about_event_time_is_added_up_until_it_is_taken() {
        let seen = SharedSeen::default();
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(9), None, Some(14), Some(31)]));
        observe(&seen, &times);
        let expected = Seen { min_us: Some(9_000_000), max_us: Some(31_000_000), sum_us: 54_000_000, rows: 3, null_rows: 1 };
        let taken = take(&seen);
        assert_eq!((taken, taken.mean_us()), (expected, Some(18_000_000)));
        assert_eq!(take(&seen), Seen::default());
    }
}
