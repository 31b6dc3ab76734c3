//! The values of a column of the source, as a predicate over the table: one by one while they are few, and then as ranges.

use std::cmp::Ordering;

use boathouse_base::{Comparison, Predicate, Value};

/// So many values are looked for one by one; more than that, in ranges.
const SINGLE_VALUES: usize = 256;
/// More values than that are looked for in so many ranges.
const SPANS: usize = 64;
/// Values that are held before they become ranges.
const WAITING: usize = 1 << 16;
/// Ranges that are held while values still come.
const HELD: usize = 1 << 13;

/// The values so far. It takes a few megabytes, however many they are.
#[derive(Debug, Default)]
pub(super) struct Spans {
    waiting: Vec<Value>,
    /// In order, apart from each other; both ends belong to a range.
    ranges: Vec<(Value, Value)>,
    has_no_order: bool,
}

impl Spans {
    /// Adds a value that is not null.
    pub(super) fn add(&mut self, value: Value) {
        if self.has_no_order {
            return;
        }
        self.waiting.push(value);
        if self.waiting.len() >= WAITING {
            self.settle(HELD);
        }
    }

    /// The column is one of the values. `None` when they have no common order.
    pub(super) fn among(mut self, column: &str) -> Option<Predicate> {
        self.settle(HELD);
        if self.has_no_order {
            return None;
        }
        if self.ranges.is_empty() {
            return Some(Predicate::Literal(false));
        }
        let single = |(least, greatest): &(Value, Value)| least.compare(greatest) == Some(Ordering::Equal);
        if self.ranges.len() <= SINGLE_VALUES && self.ranges.iter().all(single) {
            let mut values: Vec<Value> = self.ranges.into_iter().map(|(value, _)| value).collect();
            values.shrink_to_fit();
            return Some(Predicate::In { column: column.to_owned(), values });
        }
        self.settle(SPANS);
        let span = |(least, greatest): (Value, Value)| {
            let least = Predicate::compare(column, Comparison::GtEq, least);
            least.and(Predicate::compare(column, Comparison::LtEq, greatest))
        };
        let mut spans: Vec<Predicate> = self.ranges.into_iter().map(span).collect();
        if spans.len() == 1 { spans.pop() } else { Some(Predicate::Or(spans)) }
    }

    /// What waits becomes ranges, so many at most: cut at the widest gaps between them, where there are widths.
    fn settle(&mut self, most: usize) {
        let mut all = std::mem::take(&mut self.ranges);
        all.extend(self.waiting.drain(..).map(|value| (value.clone(), value)));
        let Some((first, _)) = all.first().cloned() else { return };
        if all.iter().any(|(value, _)| value.compare(&first).is_none()) {
            *self = Self { has_no_order: true, ..Self::default() };
            return;
        }
        let order = |a: &Value, b: &Value| a.compare(b).unwrap_or(Ordering::Equal);
        all.sort_by(|a, b| order(&a.0, &b.0).then_with(|| order(&b.1, &a.1)));
        // One that begins within the one before is a part of it: ranges were apart, and all others are single values.
        all.dedup_by(|next, before| order(&next.0, &before.1) != Ordering::Greater);
        if all.len() <= most {
            all.shrink_to_fit();
            self.ranges = all;
            return;
        }
        let gaps = all.windows(2).enumerate().filter_map(|(at, pair)| Some((gap(&pair[0].1, &pair[1].0)?, at + 1)));
        let mut gaps: Vec<(u128, usize)> = gaps.filter(|(gap, _)| *gap > 1).collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        gaps.truncate(most - 1);
        let mut cuts: Vec<usize> = gaps.into_iter().map(|(_, at)| at).collect();
        cuts.sort_unstable();
        let mut cuts = cuts.into_iter().peekable();
        for (at, (least, greatest)) in all.into_iter().enumerate() {
            let begins = cuts.next_if_eq(&at).is_some();
            match self.ranges.last_mut() {
                Some(last) if !begins => last.1 = greatest,
                _ => self.ranges.push((least, greatest)),
            }
        }
    }
}

/// How far two values are from each other; nothing where that is no number.
fn gap(a: &Value, b: &Value) -> Option<u128> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => b.abs_diff(*a).into(),
        (Value::TimestampNtz(a), Value::TimestampNtz(b)) => b.abs_diff(*a).into(),
        (Value::Date(a), Value::Date(b)) => b.abs_diff(*a).into(),
        (Value::Decimal { unscaled: a, scale: of_a }, Value::Decimal { unscaled: b, scale: of_b }) if of_a == of_b => {
            b.abs_diff(*a)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn among(column: &str, values: impl IntoIterator<Item = Value>) -> Option<Predicate> {
        let mut spans = Spans::default();
        values.into_iter().for_each(|value| spans.add(value));
        spans.among(column)
    }

    #[test]
    fn few_values_are_named_and_many_lie_in_ranges_without_the_widest_gaps() {
        let ints = |values: Vec<i64>| values.into_iter().map(Value::Int).collect::<Vec<_>>();
        assert_eq!(among("k", Vec::new()), Some(Predicate::Literal(false)));
        assert!(matches!(among("k", ints(vec![3, 1, 3])), Some(Predicate::In { values, .. }) if values == ints(vec![1, 3])));
        let clusters: Vec<i64> = (0..1000).map(|n| n / 500 * 1_000_000 + n).collect();
        let predicate = among("k", ints(clusters.clone())).unwrap();
        let matches = |k: i64| predicate.matches(&|_: &str| Value::Int(k)) == Some(true);
        assert!(clusters.iter().all(|k| matches(*k)));
        assert!(!matches(-1) && !matches(500_000) && !matches(1_001_000));
        let names: Vec<Value> = (0..300).map(|n| Value::String(format!("{n:04}"))).collect();
        assert_eq!(among("k", names).unwrap().to_string(), "k >= '0000' AND k <= '0299'");
        assert_eq!(among("k", [Value::Int(1), Value::String("a".to_owned())]), None);
    }

    #[test]
    fn of_many_values_each_is_found_and_the_widest_gaps_stay_open() {
        let clusters = |n: i64| n % 5 * 1_000_000_000 + n * 7 % 300_000;
        let predicate = among("k", (0..300_000).map(|n| Value::Int(clusters(n)))).unwrap();
        let matches = |k: i64| predicate.matches(&|_: &str| Value::Int(k)) == Some(true);
        assert!((0..300_000).all(|n| matches(clusters(n))));
        assert!((0..4).all(|n| !matches(n * 1_000_000_000 + 500_000_000)));
    }

    proptest! {
        #[test]
        fn every_value_is_within_whatever_the_order(values in prop::collection::vec(-1000_i64..1000, 0..600), most in 1_usize..40) {
            let mut spans = Spans::default();
            for chunk in values.chunks(7) {
                spans.waiting.extend(chunk.iter().map(|value| Value::Int(*value)));
                spans.settle(most);
                prop_assert!(spans.ranges.len() <= most);
            }
            let ranges: Vec<(i64, i64)> = spans.ranges.iter().map(|range| match range {
                (Value::Int(least), Value::Int(greatest)) => (*least, *greatest),
                other => panic!("{other:?}"),
            }).collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert!(values.iter().all(|value| ranges.iter().any(|(least, greatest)| (least..=greatest).contains(&value))));
        }
    }
}
