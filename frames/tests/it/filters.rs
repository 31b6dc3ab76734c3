//! No translation loses a row: random expressions over random rows, with the engine as the oracle.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_frames::{to_predicate, to_value};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, col, lit};
use proptest::prelude::*;

const FLOATS: [f64; 7] = [f64::NAN, -0.0, 0.0, 1.5, -2.0, f64::INFINITY, f64::NEG_INFINITY];
const TEXTS: [&str; 4] = ["", "a", "b", "é"];

fn rows() -> impl Strategy<Value = RecordBatch> {
    let row = (
        proptest::option::weighted(0.8, -3..4_i64),
        proptest::option::weighted(0.8, 0..FLOATS.len()),
        proptest::option::weighted(0.8, 0..TEXTS.len()),
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.8, -3..4_i64),
    );
    proptest::collection::vec(row, 1..20).prop_map(|rows| {
        let columns: [(&str, ArrayRef); 5] = [
            ("i", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0)))),
            ("x", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1.map(|at| FLOATS[at]))))),
            ("s", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.map(|at| TEXTS[at]))))),
            ("b", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.3)))),
            ("t", Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.4)))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    })
}

/// A column, and literals for it.
fn column() -> impl Strategy<Value = (Expr, Vec<Expr>)> {
    let time = |us: i64| Expr::Literal(ScalarValue::TimestampMicrosecond(Some(us), None), None);
    prop_oneof![
        Just((col("i"), (-3..4_i64).map(lit).chain([lit(ScalarValue::Int64(None))]).collect())),
        Just((col("x"), FLOATS.iter().map(|v| lit(*v)).chain([lit(ScalarValue::Float64(None))]).collect())),
        Just((col("s"), TEXTS.iter().map(|v| lit(*v)).collect())),
        Just((col("t"), (-3..4_i64).map(time).collect())),
    ]
}

fn leaf() -> impl Strategy<Value = Expr> {
    let compare =
        (column(), 0..6_usize, any::<prop::sample::Index>(), any::<bool>()).prop_map(|((column, literals), op, at, flip)| {
            let (left, right) = (column, at.get(&literals).clone());
            let (left, right) = if flip { (right, left) } else { (left, right) };
            match op {
                0 => left.eq(right),
                1 => left.not_eq(right),
                2 => left.lt(right),
                3 => left.lt_eq(right),
                4 => left.gt(right),
                _ => left.gt_eq(right),
            }
        });
    let list = (column(), proptest::collection::vec(any::<prop::sample::Index>(), 1..4), any::<bool>()).prop_map(
        |((column, literals), at, negated)| column.in_list(at.iter().map(|at| at.get(&literals).clone()).collect(), negated),
    );
    let between =
        (column(), any::<[prop::sample::Index; 2]>(), any::<bool>()).prop_map(|((column, literals), [low, high], negated)| {
            let (low, high) = (low.get(&literals).clone(), high.get(&literals).clone());
            if negated { column.not_between(low, high) } else { column.between(low, high) }
        });
    let null = (column(), any::<bool>()).prop_map(|((column, _), is)| if is { column.is_null() } else { column.is_not_null() });
    // Neither has a translation, or has one of another kind.
    let other = prop_oneof![Just(col("b")), Just(lit(true)), Just((col("i") + lit(1_i64)).gt(lit(1_i64)))];
    prop_oneof![4 => compare, 2 => list, 2 => between, 1 => null, 1 => other]
}

fn expression() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            1 => inner.prop_map(|a| Expr::Not(Box::new(a))),
        ]
    })
}

fn value(batch: &RecordBatch, column: &str, row: usize) -> Value {
    to_value(&ScalarValue::try_from_array(batch.column_by_name(column).unwrap(), row).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_row_that_satisfies_an_expression_satisfies_its_predicate(rows in rows(), expr in expression()) {
        let Some(predicate) = to_predicate(&expr) else { return Ok(()) };
        let schema = DFSchema::try_from(rows.schema()).unwrap();
        let truth = SessionContext::new().create_physical_expr(expr.clone(), &schema).unwrap().evaluate(&rows).unwrap();
        let truth = truth.into_array(rows.num_rows()).unwrap();
        let truth = truth.as_boolean();
        for row in (0..rows.num_rows()).filter(|row| truth.is_valid(*row) && truth.value(*row)) {
            let matched = predicate.matches(&|column: &str| value(&rows, column, row));
            prop_assert_eq!(matched, Some(true), "`{}` became `{}`, which loses row {} of {:?}", expr, predicate, row, rows);
        }
    }
}

#[test]
fn most_expressions_that_people_write_have_a_translation() {
    for (expr, text) in [
        (col("i").gt(lit(5_i64)).or(col("s").eq(lit("a"))), "i > 5 OR s = 'a'"),
        (col("b").and(Expr::Not(Box::new(col("b")))), "b = true AND NOT (b = true)"),
        (Expr::Not(Box::new(col("i").gt(lit(1_i64)).and(col("i").lt(lit(3_i64))))), "NOT (i > 1 AND i < 3)"),
        (lit(false).or(col("i").is_null()), "false OR i IS NULL"),
        (col("x").gt(lit(1.0)).and(col("i").eq(lit(1_i64))).and(col("x").lt(lit(2.0))), "x > 1 AND i = 1 AND x < 2"),
    ] {
        assert_eq!(to_predicate(&expr).map(|p| p.to_string()).as_deref(), Some(text));
    }
}
