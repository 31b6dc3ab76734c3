//! Rows chosen by a predicate.

use std::ops::Range;

use arrow_array::{Array, RecordBatch};

use super::MemoryError;
use crate::predicate::Predicate;
use crate::value::Value;

/// For each row whether the predicate is true there.
pub(super) fn matching(batch: &RecordBatch, predicate: &Predicate, attempt: &str) -> Result<Vec<bool>, MemoryError> {
    let columns = predicate.columns();
    for column in &columns {
        let found = batch.column_by_name(column).ok_or_else(|| no_column(attempt, column, batch.schema_ref()))?;
        if !found.is_empty() && Value::at(found.as_ref(), 0).is_none() {
            return Err(MemoryError::ValueType { column: (*column).to_owned(), data_type: found.data_type().clone() });
        }
    }
    let truth = |row: usize| {
        let read =
            |column: &str| batch.column_by_name(column).and_then(|array| Value::at(array.as_ref(), row)).unwrap_or(Value::Null);
        predicate.matches(&read) == Some(true)
    };
    Ok((0..batch.num_rows()).map(truth).collect())
}

/// The longest runs of `true`.
pub(super) fn runs(chosen: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, _) in chosen.iter().enumerate().filter(|(_, chosen)| **chosen) {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

pub(super) fn no_column(attempt: &str, column: &str, schema: &arrow_schema::Schema) -> MemoryError {
    MemoryError::NoColumn {
        attempt: attempt.to_owned(),
        column: column.to_owned(),
        found: schema.fields().iter().map(|field| field.name().clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        assert_eq!(runs(&[]), vec![]);
        assert_eq!(runs(&[true, true, false, true]), vec![0..2, 3..4]);
        assert_eq!(runs(&[false, false]), vec![]);
    }
}
