//! Predicates over columns: what a scan may skip and what a transaction has read.
//!
//! A predicate is a small tree of comparisons with literals. It has the truth of SQL, which is
//! three-valued: a comparison with null is unknown, and a row is wanted when the whole is *true*.
//!
//! | `a` | `b` | `a AND b` | `a OR b` | `NOT a` |
//! | --- | --- | --- | --- | --- |
//! | true | unknown | unknown | true | false |
//! | false | unknown | false | unknown | true |
//! | unknown | unknown | unknown | unknown | unknown |
//!
//! # Two questions
//! - [`Predicate::matches`] asks about one row, and is exact.
//! - [`Predicate::may_match`] asks about a set of rows of which only [`Bounds`] are known (a file, a row
//!   group, a partition), and errs on the side of *yes*. It computes for each node two bits: *can it be
//!   true for some row* and *can it be false for some row*. `NOT` swaps the bits, so that it needs no
//!   rewriting; unknown sets neither, because no row is wanted for it.
//!
//! Worked examples, with bounds `a` in [1, 5], no nulls:
//! - `a > 7` can be true: no (5 > 7 fails). The file is skipped.
//! - `NOT (a < 9)`: `a < 9` can be false only if max(a) >= 9: no. The file is skipped.

use std::cmp::Ordering;
use std::fmt;

use crate::value::Value;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::NotEq => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::LtEq => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::GtEq => order.is_ge(),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::NotEq => "<>",
            Self::Lt => "<",
            Self::LtEq => "<=",
            Self::Gt => ">",
            Self::GtEq => ">=",
        })
    }
}

/// A condition on a row. Columns are named by dotted path (`address.city`); see the [module](self).
///
/// # Example
/// ```
/// use boathouse_base::{Comparison, Predicate, Value};
///
/// let late = Predicate::compare("delay", Comparison::Gt, 30).and(Predicate::eq("origin", "JFK"));
/// let row = |column: &str| match column {
///     "delay" => Value::Int(45),
///     "origin" => Value::from("JFK"),
///     _ => Value::Null,
/// };
/// assert_eq!(late.matches(&row), Some(true));
/// assert_eq!(late.to_string(), "delay > 30 AND origin = 'JFK'");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// True or false for every row.
    Literal(bool),
    /// A column compared with a literal.
    Compare {
        /// The column.
        column: String,
        /// The operator.
        op: Comparison,
        /// The literal; null makes the comparison unknown.
        value: Value,
    },
    /// The column is one of these values.
    In {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Value>,
    },
    /// The column is null.
    IsNull(String),
    /// All hold. Empty: true.
    And(Vec<Predicate>),
    /// One holds. Empty: false.
    Or(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

/// What is known about the values of a column in a set of rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnBounds {
    /// No value is below it (nulls aside). `None`: unknown.
    pub min: Option<Value>,
    /// No value is above it (nulls aside). `None`: unknown.
    pub max: Option<Value>,
    /// Nulls among the rows. `None`: unknown.
    pub null_count: Option<u64>,
}

/// What is known about a set of rows: a file, a row group or a partition.
pub trait Bounds {
    /// The number of rows; `None`: unknown.
    fn row_count(&self) -> Option<u64>;

    /// What is known of a column; the default for one that nothing is known of.
    fn column(&self, column: &str) -> ColumnBounds;
}

/// What a predicate can be over a set of rows.
#[derive(Clone, Copy)]
struct Possible {
    be_true: bool,
    be_false: bool,
}

impl Predicate {
    /// `column op value`.
    pub fn compare(column: impl Into<String>, op: Comparison, value: impl Into<Value>) -> Self {
        Self::Compare { column: column.into(), op, value: value.into() }
    }

