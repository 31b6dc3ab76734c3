//! Expressions of the engine as [`Predicate`]s, for skipping.
//!
//! A translation may be weaker than the expression, never stronger: **a row that satisfies the expression satisfies the
//! predicate**. So a conjunct that has no translation is left out; below OR both sides must have one; and below NOT it must
//! be exact, because a weaker predicate becomes a stronger one there.
//!
//! # Floats
//! The engine and [`Predicate`] differ about floats. To the engine NaN is equal to itself and above every number, and -0.0
//! is below 0.0; a predicate is never true of a NaN, and the zeros are equal. So:
//!
//! | expression | translation |
//! | --- | --- |
//! | `x < 5.0`, `x <= 5.0`, `x = 5.0`, `x IN (1.0, 2.0)` | itself |
//! | `x > 5.0`, `x >= 5.0` | none, because a NaN satisfies it; itself when another conjunct bounds `x` from above |
//! | `x BETWEEN 1.0 AND 5.0` | both bounds |
//! | `x <> 5.0`, `NOT (…)` over a float, any comparison with NaN | none |
//! | `x < 0.0` | `x <= 0.0` |

use std::collections::BTreeSet;

use boathouse_base::{Comparison, Predicate, Value};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown};

/// A predicate that every row satisfying `expr` satisfies; `None` when nothing useful is known.
///
/// # Example
/// ```
/// use boathouse_frames::to_predicate;
/// use datafusion::prelude::{col, lit};
///
/// let expr = col("delay").gt(lit(30_i64)).and((col("a") + col("b")).eq(lit(1_i64)));
/// assert_eq!(to_predicate(&expr).unwrap().to_string(), "delay > 30");
/// ```
pub fn to_predicate(expr: &Expr) -> Option<Predicate> {
    conjunction(std::iter::once(expr))
}

/// A predicate that every row satisfying all of `filters` satisfies.
pub fn to_conjunction(filters: &[Expr]) -> Option<Predicate> {
    conjunction(filters.iter())
}

/// For each filter: whether a table that skips by [`to_conjunction`] has a use for it. One that says nothing alone may do
/// so together with the others.
///
/// No filter is exact: skipping leaves rows that do not match, and the engine filters again.
///
/// # Example
/// ```
/// use boathouse_frames::pushdown;
/// use datafusion::logical_expr::TableProviderFilterPushDown::{Inexact, Unsupported};
/// use datafusion::prelude::{col, lit};
///
/// // A NaN is above 5.0 to the engine, and is in no statistics. Below 9.0 there is none.
/// let (above, below) = (col("x").gt(lit(5.0)), col("x").lt(lit(9.0)));
/// assert_eq!(pushdown(&[&above]), [Unsupported]);
/// assert_eq!(pushdown(&[&above, &below]), [Inexact, Inexact]);
/// ```
pub fn pushdown(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let together = conjunction(filters.iter().copied());
    let helps = |at: usize| {
        let others = filters.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, other)| *other);
        conjunction(others) != together
    };
    let support = |(at, filter): (usize, &&Expr)| match to_predicate(filter).is_some() || helps(at) {
        true => TableProviderFilterPushDown::Inexact,
        false => TableProviderFilterPushDown::Unsupported,
    };
    filters.iter().enumerate().map(support).collect()
}

fn conjunction<'a>(expressions: impl Iterator<Item = &'a Expr>) -> Option<Predicate> {
    let mut conjuncts = Vec::new();
    expressions.for_each(|expr| flatten(expr, &mut conjuncts));
    let bounded_above = conjuncts.iter().filter_map(|expr| bounds_above(expr)).collect();
    conjuncts.into_iter().filter_map(|expr| weak(expr, &bounded_above)).reduce(Predicate::and)
}

fn flatten<'a>(expr: &'a Expr, conjuncts: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            flatten(left, conjuncts);
            flatten(right, conjuncts);
        }
        Expr::Alias(alias) => flatten(&alias.expr, conjuncts),
        other => conjuncts.push(other),
    }
}

/// The column that cannot be NaN in a row that satisfies `expr`.
fn bounds_above(expr: &Expr) -> Option<String> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match compare(left, *op, right)? {
            (column, Comparison::Lt | Comparison::LtEq | Comparison::Eq, _) => Some(column),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, high, .. }) => literal(high).and_then(|_| column(expr)),
        Expr::InList(InList { expr, list, negated: false }) if list.iter().all(|item| literal(item).is_some()) => column(expr),
        _ => None,
    }
}

/// A predicate that is true where `expr` is; `bounded_above` names columns that another conjunct keeps from being NaN.
fn weak(expr: &Expr, bounded_above: &BTreeSet<String>) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => Some(to_predicate(left)?.or(to_predicate(right)?)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = compare(left, *op, right)?;
            let op = match &value {
                Value::Float(v) => float_comparison(op, *v, bounded_above.contains(&column))?,
                _ => op,
            };
            Some(Predicate::Compare { column, op, value })
        }
        Expr::Between(Between { expr, negated: false, low, high }) => between(expr, low, high),
        Expr::InList(InList { expr, list, negated: false }) => within(expr, list),
        other => exact(other),
    }
}

