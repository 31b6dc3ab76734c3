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

/// Bytes of a value that are compared first.
const FIRST_BYTES: usize = 16;

/// The beginning of a value, in an order that knows nulls (first) and NaN (last).
type Key = [u128; KEY_BYTES / FIRST_BYTES];

fn key(row: &[u8]) -> Key {
    let mut key = Key::default();
    for (part, bytes) in key.iter_mut().zip(row.chunks(FIRST_BYTES)) {
        *part = first(bytes);
    }
    key
}

/// The first bytes of a value as a number in the same order.
pub(super) fn first(row: &[u8]) -> u128 {
    let mut bytes = [0; FIRST_BYTES];
    let known = row.len().min(FIRST_BYTES);
    bytes[..known].copy_from_slice(&row[..known]);
    u128::from_be_bytes(bytes)
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

    /// Ranges of so many bits, and the number of the range of each value of the sample, in the order in which they came.
    ///
    /// Samples of columns of the same rows are of the same rows.
    pub(super) fn ranges(self, bits: u32) -> (Ranges, Vec<u32>) {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        let bounds = bounds(&sorted, bits);
        let ranges = Ranges { firsts: Firsts::new(bounds.iter().map(|key| key[0]).collect()), bounds, converter: self.converter };
        let numbers = self.kept.iter().map(|key| ranges.number(key[0], || *key)).collect();
        (ranges, numbers)
    }
}

/// Where each of the ranges but the first begins, of values in their order: about as many are in each.
pub(super) fn bounds<T: Copy>(sorted: &[T], bits: u32) -> Vec<T> {
    let (ranges, len) = (1_usize << bits, sorted.len());
    (1..ranges).filter_map(|nth| sorted.get(nth * len / ranges).copied()).collect()
}

/// Where each range but the first begins. Equal bounds stay: a frequent value takes as much room as it has rows.
pub(super) struct Ranges {
    converter: RowConverter,
    bounds: Vec<Key>,
    /// The beginnings of the bounds.
    firsts: Firsts,
}

/// Sorted numbers, among which others are looked for: a table says where to begin.
struct Firsts {
    numbers: Vec<u128>,
    /// The numbers from the least on are cut into pieces of two to the power of this.
    shift: u32,
    /// Before each piece there are so many numbers, and all behind the last.
    starts: Vec<usize>,
}

impl Firsts {
    /// Pieces for each number: mostly a piece has none or one.
    const PIECES: usize = 4;

    fn new(numbers: Vec<u128>) -> Self {
        let (least, greatest) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
        let pieces = (numbers.len() * Self::PIECES).next_power_of_two();
        let wide = u128::BITS - (greatest - least).leading_zeros();
        let shift = wide.saturating_sub(pieces.trailing_zeros());
        let last = usize::try_from((greatest - least) >> shift).unwrap_or(0);
        let start = |piece: usize| {
            numbers.partition_point(|number| usize::try_from((number - least) >> shift).unwrap_or(usize::MAX) < piece)
        };
        let starts = (0..=last + 1).map(start).collect();
        Self { numbers, shift, starts }
    }

    /// How many numbers are smaller.
    fn below(&self, number: u128) -> usize {
        let Some(above) = self.numbers.first().and_then(|least| number.checked_sub(*least)) else { return 0 };
        let Ok(piece) = usize::try_from(above >> self.shift) else { return self.numbers.len() };
        match self.starts.get(piece..).unwrap_or_default() {
            [start, end, ..] => start + self.numbers[*start..*end].partition_point(|other| *other < number),
            _ => self.numbers.len(),
        }
    }

    fn get(&self, at: usize) -> Option<u128> {
        self.numbers.get(at).copied()
    }
}

impl Ranges {
    /// The range of each value.
    pub(super) fn numbers(&self, values: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        Ok(rows.iter().map(|row| self.number(first(row.as_ref()), || key(row.as_ref()))).collect())
    }

    /// The range of a value, of which more than the beginning is only looked at where it decides.
    fn number(&self, first: u128, key: impl FnOnce() -> Key) -> u32 {
        let mut number = self.firsts.below(first);
        if self.firsts.get(number) == Some(first) {
            let key = key();
            number += self.bounds[number..].partition_point(|bound| *bound <= key);
        }
        u32::try_from(number).unwrap_or(u32::MAX)
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
        let (ranges, sampled) = sample.ranges(bits);
        let numbers = ranges.numbers(&values).unwrap();
        assert_eq!(sampled, numbers);
        numbers
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
        let (ranges, _) = sample.ranges(2);
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
        fn a_number_has_as_many_below_it_as_are_smaller(
            mut numbers in prop::collection::vec(prop_oneof![0..50_u128, any::<u128>(), (0..50_u128).prop_map(|n| u128::MAX - n)], 0..80),
            more in prop::collection::vec(any::<u128>(), 0..20),
        ) {
            numbers.sort_unstable();
            let firsts = Firsts::new(numbers.clone());
            for number in numbers.iter().flat_map(|n| [n.saturating_sub(1), *n, n.saturating_add(1)]).chain(more).chain([0, u128::MAX]) {
                prop_assert_eq!(firsts.below(number), numbers.iter().filter(|other| **other < number).count());
            }
        }

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
