//! Times of any type on one line.
//!
//! A feature row holds *at* its time, a label asks *at* its time, and the two columns may have other units. Rounding
//! the finer one could let a feature from a microsecond after the label through, so both are brought to the finer
//! unit, exactly, or the join fails.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use boathouse_base::Value;

use crate::conform::fineness;
use crate::error::{FeatureError, Result};

/// A unit, and whether the times are instants (with a time zone) or readings of an unnamed clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLine {
    unit: TimeUnit,
    pub(crate) is_instant: bool,
}

impl TimeLine {
    /// The line that values of this type lie on. A date is its midnight, without zone.
    pub(crate) fn of(data_type: &DataType, column: &str, attempt: impl Fn() -> String) -> Result<Self> {
        match data_type {
            DataType::Timestamp(unit, zone) => Ok(Self { unit: *unit, is_instant: zone.is_some() }),
            DataType::Date32 => Ok(Self { unit: TimeUnit::Second, is_instant: false }),
            DataType::Date64 => Ok(Self { unit: TimeUnit::Millisecond, is_instant: false }),
            other => Err(FeatureError::TimestampType { attempt: attempt(), column: column.to_owned(), data_type: other.clone() }),
        }
    }

    /// The line with the finer unit, if both are of one family.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        let finer = if fineness(self.unit) >= fineness(other.unit) { self } else { other };
        (self.is_instant == other.is_instant).then_some(finer)
    }

    fn per_second(self) -> i64 {
        1000_i64.pow(fineness(self.unit))
    }

    fn unit_name(self) -> &'static str {
        match self.unit {
            TimeUnit::Second => "seconds",
            TimeUnit::Millisecond => "milliseconds",
            TimeUnit::Microsecond => "microseconds",
            TimeUnit::Nanosecond => "nanoseconds",
        }
    }

    /// A duration, rounded down: ages are whole units, so `age <= duration` stays as it is.
    pub(crate) fn units_of_us(self, us: u64) -> i64 {
        let units = i128::from(us) * i128::from(self.per_second()) / 1_000_000;
        i64::try_from(units).unwrap_or(i64::MAX)
    }

    /// Microseconds since the epoch, rounded down.
    pub(crate) fn to_us(self, at: i64) -> i64 {
        let us = (i128::from(at) * 1_000_000).div_euclid(i128::from(self.per_second()));
        i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
    }

    /// The times of a column on this line; `None` where there is none.
    pub(crate) fn read(self, array: &ArrayRef, column: &str, attempt: impl Fn() -> String) -> Result<Times> {
        let own = Self::of(array.data_type(), column, &attempt)?;
        let factor = self.per_second() / own.per_second();
        let (factor, values): (i64, Vec<i64>) = match array.data_type() {
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>().values();
                (factor, days.iter().map(|day| i64::from(*day) * 86_400).collect())
            }
            DataType::Date64 => (factor, array.as_primitive::<Date64Type>().values().to_vec()),
            DataType::Timestamp(TimeUnit::Second, _) => (factor, array.as_primitive::<TimestampSecondType>().values().to_vec()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                (factor, array.as_primitive::<TimestampMillisecondType>().values().to_vec())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                (factor, array.as_primitive::<TimestampMicrosecondType>().values().to_vec())
            }
            _ => (factor, array.as_primitive::<TimestampNanosecondType>().values().to_vec()),
        };
        let mut times = Times { values, valid: None };
        if array.null_count() > 0 {
            times.valid = Some((0..array.len()).map(|row| array.is_valid(row)).collect());
        }
        if factor > 1 {
            for row in 0..times.values.len() {
                let value = times.values[row];
                // The value below a null is arbitrary.
                times.values[row] = match value.checked_mul(factor) {
                    Some(scaled) => scaled,
                    None if times.at(row).is_none() => 0,
                    None => {
                        let (column, unit) = (column.to_owned(), self.unit_name());
                        return Err(FeatureError::TimestampOverflow { attempt: attempt(), column, value, unit });
                    }
                };
            }
        }
        Ok(times)
    }

    /// A time as a value that a column of `data_type` can be compared with, for skipping: not above it
    /// (`Rounding::Down`) or not below it.
    pub(crate) fn bound(self, at: i64, data_type: &DataType, rounding: Rounding) -> Option<Value> {
        let round = |unit: i64| match rounding {
            Rounding::Down => at.div_euclid(unit),
            Rounding::Up => at.div_euclid(unit) + i64::from(at.rem_euclid(unit) != 0),
        };
        let us = || {
            let per_us = self.per_second() / 1_000_000;
            if per_us > 1 { Some(round(per_us)) } else { at.checked_mul(1_000_000 / self.per_second()) }
        };
        match data_type {
            DataType::Timestamp(_, Some(_)) => Some(Value::Timestamp(us()?)),
            DataType::Timestamp(_, None) => Some(Value::TimestampNtz(us()?)),
            DataType::Date32 => Some(Value::Date(i32::try_from(round(self.per_second().checked_mul(86_400)?)).ok()?)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Down,
    Up,
}

/// The times of a column.
#[derive(Debug)]
pub(crate) struct Times {
    values: Vec<i64>,
    valid: Option<Vec<bool>>,
}

impl Times {
    pub(crate) fn at(&self, row: usize) -> Option<i64> {
        match &self.valid {
            Some(valid) if !valid[row] => None,
            _ => Some(self.values[row]),
        }
    }

    /// The earliest and the latest.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let times = (0..self.values.len()).filter_map(|row| self.at(row));
        times.fold(None, |range, at| {
            let (low, high) = range.unwrap_or((at, at));
            Some((low.min(at), high.max(at)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Date32Array, TimestampMillisecondArray};
    use std::sync::Arc;

    fn line(unit: TimeUnit) -> TimeLine {
        TimeLine { unit, is_instant: false }
    }

    #[test]
    fn coarser_times_are_multiplied_and_nothing_is_rounded() {
        let ms: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(2)]));
        let times = line(TimeUnit::Nanosecond).read(&ms, "t", String::new).unwrap();
        assert_eq!([times.at(0), times.at(1), times.at(2)], [Some(-1_000_000), None, Some(2_000_000)]);
        assert_eq!(times.range(), Some((-1_000_000, 2_000_000)));
        let days: ArrayRef = Arc::new(Date32Array::from(vec![2]));
        assert_eq!(line(TimeUnit::Second).read(&days, "t", String::new).unwrap().at(0), Some(172_800));
    }

    #[test]
    fn a_time_beyond_the_finer_unit_is_an_error_that_names_it() {
        let far: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![253_402_300_799_000]));
        let error = line(TimeUnit::Nanosecond).read(&far, "t", || "join".into()).unwrap_err();
        assert!(error.to_string().contains("253402300799000") && error.to_string().contains("`t`"), "{error}");
    }

    #[test]
    fn bounds_are_rounded_outwards_as_asked() {
        let ns = line(TimeUnit::Nanosecond);
        let plain = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert_eq!(ns.bound(1_500, &plain, Rounding::Up), Some(Value::TimestampNtz(2)));
        assert_eq!(ns.bound(-1_500, &plain, Rounding::Down), Some(Value::TimestampNtz(-2)));
        assert_eq!(line(TimeUnit::Second).bound(86_401, &DataType::Date32, Rounding::Up), Some(Value::Date(2)));
        assert_eq!(line(TimeUnit::Second).bound(86_401, &DataType::Date32, Rounding::Down), Some(Value::Date(1)));
    }

    #[test]
    fn ages_are_exact_in_the_common_unit() {
        assert_eq!(line(TimeUnit::Second).units_of_us(1_999_999), 1);
        assert_eq!(line(TimeUnit::Nanosecond).units_of_us(3), 3_000);
        assert_eq!(line(TimeUnit::Nanosecond).to_us(-1), -1);
    }
}