    /// `column = value`.
    pub fn eq(column: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Eq, value)
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// One holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut any) => {
                any.push(other);
                Self::Or(any)
            }
            first => Self::Or(vec![first, other]),
        }
    }

    /// It does not hold.
    #[must_use]
    pub fn negate(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// The columns it reads, each once, in order of appearance.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        self.visit_columns(&mut |column| {
            if !columns.contains(&column) {
                columns.push(column);
            }
        });
        columns
    }

    fn visit_columns<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::Literal(_) => {}
            Self::Compare { column, .. } | Self::In { column, .. } | Self::IsNull(column) => visit(column),
            Self::And(all) | Self::Or(all) => all.iter().for_each(|p| p.visit_columns(visit)),
            Self::Not(inner) => inner.visit_columns(visit),
        }
    }

    /// The truth for one row; `None` is SQL's unknown.
    pub fn matches(&self, row: &impl Fn(&str) -> Value) -> Option<bool> {
        match self {
            Self::Literal(truth) => Some(*truth),
            Self::Compare { column, op, value } => row(column).compare(value).map(|order| op.holds(order)),
            Self::In { column, values } => {
                let found = row(column);
                any(values.iter().map(|value| found.compare(value).map(Ordering::is_eq)))
            }
            Self::IsNull(column) => Some(row(column).is_null()),
            Self::And(all) => any(all.iter().map(|p| p.matches(row).map(|t| !t))).map(|t| !t),
            Self::Or(some) => any(some.iter().map(|p| p.matches(row))),
            Self::Not(inner) => inner.matches(row).map(|t| !t),
        }
    }

    /// Whether some row of the set may match. `false` is a proof, `true` is not.
    pub fn may_match(&self, bounds: &impl Bounds) -> bool {
        bounds.row_count() != Some(0) && self.possible(bounds).be_true
    }

    fn possible(&self, bounds: &impl Bounds) -> Possible {
        match self {
            Self::Literal(truth) => Possible { be_true: *truth, be_false: !*truth },
            Self::Compare { column, op, value } => {
                if value.is_null() {
                    return Possible { be_true: false, be_false: false };
                }
                let known = bounds.column(column);
                if all_null(&known, bounds) {
                    return Possible { be_true: false, be_false: false };
                }
                Possible { be_true: can_hold(*op, &known, value), be_false: can_hold(negated(*op), &known, value) }
            }
            Self::In { column, values } => {
                let known = bounds.column(column);
                if all_null(&known, bounds) {
                    return Possible { be_true: false, be_false: values.is_empty() };
                }
                let be_true = values.iter().any(|v| !v.is_null() && can_hold(Comparison::Eq, &known, v));
                // False needs a value that differs from all of them, and no null among them.
                let be_false = values.iter().all(|v| !v.is_null() && can_hold(Comparison::NotEq, &known, v));
                Possible { be_true, be_false }
            }
            Self::IsNull(column) => {
                let known = bounds.column(column);
                Possible { be_true: known.null_count != Some(0), be_false: !all_null(&known, bounds) }
            }
            Self::And(all) => all.iter().map(|p| p.possible(bounds)).fold(Possible { be_true: true, be_false: false }, |a, b| {
                Possible { be_true: a.be_true && b.be_true, be_false: a.be_false || b.be_false }
            }),
            Self::Or(some) => {
                some.iter().map(|p| p.possible(bounds)).fold(Possible { be_true: false, be_false: true }, |a, b| Possible {
                    be_true: a.be_true || b.be_true,
                    be_false: a.be_false && b.be_false,
                })
            }
            Self::Not(inner) => {
                let inner = inner.possible(bounds);
                Possible { be_true: inner.be_false, be_false: inner.be_true }
            }
        }
    }
}

/// SQL's OR over truths.
fn any(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for truth in truths {
        match truth {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    if unknown { None } else { Some(false) }
}

fn all_null(known: &ColumnBounds, bounds: &impl Bounds) -> bool {
    matches!((known.null_count, bounds.row_count()), (Some(nulls), Some(rows)) if nulls >= rows)
}

fn negated(op: Comparison) -> Comparison {
    match op {
        Comparison::Eq => Comparison::NotEq,
        Comparison::NotEq => Comparison::Eq,
        Comparison::Lt => Comparison::GtEq,
        Comparison::LtEq => Comparison::Gt,
        Comparison::Gt => Comparison::LtEq,
        Comparison::GtEq => Comparison::Lt,
    }
}

/// Whether `x op value` can hold for some x between the bounds. An unknown bound, or one that does not
/// compare with the value, excludes nothing.
///
/// A float may be NaN, which engines order above every number and which no bound shows: an upper bound
/// of floats excludes nothing from above, and equal bounds do not mean equal values.
fn can_hold(op: Comparison, known: &ColumnBounds, value: &Value) -> bool {
    let is_float = |v: Option<&Value>| matches!(v, Some(Value::Float(_)));
    let may_be_nan = is_float(Some(value)) || is_float(known.min.as_ref()) || is_float(known.max.as_ref());
    let order = |bound: &Option<Value>| bound.as_ref().and_then(|b| b.compare(value));
    let (min, max) = (order(&known.min), order(&known.max));
    match op {
        Comparison::Eq => min != Some(Ordering::Greater) && max != Some(Ordering::Less),
        Comparison::NotEq => may_be_nan || !(min == Some(Ordering::Equal) && max == Some(Ordering::Equal)),
        Comparison::Lt => min.is_none_or(Ordering::is_lt),
        Comparison::LtEq => min.is_none_or(Ordering::is_le),
        Comparison::Gt => may_be_nan || max.is_none_or(Ordering::is_gt),
        Comparison::GtEq => may_be_nan || max.is_none_or(Ordering::is_ge),
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, items: &[Predicate], word: &str, empty: &str) -> fmt::Result {
            if items.is_empty() {
                return f.write_str(empty);
            }
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                match item {
                    Predicate::And(_) | Predicate::Or(_) => write!(f, "({item})")?,
                    _ => write!(f, "{item}")?,
                }
            }
            Ok(())
        }
        match self {
            Self::Literal(truth) => write!(f, "{truth}"),
            Self::Compare { column, op, value } => write!(f, "{column} {op} {value}"),
            Self::In { column, values } => {
                write!(f, "{column} IN (")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Self::IsNull(column) => write!(f, "{column} IS NULL"),
            Self::And(all) => list(f, all, "AND", "true"),
            Self::Or(some) => list(f, some, "OR", "false"),
            Self::Not(inner) => write!(f, "NOT ({inner})"),
        }
    }
}
