//! Skipping never loses a row: bounds made of rows, against the rows themselves.

use boathouse_base::{Bounds, ColumnBounds, Predicate, Value, contract};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Rows {
    columns: Vec<Vec<Value>>,
    rows: usize,
    /// Whether bounds are known, by column.
    known: Vec<bool>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Rows {
    fn at(column: &str) -> usize {
        NAMES.iter().position(|name| *name == column).unwrap()
    }

    fn extreme(&self, column: usize, wanted: std::cmp::Ordering) -> Option<Value> {
        let values = self.columns[column].iter().filter(|v| !v.is_null() && v.compare(v).is_some());
        values.cloned().reduce(|best, v| if v.compare(&best) == Some(wanted) { v } else { best })
    }
}

impl Bounds for Rows {
    fn row_count(&self) -> Option<u64> {
        Some(self.rows as u64)
    }

    fn column(&self, column: &str) -> ColumnBounds {
        let at = Self::at(column);
        if !self.known[at] {
            return ColumnBounds::default();
        }
        ColumnBounds {
            min: self.extreme(at, std::cmp::Ordering::Less),
            max: self.extreme(at, std::cmp::Ordering::Greater),
            null_count: Some(self.columns[at].iter().filter(|v| v.is_null()).count() as u64),
        }
    }
}

fn int() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 5 => (-3_i64..4).prop_map(Value::Int)]
}

fn float() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => Just(Value::Float(f64::NAN)),
        1 => Just(Value::Float(-0.0)),
        4 => (-4_i8..4).prop_map(|v| Value::Float(f64::from(v) / 2.0)),
    ]
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 5 => "[ab]{0,3}".prop_map(Value::String)]
}

fn rows() -> impl Strategy<Value = Rows> {
    (0_usize..6).prop_flat_map(|rows| {
        let columns = (
            prop::collection::vec(int(), rows),
            prop::collection::vec(float(), rows),
            prop::collection::vec(text(), rows),
            prop::collection::vec(any::<bool>(), 3),
        );
        columns.prop_map(move |(a, b, c, known)| Rows { columns: vec![a, b, c], rows, known })
    })
}

proptest! {
    #[test]
    fn bounds_of_rows_exclude_no_predicate_that_a_row_matches(rows in rows(), seed: u64) {
        let value = |row: usize, column: &str| rows.columns[Rows::at(column)][row].clone();
        contract::predicate_bounds(&rows, &NAMES, rows.rows, value, seed, 200);
    }
}

/// One column, all sets of up to three of these values, all trees of two comparisons: nothing is left to chance.
#[test]
fn every_small_set_of_rows_and_every_pair_of_comparisons_agree() {
    let pool = [Value::Null, Value::Int(0), Value::Int(1), Value::Float(f64::NAN), Value::Float(0.5)];
    let ops = ["=", "<>", "<", "<=", ">", ">="];
    let comparisons = [
        boathouse_base::Comparison::Eq,
        boathouse_base::Comparison::NotEq,
        boathouse_base::Comparison::Lt,
        boathouse_base::Comparison::LtEq,
        boathouse_base::Comparison::Gt,
        boathouse_base::Comparison::GtEq,
    ];
    assert_eq!(comparisons.map(|op| op.to_string()), ops);
    let mut leaves = vec![Predicate::IsNull("a".into())];
    for op in comparisons {
        leaves.extend(pool.iter().map(|literal| Predicate::compare("a", op, literal.clone())));
    }
    leaves.push(Predicate::In { column: "a".into(), values: vec![Value::Int(0), Value::Null] });
    leaves.push(Predicate::In { column: "a".into(), values: vec![Value::Int(0), Value::Int(1)] });
    let mut checked = 0_u64;
    for set in 0..pool.len().pow(3) {
        let picked = [set % 5, set / 5 % 5, set / 25].map(|at| pool[at].clone());
        for rows in 1..=3 {
            let rows = Rows { columns: vec![picked[..rows].to_vec(), vec![], vec![]], rows, known: vec![true; 3] };
            for left in &leaves {
                for right in &leaves {
                    let (l, r) = (left.clone(), right.clone());
                    for tree in [l.clone().and(r.clone()), l.clone().or(r.clone()), l.and(r.negate()).negate()] {
                        let matches = rows.columns[0].iter().any(|v| tree.matches(&|_: &str| v.clone()) == Some(true));
                        assert!(!matches || tree.may_match(&rows), "{tree} over {:?}", rows.columns[0]);
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 1_000_000, "{checked} combinations");
}

/// A check on the check: bounds that lie are caught.
#[test]
#[should_panic(expected = "its bounds exclude it")]
fn bounds_that_lie_are_caught() {
    struct Lie;
    impl Bounds for Lie {
        fn row_count(&self) -> Option<u64> {
            Some(2)
        }
        fn column(&self, _: &str) -> ColumnBounds {
            ColumnBounds { min: Some(Value::Int(0)), max: Some(Value::Int(4)), null_count: Some(0) }
        }
    }
    let values = [Value::Int(0), Value::Int(5)];
    contract::predicate_bounds(&Lie, &["a"], 2, |row, _| values[row].clone(), 1, 0);
}
