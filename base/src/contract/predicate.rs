//! The contract between predicates and bounds: skipping loses no row.

use crate::env::{Env, ManualClock};
use crate::predicate::{Bounds, Comparison, Predicate};
use crate::value::Value;

const OPS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// Checks that `bounds` are true of a set of rows: no predicate that some row matches is excluded by them.
///
/// `value(row, column)` gives the values of `rows` rows. Tries every comparison of every column with every value that
/// occurs and its neighbours, and then `count` random trees of them, which follow from `seed`.
pub fn predicate_bounds(
    bounds: &impl Bounds,
    columns: &[&str],
    rows: usize,
    value: impl Fn(usize, &str) -> Value,
    seed: u64,
    count: usize,
) {
    let leaves = leaves(columns, rows, &value);
    for leaf in &leaves {
        check(bounds, leaf, rows, &value, seed);
        check(bounds, &leaf.clone().negate(), rows, &value, seed);
    }
    let chance = Env::new(ManualClock::default(), seed);
    for _ in 0..count {
        check(bounds, &tree(&chance, &leaves, 4), rows, &value, seed);
    }
}

fn check(bounds: &impl Bounds, predicate: &Predicate, rows: usize, value: &impl Fn(usize, &str) -> Value, seed: u64) {
    if predicate.may_match(bounds) {
        return;
    }
    for row in 0..rows {
        let truth = predicate.matches(&|column: &str| value(row, column));
        assert_ne!(truth, Some(true), "seed {seed}: row {row} matches `{predicate}`, and its bounds exclude it");
    }
}

fn leaves(columns: &[&str], rows: usize, value: &impl Fn(usize, &str) -> Value) -> Vec<Predicate> {
    let mut leaves = vec![Predicate::Literal(true), Predicate::Literal(false)];
    for column in columns {
        leaves.push(Predicate::IsNull((*column).to_owned()));
        let mut literals: Vec<Value> = vec![Value::Null];
        for found in (0..rows.min(64)).map(|row| value(row, column)) {
            for literal in neighbours(found) {
                if !literals.contains(&literal) {
                    literals.push(literal);
                }
            }
        }
        for literal in &literals {
            leaves.extend(OPS.map(|op| Predicate::compare(*column, op, literal.clone())));
        }
        for pair in literals.windows(2) {
            leaves.push(Predicate::In { column: (*column).to_owned(), values: pair.to_vec() });
        }
        leaves.push(Predicate::In { column: (*column).to_owned(), values: Vec::new() });
        leaves.push(Predicate::In { column: (*column).to_owned(), values: literals });
    }
    leaves
}

/// The value, and values just beside it.
fn neighbours(value: Value) -> Vec<Value> {
    match value {
        Value::Int(v) => [v.checked_sub(1), Some(v), v.checked_add(1)].into_iter().flatten().map(Value::Int).collect(),
        Value::Float(v) => vec![Value::Float(v.next_down()), Value::Float(v), Value::Float(v.next_up()), Value::Float(f64::NAN)],
        Value::String(v) => vec![Value::String(String::new()), Value::String(format!("{v}\0")), Value::String(v)],
        Value::Date(v) => vec![Value::Date(v.saturating_sub(1)), Value::Date(v), Value::Date(v.saturating_add(1))],
        Value::Timestamp(v) => {
            [v.checked_sub(1), Some(v), v.checked_add(1)].into_iter().flatten().map(Value::Timestamp).collect()
        }
        Value::TimestampNtz(v) => {
            [v.checked_sub(1), Some(v), v.checked_add(1)].into_iter().flatten().map(Value::TimestampNtz).collect()
        }
        Value::Decimal { unscaled, scale } => [unscaled.checked_sub(1), Some(unscaled), unscaled.checked_add(1)]
            .into_iter()
            .flatten()
            .map(|unscaled| Value::Decimal { unscaled, scale })
            .collect(),
        other => vec![other],
    }
}

fn tree(chance: &Env, leaves: &[Predicate], depth: u32) -> Predicate {
    let leaf = || leaves[usize::try_from(chance.random_below(leaves.len() as u64)).unwrap()].clone();
    let children = || (0..chance.random_below(4)).map(|_| tree(chance, leaves, depth - 1)).collect();
    match if depth == 0 { 0 } else { chance.random_below(6) } {
        0 | 1 => leaf(),
        2 | 3 => Predicate::And(children()),
        4 => Predicate::Or(children()),
        _ => tree(chance, leaves, depth - 1).negate(),
    }
}
