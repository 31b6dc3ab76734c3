//! When rows are over, and which came too late.

use boathouse_base::{Error, ErrorKind};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::{filter, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::error::ArrowError;

use super::Done;
use crate::event_time::microseconds;
use crate::late::LateRows;

/// The times of a column in microseconds: a timestamp as it is, a window by its end.
pub(crate) fn times_of(column: &ArrayRef) -> Int64Array {
    match column.data_type() {
        DataType::Struct(_) => match column.as_struct().columns().get(1) {
            Some(ends) if matches!(ends.data_type(), DataType::Timestamp(..)) => {
                let ends = microseconds(ends);
                // A window that is null has an end all the same, below.
                (0..column.len()).map(|row| (column.is_valid(row) && ends.is_valid(row)).then(|| ends.value(row))).collect()
            }
            _ => Int64Array::new_null(column.len()),
        },
        _ => microseconds(column),
    }
}

/// The rows that are in time, and their times. With `needs_time`, rows without a time are left out as well.
pub(crate) fn in_time(
    batch: RecordBatch,
    times: Int64Array,
    late_us: Option<i64>,
    needs_time: bool,
    done: &mut Done,
) -> Result<(RecordBatch, Int64Array), ArrowError> {
    let without = times.null_count() as u64;
    let is_late = |time: i64| late_us.is_some_and(|late| time <= late);
    let late = times.iter().flatten().filter(|time| is_late(*time)).count() as u64;
    done.late += late;
    if needs_time {
        done.without_time += without;
    }
    if late == 0 && !(needs_time && without > 0) {
        return Ok((batch, times));
    }
    if done.keeps_late && late > 0 {
        let came_late: BooleanArray = times.iter().map(|time| Some(time.is_some_and(is_late))).collect();
        let over_us = filter(&times, &came_late)?.as_primitive().clone();
        done.late_rows.push(LateRows { rows: filter_record_batch(&batch, &came_late)?, over_us });
    }
    let keep: BooleanArray = times.iter().map(|time| Some(time.map_or(!needs_time, |time| !is_late(time)))).collect();
    let times = filter(&times, &keep)?;
    Ok((filter_record_batch(&batch, &keep)?, times.as_primitive().clone()))
}

/// Whether a field is a window: a struct of two timestamps, `start` and `end`.
pub(crate) fn is_window(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(fields) => matches!(
            &fields[..],
            [start, end] if start.name() == "start" && end.name() == "end"
                && matches!((start.data_type(), end.data_type()), (DataType::Timestamp(..), DataType::Timestamp(..)))
        ),
        _ => false,
    }
}

pub(crate) fn arrow(error: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::TimestampMicrosecondArray;
    use datafusion::arrow::array::types::TimestampMicrosecondType;
    use std::sync::Arc;

    #[test]
    fn late_rows_and_rows_without_a_time_are_counted_and_left_out() {
        let times = TimestampMicrosecondArray::from(vec![Some(9), None, Some(10), Some(11)]);
        let batch = RecordBatch::try_from_iter_with_nullable([("t", Arc::new(times) as ArrayRef, true)]).unwrap();
        let times = times_of(batch.column(0));
        let mut done = Done::default();
        let (kept, times) = in_time(batch.clone(), times, Some(10), true, &mut done).unwrap();
        assert_eq!(kept.column(0).as_primitive::<TimestampMicrosecondType>().values(), &[11]);
        assert_eq!((times.values().to_vec(), done.late, done.without_time), (vec![11], 2, 1));
        let (kept, _) = in_time(batch.clone(), times_of(batch.column(0)), Some(10), false, &mut done).unwrap();
        assert_eq!(kept.num_rows(), 2, "a row without a time is never late");
    }
}