/// A comparison that is true wherever the engine's is.
fn float_comparison(op: Comparison, value: f64, is_bounded_above: bool) -> Option<Comparison> {
    match op {
        Comparison::Lt if value == 0.0 => Some(Comparison::LtEq),
        Comparison::Lt | Comparison::LtEq | Comparison::Eq => Some(op),
        Comparison::Gt if is_bounded_above && value == 0.0 => Some(Comparison::GtEq),
        Comparison::Gt | Comparison::GtEq => is_bounded_above.then_some(op),
        Comparison::NotEq => None,
    }
}

/// A predicate with the same truth as `expr` for every row: true, false or unknown.
fn exact(expr: &Expr) -> Option<Predicate> {
    let no_float = |value: &Value| !matches!(value, Value::Float(_));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => Some(exact(left)?.and(exact(right)?)),
            Operator::Or => Some(exact(left)?.or(exact(right)?)),
            op => {
                let (column, op, value) = compare(left, *op, right)?;
                no_float(&value).then_some(Predicate::Compare { column, op, value })
            }
        },
        Expr::Not(inner) => Some(exact(inner)?.negate()),
        Expr::IsNull(inner) => Some(Predicate::IsNull(column(inner)?)),
        Expr::IsNotNull(inner) => Some(Predicate::IsNull(column(inner)?).negate()),
        Expr::InList(InList { expr, list, negated }) => {
            let within = within(expr, list).filter(|_| list.iter().all(|item| literal(item).as_ref().is_some_and(no_float)))?;
            Some(if *negated { within.negate() } else { within })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let within =
                between(expr, low, high).filter(|_| [low, high].iter().all(|end| literal(end).as_ref().is_some_and(no_float)))?;
            Some(if *negated { within.negate() } else { within })
        }
        Expr::Column(_) => Some(Predicate::eq(column(expr)?, true)),
        Expr::Literal(ScalarValue::Boolean(Some(truth)), _) => Some(Predicate::Literal(*truth)),
        Expr::Alias(alias) => exact(&alias.expr),
        _ => None,
    }
}

fn between(expr: &Expr, low: &Expr, high: &Expr) -> Option<Predicate> {
    let column = column(expr)?;
    let low = Predicate::compare(column.clone(), Comparison::GtEq, literal(low)?);
    Some(low.and(Predicate::compare(column, Comparison::LtEq, literal(high)?)))
}

fn within(expr: &Expr, list: &[Expr]) -> Option<Predicate> {
    let values = list.iter().map(literal).collect::<Option<Vec<_>>>()?;
    Some(Predicate::In { column: column(expr)?, values })
}

/// A column compared with a literal, the column on the left.
fn compare(left: &Expr, op: Operator, right: &Expr) -> Option<(String, Comparison, Value)> {
    let op = match op {
        Operator::Eq => Comparison::Eq,
        Operator::NotEq => Comparison::NotEq,
        Operator::Lt => Comparison::Lt,
        Operator::LtEq => Comparison::LtEq,
        Operator::Gt => Comparison::Gt,
        Operator::GtEq => Comparison::GtEq,
        _ => return None,
    };
    if let (Some(column), Some(value)) = (column(left), literal(right)) {
        return Some((column, op, value));
    }
    let mirrored = match op {
        Comparison::Lt => Comparison::Gt,
        Comparison::LtEq => Comparison::GtEq,
        Comparison::Gt => Comparison::Lt,
        Comparison::GtEq => Comparison::LtEq,
        same => same,
    };
    Some((column(right)?, mirrored, literal(left)?))
}

/// The name of a plain column. A name with a dot could be read as a path, so it has no translation.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if !column.name.contains('.') => Some(column.name.clone()),
        Expr::Alias(alias) => column(&alias.expr),
        _ => None,
    }
}

/// A literal that can be compared with: every one but NaN, which equals itself to the engine and nothing to a predicate.
fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(value, _) => to_value(value).filter(|value| !matches!(value, Value::Float(v) if v.is_nan())),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

