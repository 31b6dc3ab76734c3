//! What the condition of a join says about the event times of its sides.
//!
//! A row of one side may be forgotten when no row of the other side that can still come matches it. Rows that can still come are
//! later than the watermark `w`. From `r.time <= l.time + b` follows: a row `l` is over when `l.time + b <= w`.
//!
//! **Source**: Spark, `StreamingJoinHelper.getStateValueWatermark`.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// A time that is added to the event time of a side: the sum is when its rows are over. `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bound {
    pub(crate) left_us: Option<i64>,
    pub(crate) right_us: Option<i64>,
}

/// What a condition says, for the event times `left` and `right`.
pub(crate) fn bounds(condition: Option<&Expr>, left: &Column, right: &Column) -> Bound {
    let mut bound = Bound::default();
    for conjunct in condition.map(split_conjunction).unwrap_or_default() {
        match conjunct {
            Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => compare(a, *op, b, left, right, &mut bound),
            Expr::Between(Between { expr, negated: false, low, high }) => {
                compare(expr, Operator::GtEq, low, left, right, &mut bound);
                compare(expr, Operator::LtEq, high, left, right, &mut bound);
            }
            _ => {}
        }
    }
    bound
}

fn compare(a: &Expr, op: Operator, b: &Expr, left: &Column, right: &Column, bound: &mut Bound) {
    let at_most = matches!(op, Operator::Lt | Operator::LtEq);
    let at_least = matches!(op, Operator::Gt | Operator::GtEq);
    let is_equal = op == Operator::Eq;
    if !(at_most || at_least || is_equal) {
        return;
    }
    // `lower + d <= upper`, as (lower, upper, d).
    let mut facts = Vec::new();
    if let (Some((a, plus_a)), Some((b, plus_b))) = (linear(a), linear(b)) {
        if at_most || is_equal {
            facts.push((a.clone(), b.clone(), plus_a.saturating_sub(plus_b)));
        }
        if at_least || is_equal {
            facts.push((b, a, plus_b.saturating_sub(plus_a)));
        }
    }
    // `x - y <= interval` is `x - interval <= y`.
    if let (Some((x, y, plus)), Some(interval)) = (difference(a), length_us(b)) {
        let room = interval.saturating_sub(plus);
        if at_most || is_equal {
            facts.push((x.clone(), y.clone(), room.saturating_neg()));
        }
        if at_least || is_equal {
            facts.push((y, x, room));
        }
    }
    for (lower, upper, d) in facts {
        // lower <= upper - d: a row of the upper side is over when nothing below `upper - d` can come.
        let room = d.saturating_neg();
        let tighter = |known: Option<i64>| Some(known.map_or(room, |known| known.min(room)));
        if lower == *left && upper == *right {
            bound.right_us = tighter(bound.right_us);
        } else if lower == *right && upper == *left {
            bound.left_us = tighter(bound.left_us);
        }
    }
}

/// A column and what is added to it, in microseconds.
fn linear(expr: &Expr) -> Option<(Column, i64)> {
    match expr {
        Expr::Column(column) => Some((column.clone(), 0)),
        Expr::Alias(alias) => linear(&alias.expr),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => linear(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => match (linear(left), length_us(right)) {
            (Some((column, plus)), Some(length)) => Some((column, plus.checked_add(length)?)),
            _ => {
                let (column, plus) = linear(right)?;
                Some((column, plus.checked_add(length_us(left)?)?))
            }
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (column, plus) = linear(left)?;
            Some((column, plus.checked_sub(length_us(right)?)?))
        }
        _ => None,
    }
}

/// Two columns whose difference this is, and what is added to it.
fn difference(expr: &Expr) -> Option<(Column, Column, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) = expr else { return None };
    let ((x, plus_x), (y, plus_y)) = (linear(left)?, linear(right)?);
    Some((x, y, plus_x.checked_sub(plus_y)?))
}

/// A constant length of time in microseconds.
fn length_us(expr: &Expr) -> Option<i64> {
    let value = match expr {
        Expr::Literal(value, _) => value.clone(),
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Literal(value, _) => value.cast_to(cast.field.data_type()).ok()?,
            _ => return None,
        },
        _ => return None,
    };
    if matches!(value, ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_)) {
        return None;
    }
    match value.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano)).ok()? {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i64::from(interval.days).checked_mul(86_400_000_000)?.checked_add(interval.nanoseconds / 1_000)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{ident, lit};

    fn us(n: i64) -> Expr {
        lit(ScalarValue::new_interval_mdn(0, 0, n * 1_000))
    }

    fn of(condition: Expr) -> Bound {
        bounds(Some(&condition), &Column::from_name("l"), &Column::from_name("r"))
    }

    #[test]
    fn a_range_of_time_bounds_both_sides() {
        let expected = Bound { left_us: Some(60), right_us: Some(5) };
        let (l, r) = (ident("l"), ident("r"));
        assert_eq!(of(r.clone().gt_eq(l.clone() - us(5)).and(r.clone().lt(l.clone() + us(60)))), expected);
        assert_eq!(of(r.clone().between(l.clone() - us(5), l.clone() + us(60))), expected);
        assert_eq!(of(l.clone().lt_eq(r.clone() + us(5)).and((r.clone() - l.clone()).lt_eq(us(60)))), expected);
        assert_eq!(of((l.clone() + us(1)).eq(r.clone())), Bound { left_us: Some(1), right_us: Some(-1) });
        assert_eq!(of(r.clone().gt(l.clone())), Bound { left_us: None, right_us: Some(0) });
        assert_eq!(of(r.gt(ident("x") + us(1))), Bound::default());
    }

    #[test]
    fn the_tightest_bound_wins_and_an_alternative_bounds_nothing() {
        let (l, r) = (ident("l"), ident("r"));
        let both = r.clone().lt(l.clone() + us(60)).and(r.clone().lt(l.clone() + us(7)));
        assert_eq!(of(both).left_us, Some(7));
        assert_eq!(of(r.clone().lt(l.clone() + us(60)).or(r.lt(l))), Bound::default());
    }
}
