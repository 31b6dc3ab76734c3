//! Single values of Arrow arrays as [`Value`], and back.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use boathouse_base::Value;
use bytes::Bytes;

/// The value in a row of an array that has a primitive type of Delta; null for every other type.
pub(crate) fn value_at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Value::String(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Value::String(array.as_string_view().value(row).to_owned()),
        DataType::Binary => Value::Binary(Bytes::copy_from_slice(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Value::Binary(Bytes::copy_from_slice(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Value::Binary(Bytes::copy_from_slice(array.as_binary_view().value(row))),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if zone.is_some() { Value::Timestamp(us) } else { Value::TimestampNtz(us) }
        }
        DataType::Decimal128(_, scale) => {
            Value::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row), scale: *scale }
        }
        DataType::Dictionary(_, _) => match array.as_any_dictionary_opt() {
            Some(dictionary) => {
                let key = dictionary.normalized_keys().get(row).copied().unwrap_or_default();
                value_at(dictionary.values().as_ref(), key)
            }
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

/// An array of one row. `None` when the value is not one of the type.
pub(crate) fn single(value: &Value, data_type: &DataType) -> Option<ArrayRef> {
    Some(match (data_type, value) {
        (_, Value::Null) => new_null_array(data_type, 1),
        (DataType::Boolean, Value::Boolean(v)) => Arc::new(BooleanArray::from(vec![*v])),
        (DataType::Int8, Value::Int(v)) => Arc::new(Int8Array::from(vec![i8::try_from(*v).ok()?])),
        (DataType::Int16, Value::Int(v)) => Arc::new(Int16Array::from(vec![i16::try_from(*v).ok()?])),
        (DataType::Int32, Value::Int(v)) => Arc::new(Int32Array::from(vec![i32::try_from(*v).ok()?])),
        (DataType::Int64, Value::Int(v)) => Arc::new(Int64Array::from(vec![*v])),
        #[expect(clippy::cast_possible_truncation, reason = "the column holds 32 bits, and so did the value")]
        (DataType::Float32, Value::Float(v)) => Arc::new(Float32Array::from(vec![*v as f32])),
        (DataType::Float64, Value::Float(v)) => Arc::new(Float64Array::from(vec![*v])),
        (DataType::Utf8, Value::String(v)) => Arc::new(StringArray::from(vec![v.as_str()])),
        (DataType::Binary, Value::Binary(v)) => Arc::new(BinaryArray::from(vec![v.as_ref()])),
        (DataType::Date32, Value::Date(v)) => Arc::new(Date32Array::from(vec![*v])),
        (DataType::Timestamp(TimeUnit::Microsecond, zone), Value::Timestamp(v) | Value::TimestampNtz(v)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_timezone_opt(zone.clone()))
        }
        (DataType::Decimal128(precision, scale), Value::Decimal { unscaled, scale: found }) if scale == found => {
            Arc::new(Decimal128Array::from(vec![*unscaled]).with_precision_and_scale(*precision, *scale).ok()?)
        }
        _ => return None,
    })
}

/// An array that holds the same value in every row; nulls when the value is not one of the type.
pub(crate) fn constant(value: &Value, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    match single(value, data_type) {
        Some(one) if !value.is_null() => arrow_select::take::take(&one, &UInt32Array::from(vec![0; rows]), None),
        _ => Ok(new_null_array(data_type, rows)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_constant_gives_its_value_back_for_every_type() {
        let cases = [
            (DataType::Boolean, Value::Boolean(true)),
            (DataType::Int8, Value::Int(-7)),
            (DataType::Int16, Value::Int(300)),
            (DataType::Int32, Value::Int(70_000)),
            (DataType::Int64, Value::Int(i64::MIN)),
            (DataType::Float32, Value::Float(0.5)),
            (DataType::Float64, Value::Float(1e300)),
            (DataType::Utf8, Value::from("Zürich")),
            (DataType::Binary, Value::Binary(Bytes::from_static(b"\0\xff"))),
            (DataType::Date32, Value::Date(-1)),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), Value::Timestamp(12)),
            (DataType::Timestamp(TimeUnit::Microsecond, None), Value::TimestampNtz(-12)),
            (DataType::Decimal128(20, 2), Value::Decimal { unscaled: 12_345, scale: 2 }),
            (DataType::Int64, Value::Null),
        ];
        for (data_type, value) in cases {
            let array = constant(&value, &data_type, 3).unwrap();
            assert_eq!(array.data_type(), &data_type);
            assert_eq!(array.len(), 3);
            assert_eq!(value_at(array.as_ref(), 2), value);
        }
    }
}
