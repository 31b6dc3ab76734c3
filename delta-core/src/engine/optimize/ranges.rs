//! Values as numbers of ranges that hold about as many rows each.
//!
//! A value becomes the share of rows below it. So columns of any type, scale and skew count alike on a curve, and a
//! column of seven values is spread over all ranges like one of a million.

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};

/// Values that are kept to find the ranges: between half of it and all.
const SAMPLE: usize = 1 << 17;
/// Bytes of a value that count. They are in the order of the values.
const KEY_BYTES: usize = 64;

/// The beginning of a value, in an order that knows nulls (first) and NaN (last).
type Key = [u128; KEY_BYTES / 16];

fn key(row: &[u8]) -> Key {
    let mut bytes = [0; KEY_BYTES];
    let known = row.len().min(KEY_BYTES);
    bytes[..known].copy_from_slice(&row[..known]);
    let mut key = Key::default();
    for (part, bytes) in key.iter_mut().zip(bytes.chunks_exact(16)) {
        *part = bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
    }
    key
}

/// Every so many rows one value: more rows, larger steps. The same rows give the same sample.
pub(super) struct Sample {
    converter: RowConverter,
    kept: Vec<Key>,
    most: usize,
    step: usize,
    /// Rows before the next one that is kept.
    skip: usize,
}

impl Sample {
    pub(super) fn new(data_type: &DataType) -> Result<Self, ArrowError> {
        Self::of(data_type, SAMPLE)
    }

    fn of(data_type: &DataType, most: usize) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { converter, kept: Vec::new(), most, step: 1, skip: 0 })
    }

    pub(super) fn add(&mut self, values: &ArrayRef) -> Result<(), ArrowError> {
        let mut places = Vec::new();
        let mut at = self.skip;
        while at < values.len() {
            places.push(u32::try_from(at).unwrap_or(u32::MAX));
            at += self.step;
        }
        self.skip = at - values.len();
        let chosen = match self.step {
            1 => std::sync::Arc::clone(values),
            _ => take(values, &UInt32Array::from(places), None)?,
        };
        let rows = self.converter.convert_columns(&[chosen])?;
        self.kept.extend(rows.iter().map(|row| key(row.as_ref())));
        while self.kept.len() > self.most {
            // Every second one stays.
            let (next, step) = (self.kept.len() % 2, self.step);
            let mut odd = false;
            self.kept.retain(|_| {
                odd = !odd;
                odd
            });
            self.skip += next * step;
            self.step *= 2;
        }
        Ok(())
    }

    /// Ranges of so many bits.
    pub(super) fn ranges(mut self, bits: u32) -> Ranges {
        self.kept.sort_unstable();
        let (ranges, len) = (1_usize << bits, self.kept.len());
        let bounds = (1..ranges).filter_map(|nth| self.kept.get(nth * len / ranges).copied()).collect();
        Ranges { converter: self.converter, bounds }
    }
}

/// Where each range but the first begins. Equal bounds stay: a frequent value takes as much room as it has rows.
pub(super) struct Ranges {
    converter: RowConverter,
    bounds: Vec<Key>,
}

impl Ranges {
    /// The range of each value.
    pub(super) fn numbers(&self, values: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        let number = |row: &[u8]| {
            let key = key(row);
            u32::try_from(self.bounds.partition_point(|bound| *bound <= key)).unwrap_or(u32::MAX)
        };
        Ok(rows.iter().map(|row| number(row.as_ref())).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use datafusion::arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn numbers(values: ArrayRef, bits: u32) -> Vec<u32> {
        let mut sample = Sample::new(values.data_type()).unwrap();
        sample.add(&values).unwrap();
        sample.ranges(bits).numbers(&values).unwrap()
    }

    #[test]
    fn values_of_every_type_are_in_order_with_nulls_first_and_nan_last() {
        let floats =
            Float64Array::from(vec![None, Some(f64::NEG_INFINITY), Some(-1.0), Some(0.5), Some(f64::INFINITY), Some(f64::NAN)]);
        let texts =
            StringArray::from(vec![None, Some(""), Some("a"), Some("a much longer text than a key of thirteen"), Some("b")]);
        let decimals = Decimal128Array::from(vec![None, Some(-5), Some(0), Some(7)]).with_precision_and_scale(20, 2).unwrap();
        for values in [Arc::new(floats) as ArrayRef, Arc::new(texts), Arc::new(decimals)] {
            let found = numbers(values, 3);
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
        }
    }

    #[test]
    fn few_values_are_spread_over_all_ranges() {
        let values: Int64Array = (0..7000).map(|row| row % 7).collect();
        let mut found = numbers(Arc::new(values), 10);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 7);
        assert!(found.windows(2).all(|pair| pair[1] - pair[0] > 100), "{found:?}");
    }

    #[test]
    fn a_sample_of_many_rows_is_small_and_even() {
        let mut sample = Sample::of(&DataType::Int64, 100).unwrap();
        for start in (0..100_000).step_by(333) {
            sample.add(&(Arc::new((start..start + 333).map(Some).collect::<Int64Array>()) as ArrayRef)).unwrap();
        }
        assert!((50..=100).contains(&sample.kept.len()), "{}", sample.kept.len());
        let ranges = sample.ranges(2);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![5_000, 30_000, 60_000, 95_000]));
        assert_eq!(ranges.numbers(&values).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn without_rows_there_is_one_range() {
        let empty: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        assert_eq!(numbers(empty, 10), Vec::<u32>::new());
    }

    proptest! {
        #[test]
        fn a_smaller_value_is_never_in_a_higher_range(values in prop::collection::vec(prop::option::of(any::<i64>()), 1..300)) {
            let found = numbers(Arc::new(Int64Array::from(values.clone())), 4);
            for (a, x) in values.iter().zip(&found) {
                for (b, y) in values.iter().zip(&found) {
                    prop_assert!(a > b || x <= y);
                }
            }
        }
    }
}
