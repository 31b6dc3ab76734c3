//! Expressions of the engine as [`Predicate`]s, for skipping.
//!
//! A translation may be weaker than the expression, never stronger: a row that satisfies the expression satisfies the
//! predicate. So a conjunct that has no translation is left out, and anything below OR and NOT must translate whole.

use boathouse_base::{Comparison, Predicate, Value};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// A predicate that every row satisfying `expr` satisfies; `None` when nothing useful is known.
pub fn to_predicate(expr: &Expr) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (to_predicate(left), to_predicate(right)) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (one, other) => one.or(other),
        },
        other => exact(other),
    }
}

/// The conjunction of all that translate.
pub fn to_conjunction(filters: &[Expr]) -> Option<Predicate> {
    filters.iter().filter_map(to_predicate).reduce(Predicate::and)
}

/// A predicate with the same truth as `expr` for every row.
fn exact(expr: &Expr) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => Some(exact(left)?.and(exact(right)?)),
            Operator::Or => Some(exact(left)?.or(exact(right)?)),
            op => compare(left, *op, right),
        },
        Expr::Not(inner) => Some(exact(inner)?.negate()),
        Expr::IsNull(inner) => Some(Predicate::IsNull(column(inner)?)),
        Expr::IsNotNull(inner) => Some(Predicate::IsNull(column(inner)?).negate()),
        Expr::InList(InList { expr, list, negated }) => {
            let values = list.iter().map(literal).collect::<Option<Vec<_>>>()?;
            let within = Predicate::In { column: column(expr)?, values };
            Some(if *negated { within.negate() } else { within })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let column = column(expr)?;
            let within = Predicate::compare(column.clone(), Comparison::GtEq, literal(low)?).and(Predicate::compare(
                column,
                Comparison::LtEq,
                literal(high)?,
            ));
            Some(if *negated { within.negate() } else { within })
        }
        Expr::Column(_) => Some(Predicate::eq(column(expr)?, true)),
        Expr::Literal(ScalarValue::Boolean(Some(truth)), _) => Some(Predicate::Literal(*truth)),
        Expr::Alias(alias) => exact(&alias.expr),
        _ => None,
    }
}

fn compare(left: &Expr, op: Operator, right: &Expr) -> Option<Predicate> {
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
        return Some(Predicate::Compare { column, op, value });
    }
    let mirrored = match op {
        Comparison::Lt => Comparison::Gt,
        Comparison::LtEq => Comparison::GtEq,
        Comparison::Gt => Comparison::Lt,
        Comparison::GtEq => Comparison::LtEq,
        same => same,
    };
    Some(Predicate::Compare { column: column(right)?, op: mirrored, value: literal(left)? })
}

/// The name of a plain column. A name with a dot could be read as a path, so it has no translation.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if !column.name.contains('.') => Some(column.name.clone()),
        Expr::Alias(alias) => column(&alias.expr),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(value, _) => to_value(value),
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
