//! A predicate over the rows of a batch.
//!
//! The truth is that of [`Predicate::matches`], computed column by column.

use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_null, not, or_kleene};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType};
use boathouse_base::{Comparison, Predicate, Value};

use crate::arrow_value::{single, value_at};

/// Which rows match: true or false for each, never null.
pub(crate) fn matching_rows(predicate: &Predicate, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let truth = truth(predicate, batch)?;
    Ok(BooleanArray::from_iter(truth.iter().map(|t| Some(t == Some(true)))))
}

/// The three-valued truth of every row.
fn truth(predicate: &Predicate, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let rows = batch.num_rows();
    match predicate {
        Predicate::Literal(truth) => Ok(BooleanArray::from(vec![*truth; rows])),
        Predicate::Compare { column, op, value } => match column_at(batch, column)? {
            Some(array) => compare(&array, *op, value),
            None => Ok(BooleanArray::new_null(rows)),
        },
        Predicate::In { column, values } => {
            // In no values is false, whatever the column.
            let Some(array) = column_at(batch, column)?.filter(|_| !values.is_empty()) else {
                return Ok(if values.is_empty() { BooleanArray::from(vec![false; rows]) } else { BooleanArray::new_null(rows) });
            };
            values.iter().try_fold(BooleanArray::from(vec![false; rows]), |found, value| {
                or_kleene(&found, &compare(&array, Comparison::Eq, value)?)
            })
        }
        Predicate::IsNull(column) => match column_at(batch, column)? {
            Some(array) => is_null(&array),
            None => Ok(BooleanArray::from(vec![true; rows])),
        },
        Predicate::And(all) => {
            all.iter().try_fold(BooleanArray::from(vec![true; rows]), |held, next| and_kleene(&held, &truth(next, batch)?))
        }
        Predicate::Or(some) => {
            some.iter().try_fold(BooleanArray::from(vec![false; rows]), |held, next| or_kleene(&held, &truth(next, batch)?))
        }
        Predicate::Not(inner) => not(&truth(inner, batch)?),
    }
}

fn compare(array: &ArrayRef, op: Comparison, value: &Value) -> Result<BooleanArray, ArrowError> {
    // Floats go row by row: the kernels give NaN a place in the order, SQL predicates do not.
    let direct = !value.is_null() && !matches!(array.data_type(), DataType::Float32 | DataType::Float64);
    let same_zone = match (array.data_type(), value) {
        (DataType::Timestamp(_, zone), Value::Timestamp(_)) => zone.is_some(),
        (DataType::Timestamp(_, zone), Value::TimestampNtz(_)) => zone.is_none(),
        _ => true,
    };
    if direct
        && same_zone
        && let Some(one) = single(value, array.data_type())
    {
        let one = Scalar::new(one);
        return match op {
            Comparison::Eq => cmp::eq(array, &one),
            Comparison::NotEq => cmp::neq(array, &one),
            Comparison::Lt => cmp::lt(array, &one),
            Comparison::LtEq => cmp::lt_eq(array, &one),
            Comparison::Gt => cmp::gt(array, &one),
            Comparison::GtEq => cmp::gt_eq(array, &one),
        };
    }
    let one = Predicate::Compare { column: String::new(), op, value: value.clone() };
    Ok((0..array.len()).map(|row| one.matches(&|_| value_at(array.as_ref(), row))).collect())
}

/// A column by dotted path; a nested one is null where its parent is.
fn column_at(batch: &RecordBatch, path: &str) -> Result<Option<ArrayRef>, ArrowError> {
    let schema = batch.schema_ref();
    let top = |name: &str| {
        let at = schema.fields().iter().position(|f| f.name() == name);
        at.or_else(|| schema.fields().iter().position(|f| f.name().to_lowercase() == name.to_lowercase()))
    };
    if let Some(at) = top(path) {
        return Ok(Some(Arc::clone(batch.column(at))));
    }
    for (dot, _) in path.match_indices('.') {
        if let Some(at) = top(&path[..dot])
            && let Some(array) = nested(batch.column(at), &path[dot + 1..])?
        {
            return Ok(Some(array));
        }
    }
    Ok(None)
}

