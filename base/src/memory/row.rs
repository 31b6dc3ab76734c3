//! Single values out of arrays, and rows chosen by a predicate.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

use super::MemoryError;
use crate::predicate::Predicate;
use crate::value::Value;

/// The value of a row of an array; `None` for a type that [`Value`] does not have.
pub(super) fn value(array: &dyn Array, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return Some(Value::Null);
    }
    let instant = |us: i64, zoned: bool| if zoned { Value::Timestamp(us) } else { Value::TimestampNtz(us) };
    Some(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => Value::Binary(array.as_binary::<i32>().value(row).to_vec().into()),
        DataType::LargeBinary => Value::Binary(array.as_binary::<i64>().value(row).to_vec().into()),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            Value::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row), scale: *scale }
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            instant(array.as_primitive::<TimestampMicrosecondType>().value(row), zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            instant(array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)?, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Second, zone) => {
            instant(array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)?, zone.is_some())
        }
        _ => return None,
    })
}

/// For each row whether the predicate is true there.
pub(super) fn matching(batch: &RecordBatch, predicate: &Predicate, attempt: &str) -> Result<Vec<bool>, MemoryError> {
    let columns = predicate.columns();
    for column in &columns {
        let found = batch.column_by_name(column).ok_or_else(|| no_column(attempt, column, batch.schema_ref()))?;
        if !found.is_empty() && value(found.as_ref(), 0).is_none() {
            return Err(MemoryError::ValueType { column: (*column).to_owned(), data_type: found.data_type().clone() });
        }
    }
    let truth = |row: usize| {
        let read =
            |column: &str| batch.column_by_name(column).and_then(|array| value(array.as_ref(), row)).unwrap_or(Value::Null);
        predicate.matches(&read) == Some(true)
    };
    Ok((0..batch.num_rows()).map(truth).collect())
}

/// The longest runs of `true`.
pub(super) fn runs(chosen: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, _) in chosen.iter().enumerate().filter(|(_, chosen)| **chosen) {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

pub(super) fn no_column(attempt: &str, column: &str, schema: &arrow_schema::Schema) -> MemoryError {
    MemoryError::NoColumn {
        attempt: attempt.to_owned(),
        column: column.to_owned(),
        found: schema.fields().iter().map(|field| field.name().clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        assert_eq!(runs(&[]), vec![]);
        assert_eq!(runs(&[true, true, false, true]), vec![0..2, 3..4]);
        assert_eq!(runs(&[false, false]), vec![]);
    }
}
