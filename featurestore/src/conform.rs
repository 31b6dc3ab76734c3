//! Columns brought to the type that is wanted, where no value changes by it.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};

pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Whether every value of one type is a value of the other.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Dictionary, Float32, Float64, Int8, Int16, Int32, Int64, Null, Timestamp, UInt8, UInt16, UInt32, UInt64};
    match (from, to) {
        (a, b) if a == b => true,
        (Null, _) => true,
        (Dictionary(_, values), to) => widens(values, to),
        (a, b) if (is_text(a) && is_text(b)) || (is_bytes(a) && is_bytes(b)) => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64) | (UInt32, UInt64 | Int64) => true,
        (Float32, Float64) => true,
        (Int8 | Int16 | UInt8 | UInt16, Float32) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64) => true,
        (Timestamp(a, zone), Timestamp(b, other)) => zone.is_some() == other.is_some() && fineness(*a) <= fineness(*b),
        _ => false,
    }
}

/// How fine a unit is: powers of a thousand to a second.
pub(crate) fn fineness(unit: TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

/// The column as the wider type. `Ok(None)`: the type is not wider.
///
/// **Errors**: a timestamp that does not fit into the finer unit.
pub(crate) fn widen(column: &ArrayRef, to: &DataType) -> Result<Option<ArrayRef>, ArrowError> {
    if column.data_type() == to {
        return Ok(Some(Arc::clone(column)));
    }
    if column.data_type() == &DataType::Null {
        return Ok(Some(new_null_array(to, column.len())));
    }
    if !widens(column.data_type(), to) {
        return Ok(None);
    }
    cast_with_options(column.as_ref(), to, &CastOptions { safe: false, ..CastOptions::default() }).map(Some)
}

/// A column of keys as the type of the keys that it is compared with; a value that this type does not have becomes
/// null, which finds nothing. `Ok(None)`: the types have no values in common.
pub(crate) fn comparable_key(column: &ArrayRef, to: &DataType) -> Result<Option<ArrayRef>, ArrowError> {
    let from = match column.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    if from == to || (from.is_integer() && to.is_integer()) || widens(from, to) {
        if column.data_type() == to {
            return Ok(Some(Arc::clone(column)));
        }
        return cast_with_options(column.as_ref(), to, &CastOptions { safe: true, ..CastOptions::default() }).map(Some);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int16Type, Int64Type};
    use arrow_array::{Float64Array, Int64Array, StringArray};

    #[test]
    fn a_key_that_does_not_fit_the_smaller_type_becomes_null_and_finds_nothing() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, 70_000]));
        let narrow = comparable_key(&wide, &DataType::Int16).unwrap().unwrap();
        assert_eq!(narrow.as_primitive::<Int16Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
        assert!(widen(&wide, &DataType::Int16).unwrap().is_none(), "a write refuses the same");
    }

    #[test]
    fn text_is_no_number_and_a_float_is_no_integer() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        assert!(comparable_key(&text, &DataType::Int64).unwrap().is_none());
        let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        assert!(comparable_key(&float, &DataType::Int64).unwrap().is_none());
    }

    #[test]
    fn nulls_without_a_type_fit_everywhere() {
        let nulls = new_null_array(&DataType::Null, 2);
        let widened = widen(&nulls, &DataType::Int64).unwrap().unwrap();
        assert_eq!(widened.as_primitive::<Int64Type>().null_count(), 2);
    }
}