fn nested(parent: &ArrayRef, path: &str) -> Result<Option<ArrayRef>, ArrowError> {
    let Some(parent) = parent.as_struct_opt() else { return Ok(None) };
    let child = |at: usize| -> Result<ArrayRef, ArrowError> {
        match parent.nulls() {
            Some(nulls) => {
                let absent = BooleanArray::new(!nulls.inner(), None);
                arrow_select::nullif::nullif(parent.column(at), &absent)
            }
            None => Ok(Arc::clone(parent.column(at))),
        }
    };
    if let Some(at) = parent.fields().iter().position(|f| f.name() == path) {
        return child(at).map(Some);
    }
    for (dot, _) in path.match_indices('.') {
        if let Some(at) = parent.fields().iter().position(|f| f.name() == &path[..dot])
            && let Some(array) = nested(&child(at)?, &path[dot + 1..])?
        {
            return Ok(Some(array));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow_array::{Float64Array, Int32Array, StringArray, StructArray};
    use proptest::prelude::*;

    use super::*;

    fn predicates() -> impl Strategy<Value = Predicate> {
        let op = prop_oneof![
            Just(Comparison::Eq),
            Just(Comparison::NotEq),
            Just(Comparison::Lt),
            Just(Comparison::LtEq),
            Just(Comparison::Gt),
            Just(Comparison::GtEq)
        ];
        let value = prop_oneof![
            Just(Value::Null),
            (-3_i64..4).prop_map(Value::Int),
            (-3_i32..4).prop_map(|v| Value::Float(f64::from(v) / 2.0)),
            "[a-c]{0,2}".prop_map(Value::String),
        ];
        let column = prop_oneof![Just("i"), Just("f"), Just("s"), Just("n.x"), Just("missing")];
        let leaf = prop_oneof![
            any::<bool>().prop_map(Predicate::Literal),
            (column.clone(), op, value.clone()).prop_map(|(c, op, v)| Predicate::compare(c, op, v)),
            (column.clone(), prop::collection::vec(value, 0..3))
                .prop_map(|(c, values)| Predicate::In { column: c.into(), values }),
            column.prop_map(|c| Predicate::IsNull(c.into())),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::And),
                prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Or),
                inner.prop_map(Predicate::negate),
            ]
        })
    }

    fn batches() -> impl Strategy<Value = RecordBatch> {
        let float = prop_oneof![Just(None), Just(Some(f64::NAN)), (-3_i32..4).prop_map(|v| Some(f64::from(v) / 2.0))];
        let row =
            (prop::option::of(-3_i32..4), float, prop::option::of("[a-c]{0,2}"), prop::option::of(prop::option::of(-3_i32..4)));
        prop::collection::vec(row, 0..8).prop_map(|rows| {
            let x = Int32Array::from_iter(rows.iter().map(|r| r.3.flatten()));
            let fields = vec![arrow_schema::Field::new("x", DataType::Int32, true)];
            let nulls = arrow_buffer::NullBuffer::from_iter(rows.iter().map(|r| r.3.is_some()));
            let n = StructArray::try_new_with_length(fields.into(), vec![Arc::new(x)], Some(nulls), rows.len()).unwrap();
            let nullable = |(name, array): (&str, ArrayRef)| (name.to_owned(), array, true);
            RecordBatch::try_from_iter_with_nullable(
                [
                    ("i", Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.0))) as ArrayRef),
                    ("f", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.1)))),
                    ("s", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.2.clone())))),
                    ("n", Arc::new(n)),
                ]
                .map(nullable),
            )
            .unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_truth_of_every_row_is_that_of_the_slow_predicate(predicate in predicates(), batch in batches()) {
            let fast = matching_rows(&predicate, &batch).unwrap();
            for row in 0..batch.num_rows() {
                let slow = predicate.matches(&|column| match column {
                    "i" => value_at(batch.column(0).as_ref(), row),
                    "f" => value_at(batch.column(1).as_ref(), row),
                    "s" => value_at(batch.column(2).as_ref(), row),
                    "n.x" if batch.column(3).is_valid(row) => value_at(batch.column(3).as_struct().column(0).as_ref(), row),
                    _ => Value::Null,
                });
                prop_assert_eq!(fast.value(row), slow == Some(true), "row {} of {}", row, &predicate);
            }
        }
    }
}
