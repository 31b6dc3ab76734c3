//! Rows of scalars that become columns.

use datafusion::arrow::array::{ArrayRef, new_empty_array};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;

use super::error::StateError;

/// Rows in the order in which they were written, column by column.
pub(crate) struct RowLog {
    /// For errors: `the result`.
    target: String,
    fields: Fields,
    columns: Vec<Vec<ScalarValue>>,
    /// The row at hand: it is checked as a whole before a column gets a value of it.
    row: Vec<ScalarValue>,
    len: usize,
}

impl RowLog {
    pub(crate) fn new(target: String, fields: Fields) -> Self {
        let columns = fields.iter().map(|_| Vec::new()).collect();
        Self { target, fields, columns, row: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn value(&self, row: usize, column: usize) -> Option<&ScalarValue> {
        self.columns.get(column).and_then(|values| values.get(row))
    }

    /// **Errors**: when the row does not have the columns of the log; it is then as it was.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = ScalarValue>) -> Result<(), StateError> {
        self.row.clear();
        self.row.extend(row);
        if self.row.len() != self.fields.len() {
            return Err(StateError::Width { target: self.target.clone(), columns: listed(&self.fields), found: self.row.len() });
        }
        for (value, field) in self.row.iter_mut().zip(&self.fields) {
            conform(value, field, &self.target)?;
        }
        for (column, value) in self.columns.iter_mut().zip(self.row.drain(..)) {
            column.push(value);
        }
        self.len += 1;
        Ok(())
    }

    /// The rows for which `keep` says so, as columns.
    pub(crate) fn into_columns(self, keep: impl Fn(usize) -> bool) -> Result<Vec<ArrayRef>, DataFusionError> {
        let kept = |(values, field): (Vec<ScalarValue>, &FieldRef)| {
            let mut kept = values.into_iter().enumerate().filter(|(row, _)| keep(*row)).map(|(_, value)| value).peekable();
            match kept.peek() {
                Some(_) => ScalarValue::iter_to_array(kept),
                None => Ok(new_empty_array(field.data_type())),
            }
        };
        self.columns.into_iter().zip(&self.fields).map(kept).collect()
    }
}

/// Gives a null the type of its column, and refuses what does not fit.
pub(crate) fn conform(value: &mut ScalarValue, field: &FieldRef, target: &str) -> Result<(), StateError> {
    let found = value.data_type();
    if found == DataType::Null && *field.data_type() != DataType::Null {
        *value = ScalarValue::try_new_null(field.data_type()).map_err(|error| StateError::Arrow {
            attempt: "write a null to",
            target: target.to_owned(),
            source: error.into(),
        })?;
    } else if found != *field.data_type() {
        return Err(StateError::Type {
            target: target.to_owned(),
            column: field.name().clone(),
            expected: field.data_type().clone(),
            value: value.to_string(),
            found,
        });
    }
    if value.is_null() && !field.is_nullable() {
        return Err(StateError::Null { target: target.to_owned(), column: field.name().clone() });
    }
    Ok(())
}

/// Fields as text, for errors.
pub(crate) fn listed(fields: &Fields) -> String {
    let columns: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::types::Int64Type;
    use datafusion::arrow::datatypes::Field;

    fn log() -> RowLog {
        let fields = Fields::from(vec![Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8, true)]);
        RowLog::new("the result".to_owned(), fields)
    }

    #[test]
    fn rows_become_columns_and_nulls_get_the_type_of_their_column() {
        let mut log = log();
        log.push([ScalarValue::from(1_i64), ScalarValue::Null]).unwrap();
        log.push([ScalarValue::from(2_i64), ScalarValue::from("b")]).unwrap();
        log.push([ScalarValue::from(3_i64), ScalarValue::from("c")]).unwrap();
        let columns = log.into_columns(|row| row != 1).unwrap();
        assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[1, 3]);
        assert_eq!(columns[1].as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("c")]);
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_as_a_whole() {
        let mut log = log();
        let says = |result: Result<(), StateError>| result.unwrap_err().to_string();
        let narrow = says(log.push([ScalarValue::from(1_i64)]));
        assert_eq!(narrow, "write to the result: it has the columns [n Int64, t Utf8], and the row has 1 values");
        assert!(says(log.push([ScalarValue::from(1_i64), ScalarValue::from(2_i64)])).contains("`t` has the type Utf8"));
        assert!(says(log.push([ScalarValue::Null, ScalarValue::Null])).contains("`n` was declared without nulls"));
        assert_eq!(log.len(), 0);
        assert_eq!(log.into_columns(|_| true).unwrap()[0].len(), 0);
    }
}