/// A scalar as a value; `None` when it has no exact equal.
pub fn to_value(scalar: &ScalarValue) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null);
    }
    Some(match scalar {
        ScalarValue::Boolean(Some(v)) => Value::Boolean(*v),
        ScalarValue::Int8(Some(v)) => Value::from(*v),
        ScalarValue::Int16(Some(v)) => Value::from(*v),
        ScalarValue::Int32(Some(v)) => Value::from(*v),
        ScalarValue::Int64(Some(v)) => Value::from(*v),
        ScalarValue::UInt8(Some(v)) => Value::from(*v),
        ScalarValue::UInt16(Some(v)) => Value::from(*v),
        ScalarValue::UInt32(Some(v)) => Value::from(*v),
        ScalarValue::UInt64(Some(v)) => Value::Int(i64::try_from(*v).ok()?),
        ScalarValue::Float32(Some(v)) => Value::from(*v),
        ScalarValue::Float64(Some(v)) => Value::from(*v),
        ScalarValue::Decimal128(Some(unscaled), _, scale) => Value::Decimal { unscaled: *unscaled, scale: *scale },
        ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => Value::from(v.as_str()),
        ScalarValue::Binary(Some(v)) | ScalarValue::LargeBinary(Some(v)) | ScalarValue::BinaryView(Some(v)) => {
            Value::Binary(v.clone().into())
        }
        ScalarValue::Date32(Some(v)) => Value::Date(*v),
        ScalarValue::TimestampSecond(Some(v), zone) => timestamp(v.checked_mul(1_000_000)?, zone.is_some()),
        ScalarValue::TimestampMillisecond(Some(v), zone) => timestamp(v.checked_mul(1_000)?, zone.is_some()),
        ScalarValue::TimestampMicrosecond(Some(v), zone) => timestamp(*v, zone.is_some()),
        ScalarValue::TimestampNanosecond(Some(v), zone) if v % 1_000 == 0 => timestamp(v / 1_000, zone.is_some()),
        ScalarValue::Dictionary(_, inner) => return to_value(inner),
        _ => return None,
    })
}

fn timestamp(us: i64, is_instant: bool) -> Value {
    if is_instant { Value::Timestamp(us) } else { Value::TimestampNtz(us) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn text(expr: &Expr) -> Option<String> {
        to_predicate(expr).map(|p| p.to_string())
    }

    #[test]
    fn comparisons_translate_in_both_directions() {
        assert_eq!(text(&col("a").gt(lit(5_i64))).as_deref(), Some("a > 5"));
        assert_eq!(text(&lit(5_i64).gt(col("a"))).as_deref(), Some("a < 5"));
        assert_eq!(text(&col("a").between(lit(1_i32), lit(2_i32))).as_deref(), Some("a >= 1 AND a <= 2"));
        assert_eq!(text(&col("s").in_list(vec![lit("x"), lit("y")], true)).as_deref(), Some("NOT (s IN ('x', 'y'))"));
        assert_eq!(text(&col("s").is_not_null()).as_deref(), Some("NOT (s IS NULL)"));
    }

    #[test]
    fn a_conjunct_without_translation_is_left_out_but_not_below_or_and_not() {
        let known = col("a").eq(lit(1_i64));
        let unknown = (col("a") + lit(1_i64)).eq(lit(2_i64));
        assert_eq!(text(&known.clone().and(unknown.clone())).as_deref(), Some("a = 1"));
        assert_eq!(text(&known.clone().or(unknown.clone())), None);
        assert_eq!(text(&Expr::Not(Box::new(known.and(unknown)))), None);
    }

    #[test]
    fn a_float_is_compared_only_where_a_nan_cannot_be_lost() {
        let x = || col("x");
        assert_eq!(text(&x().lt(lit(5.0))).as_deref(), Some("x < 5"));
        assert_eq!(text(&x().gt(lit(5.0))), None);
        assert_eq!(text(&x().not_eq(lit(5.0))), None);
        assert_eq!(text(&x().gt(lit(5.0)).and(x().lt_eq(lit(9.0)))).as_deref(), Some("x > 5 AND x <= 9"));
        assert_eq!(text(&x().gt(lit(5.0)).and(col("y").lt_eq(lit(9.0)))).as_deref(), Some("y <= 9"));
        assert_eq!(text(&x().between(lit(1.0), lit(2.0))).as_deref(), Some("x >= 1 AND x <= 2"));
        assert_eq!(text(&Expr::Not(Box::new(x().lt(lit(5.0))))), None);
        assert_eq!(text(&x().not_between(lit(1.0), lit(2.0))), None);
        assert_eq!(text(&x().in_list(vec![lit(1.0)], true)), None);
        assert_eq!(text(&x().lt(lit(0.0))).as_deref(), Some("x <= 0"));
        assert_eq!(text(&x().eq(lit(f64::NAN))), None);
        assert_eq!(text(&x().in_list(vec![lit(1.0), lit(f64::NAN)], false)), None);
    }

    #[test]
    fn a_nanosecond_that_is_no_microsecond_has_no_translation() {
        let ns = |v| Expr::Literal(ScalarValue::TimestampNanosecond(Some(v), Some("UTC".into())), None);
        assert_eq!(text(&col("t").lt(ns(2_000))).as_deref(), Some("t < TIMESTAMP(2us)"));
        assert_eq!(text(&col("t").lt(ns(2_001))), None);
    }

    #[test]
    fn a_name_with_a_dot_has_no_translation() {
        let dotted = Expr::Column(datafusion::common::Column::new_unqualified("a.b"));
        assert_eq!(text(&dotted.eq(lit(1_i64))), None);
    }
}
