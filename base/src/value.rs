//! Single values: literals of predicates, partition values, statistics.

use std::cmp::Ordering;
use std::fmt;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;

/// A typed value; [`Null`](Self::Null) is the SQL null of any type.
///
/// Equality (`==`) is structural. SQL comparison, where null is unknown and numbers of different
/// types compare by size, is [`compare`](Self::compare).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Unknown.
    Null,
    /// True or false.
    Boolean(bool),
    /// Any signed integer up to 64 bits.
    Int(i64),
    /// A float of 32 or 64 bits.
    Float(f64),
    /// `unscaled × 10^-scale`.
    Decimal {
        /// The digits.
        unscaled: i128,
        /// Digits after the point.
        scale: i8,
    },
    /// Text.
    String(String),
    /// Bytes.
    Binary(Bytes),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since the Unix epoch, an instant (UTC).
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00 of an unnamed local clock.
    TimestampNtz(i64),
}

impl Value {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value of a row of an array; `None` for a type that has no [`Value`], and for a timestamp that is no
    /// whole number of microseconds or too far away to be one.
    ///
    /// # Example
    /// ```
    /// use arrow_array::Int32Array;
    /// use boathouse_base::Value;
    ///
    /// let delays = Int32Array::from(vec![Some(45), None]);
    /// assert_eq!(Value::at(&delays, 0), Some(Value::Int(45)));
    /// assert_eq!(Value::at(&delays, 1), Some(Value::Null));
    /// ```
    pub fn at(array: &dyn Array, row: usize) -> Option<Self> {
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
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                let ns = array.as_primitive::<TimestampNanosecondType>().value(row);
                (ns % 1_000 == 0).then(|| instant(ns / 1_000, zone.is_some()))?
            }
            DataType::Timestamp(TimeUnit::Second, zone) => {
                instant(array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)?, zone.is_some())
            }
            _ => return None,
        })
    }

    /// Compares as SQL does: `None` when either side is null, when a float is not a number, or when the
    /// types have no common order (text with a number).
    ///
    /// An instant and a local timestamp have no common order.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        use Value::{Binary, Boolean, Date, Decimal, Float, Int, String, Timestamp, TimestampNtz};
        match (self, other) {
            (Boolean(a), Boolean(b)) => Some(a.cmp(b)),
            (Int(a), Int(b)) => Some(a.cmp(b)),
            (Float(a), Float(b)) => a.partial_cmp(b),
            (Int(a), Float(b)) => int_float(*a, *b),
            (Float(a), Int(b)) => int_float(*b, *a).map(Ordering::reverse),
            (Decimal { unscaled: a, scale: s }, Decimal { unscaled: b, scale: t }) => Some(decimals(*a, *s, *b, *t)),
            (Decimal { unscaled, scale }, Int(b)) => Some(decimals(*unscaled, *scale, i128::from(*b), 0)),
            (Int(a), Decimal { unscaled, scale }) => Some(decimals(i128::from(*a), 0, *unscaled, *scale)),
            (String(a), String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Binary(a), Binary(b)) => Some(a.cmp(b)),
            (Date(a), Date(b)) => Some(a.cmp(b)),
            (Timestamp(a), Timestamp(b)) | (TimestampNtz(a), TimestampNtz(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Exact: an `i64` has more digits than an `f64` holds.
fn int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // 2^63 is exact as f64; every float at or above it is above every i64.
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    #[allow(clippy::cast_possible_truncation)]
    let order = int.cmp(&(whole as i64));
    Some(order.then(if float > whole {
        Ordering::Less
    } else if float < whole {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

fn decimals(a: i128, a_scale: i8, b: i128, b_scale: i8) -> Ordering {
    let digits = u32::from(a_scale.abs_diff(b_scale));
    // Scaling up can overflow; then that side is larger by magnitude, and its sign decides.
    let scaled = |x: i128| 10_i128.checked_pow(digits).and_then(|p| x.checked_mul(p));
    if a_scale < b_scale {
        scaled(a).map_or_else(|| a.cmp(&0), |a| a.cmp(&b))
    } else {
        scaled(b).map_or_else(|| 0.cmp(&b), |b| a.cmp(&b))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
            Self::Decimal { unscaled, scale } => write!(f, "{unscaled}e{}", -i16::from(*scale)),
            Self::String(v) => write!(f, "'{}'", v.replace('\'', "''")),
            Self::Binary(v) => {
                f.write_str("X'")?;
                v.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                f.write_str("'")
            }
            Self::Date(v) => write!(f, "DATE({v})"),
            Self::Timestamp(v) => write!(f, "TIMESTAMP({v}us)"),
            Self::TimestampNtz(v) => write!(f, "TIMESTAMP_NTZ({v}us)"),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from!(bool => Boolean, i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int, f32 => Float, f64 => Float,
      &str => String, String => String, Bytes => Binary);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_is_exact_where_floats_are_not() {
        assert_eq!(Value::Int(i64::MAX).compare(&Value::Float(9.223_372_036_854_776e18)), Some(Ordering::Less));
        assert_eq!(Value::Int(3).compare(&Value::Float(3.5)), Some(Ordering::Less));
        assert_eq!(Value::Float(-3.5).compare(&Value::Int(-3)), Some(Ordering::Less));
        assert_eq!(Value::Int(9_007_199_254_740_993).compare(&Value::Float(9_007_199_254_740_992.0)), Some(Ordering::Greater));
        assert_eq!(Value::Float(f64::NAN).compare(&Value::Int(0)), None);
    }

    #[test]
    fn compare_decimals_of_any_scale() {
        let d = |unscaled, scale| Value::Decimal { unscaled, scale };
        assert_eq!(d(150, 2).compare(&d(15, 1)), Some(Ordering::Equal));
        assert_eq!(d(i128::MAX, 0).compare(&d(1, 38)), Some(Ordering::Greater));
        assert_eq!(d(i128::MIN, 0).compare(&d(1, 38)), Some(Ordering::Less));
        assert_eq!(d(199, 2).compare(&Value::Int(2)), Some(Ordering::Less));
    }

    #[test]
    fn compare_is_unknown_for_nulls_and_mixed_types() {
        assert_eq!(Value::Null.compare(&Value::Null), None);
        assert_eq!(Value::from("1").compare(&Value::Int(1)), None);
        assert_eq!(Value::Timestamp(1).compare(&Value::TimestampNtz(1)), None);
    }
}
