//! Values as a column of the table wants them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use datafusion::arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Field};
use datafusion::arrow::util::display::array_value_to_string;

use super::error::{Attempt, EngineError, Result};

/// Casts values to the type of a column.
///
/// A cast that changes a value is an error. Two may: a number becomes the nearest `float`, which is what floats are,
/// and text becomes what it says, as long as a decimal has room for all its digits.
pub(crate) fn to_column(values: ArrayRef, field: &Field, attempt: &Attempt) -> Result<ArrayRef> {
    let (from, to) = (values.data_type(), field.data_type());
    if from == to {
        return Ok(values);
    }
    if *from == DataType::Null {
        return Ok(new_null_array(to, values.len()));
    }
    let (attempted, url, column) = (attempt.attempted, attempt.url.clone(), field.name().clone());
    let (boxed_from, boxed_to) = (Box::new(from.clone()), Box::new(to.clone()));
    if !can_cast_types(from, to) {
        return Err(EngineError::NoCast { attempted, url, column, from: boxed_from, to: boxed_to });
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let digits = match to {
        // Text would be rounded on the way.
        DataType::Decimal128(_, scale) if is_text(from) => cast_with_options(&values, &more_digits(*scale), &strict).ok(),
        _ => None,
    };
    let read = digits.as_ref().unwrap_or(&values);
    let cast = match cast_with_options(read, to, &strict) {
        Ok(cast) => cast,
        Err(source) => return Err(EngineError::Cast { attempted, url, column, from: boxed_from, to: boxed_to, source }),
    };
    if may_lose(read.data_type(), to) {
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        let back = cast_with_options(&cast, read.data_type(), &lenient).map_err(|source| attempt.compute(source))?;
        let changed = distinct(read, &back).map_err(|source| attempt.compute(source))?;
        if let Some(row) = changed.iter().position(|c| c == Some(true)) {
            let value = array_value_to_string(&values, row).map_err(|source| attempt.compute(source))?;
            return Err(EngineError::Lossy { attempted, url, column, value, from: boxed_from, to: boxed_to });
        }
    }
    Ok(cast)
}

/// A decimal with more digits behind the point than one of this scale, so that they can be missed.
pub(crate) fn more_digits(scale: i8) -> DataType {
    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale.saturating_add(12))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn may_lose(from: &DataType, to: &DataType) -> bool {
    let text = is_text;
    let layout =
        |t: &DataType| matches!(t, DataType::Dictionary(..) | DataType::BinaryView | DataType::LargeBinary | DataType::Binary);
    if text(from) || text(to) || layout(from) || from.is_nested() || to.is_nested() {
        return false;
    }
    !matches!((from, to), (DataType::Float64, DataType::Float32))
}

/// A field like this one that allows nulls.
pub(crate) fn nullable(field: &Field) -> Arc<Field> {
    Arc::new(field.clone().with_nullable(true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use datafusion::arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn cast(values: impl Array + 'static, to: DataType) -> Result<ArrayRef> {
        to_column(Arc::new(values), &Field::new("x", to, true), &Attempt::new("update", "memory:///t"))
    }

    #[test]
    fn a_value_that_would_change_is_refused_with_the_column_and_the_value() {
        let error = cast(Float64Array::from(vec![1.0, 1.5]), DataType::Int32).unwrap_err();
        assert!(matches!(&error, EngineError::Lossy { column, value, .. } if column == "x" && value == "1.5"), "{error}");
        let error = cast(Int64Array::from(vec![1 << 40]), DataType::Int32).unwrap_err();
        assert!(matches!(error, EngineError::Cast { .. }), "{error}");
        let cents = Decimal128Array::from(vec![1005]).with_precision_and_scale(10, 3).unwrap();
        assert!(matches!(cast(cents, DataType::Decimal128(10, 2)).unwrap_err(), EngineError::Lossy { .. }));
        let error = cast(StringArray::from(vec!["1.25", "1.255"]), DataType::Decimal128(38, 2)).unwrap_err();
        assert!(matches!(&error, EngineError::Lossy { value, .. } if value == "1.255"), "{error}");
    }

    #[test]
    fn a_value_that_stays_the_same_is_cast() {
        assert_eq!(cast(Float64Array::from(vec![Some(2.0), None]), DataType::Int32).unwrap().null_count(), 1);
        assert_eq!(cast(StringArray::from(vec!["1.2500", "-0"]), DataType::Decimal128(4, 2)).unwrap().len(), 2);
        assert_eq!(cast(StringArray::from(vec!["2020-01-05"]), DataType::Date32).unwrap().len(), 1);
        assert_eq!(cast(Float64Array::from(vec![0.1]), DataType::Float32).unwrap().len(), 1);
    }

    #[test]
    fn text_that_does_not_say_a_value_of_the_type_is_refused() {
        assert!(matches!(cast(StringArray::from(vec!["soon"]), DataType::Date32).unwrap_err(), EngineError::Cast { .. }));
    }
}
