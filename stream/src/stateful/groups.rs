//! Rows by key, as columns.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::error::StateError;
use super::native::FromScalar;
use super::row_log::listed;
use crate::state::Keys;

/// Rows of which those of one key lie together.
#[derive(Debug)]
pub(crate) struct Grouped {
    /// One row for each key, in the order in which the keys came.
    pub(crate) keys: RecordBatch,
    rows: RecordBatch,
    /// Where the rows of each key begin; then the end.
    starts: Vec<usize>,
}

impl Grouped {
    /// The rows of a key, in the order in which they came. **Cost**: no copy of them.
    pub(crate) fn rows_of(&self, key: usize) -> RecordBatch {
        self.rows.slice(self.starts[key], self.starts[key + 1] - self.starts[key])
    }
}

/// Brings the rows of each key together. `columns` are those of the key, and `schema` has their names.
pub(crate) fn group(rows: &RecordBatch, keys: &Keys, columns: &[usize], schema: &SchemaRef) -> Result<Grouped, ArrowError> {
    let (firsts, of_row) = number(keys);
    let mut starts = vec![0_usize; firsts.len() + 1];
    for key in &of_row {
        starts[*key as usize + 1] += 1;
    }
    for key in 0..firsts.len() {
        starts[key + 1] += starts[key];
    }
    let mut next = starts.clone();
    let mut order = vec![0_u32; of_row.len()];
    for (row, key) in (0_u32..).zip(&of_row) {
        let at = &mut next[*key as usize];
        order[*at] = row;
        *at += 1;
    }
    let is_in_order = order.iter().zip(0_u32..).all(|(row, at)| *row == at);
    let grouped = if is_in_order { rows.clone() } else { take_record_batch(rows, &UInt32Array::from(order))? };
    let keys = take_record_batch(&rows.project(columns)?, &UInt32Array::from(firsts))?;
    let keys = RecordBatch::try_new(Arc::clone(schema), keys.columns().to_vec())?;
    Ok(Grouped { keys, rows: grouped, starts })
}

/// The first row of each key, by its number; and the number of each row's key. Numbers go up in the order in which keys come.
pub(crate) fn number(keys: &Keys) -> (Vec<u32>, Vec<u32>) {
    let mut numbers: HashTable<u32> = HashTable::new();
    let mut firsts: Vec<u32> = Vec::new();
    let mut of_row = Vec::with_capacity(keys.hashes().len());
    for (row, hash) in (0_u32..).zip(keys.hashes()) {
        let first = |number: &u32| firsts[*number as usize] as usize;
        let is_same = |number: &u32| keys.is_same(row as usize, keys, first(number));
        let known = match numbers.entry(*hash, is_same, |number| keys.hash(first(number))) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(new) => {
                new.insert(u32::try_from(firsts.len()).unwrap_or(u32::MAX));
                None
            }
        };
        of_row.push(known.unwrap_or_else(|| {
            firsts.push(row);
            u32::try_from(firsts.len() - 1).unwrap_or(u32::MAX)
        }));
    }
    (firsts, of_row)
}

/// The key of a call.
#[derive(Clone, Copy)]
pub struct StateKey<'a> {
    keys: &'a RecordBatch,
    row: usize,
}

impl<'a> StateKey<'a> {
    pub(crate) fn new(keys: &'a RecordBatch, row: usize) -> Self {
        Self { keys, row }
    }

    /// Its value in a column.
    ///
    /// **Errors**: `Invalid` when the key has no such column.
    pub fn value(&self, column: &str) -> Result<ScalarValue, StateError> {
        match self.keys.column_by_name(column) {
            Some(values) => scalar(values, self.row, || format!("the key's column `{column}`")),
            None => Err(StateError::KeyColumn { column: column.to_owned(), columns: listed(self.keys.schema().fields()) }),
        }
    }

    /// Its value in a column as a type of Rust; `None` when it is null.
    ///
    /// **Errors**: `Invalid` when the key has no such column, or it has another type.
    pub fn get<T: FromScalar>(&self, column: &str) -> Result<Option<T>, StateError> {
        read(&self.value(column)?, || format!("the key's column `{column}`"))
    }

    /// Its values, in the order of the key's columns.
    ///
    /// **Errors**: `Internal` when a column has a type without scalars.
    pub fn values(&self) -> Result<Vec<ScalarValue>, StateError> {
        self.keys.columns().iter().map(|column| scalar(column, self.row, || "the key".to_owned())).collect()
    }
}

impl fmt::Display for StateKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values().map_err(|_| fmt::Error)?;
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", values.join(", "))
    }
}

impl fmt::Debug for StateKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateKey{self}")
    }
}

/// A value of a column.
pub(crate) fn scalar(column: &dyn Array, row: usize, target: impl Fn() -> String) -> Result<ScalarValue, StateError> {
    let value = ScalarValue::try_from_array(column, row);
    value.map_err(|error| StateError::Arrow { attempt: "read", target: target(), source: error.into() })
}

/// A value as a type of Rust; `None` when it is null.
pub(crate) fn read<T: FromScalar>(value: &ScalarValue, target: impl Fn() -> String) -> Result<Option<T>, StateError> {
    match T::from_scalar(value) {
        Some(native) => Ok(Some(native)),
        None if value.is_null() => Ok(None),
        None => {
            let found = format!("{value} of type {}", value.data_type());
            Err(StateError::Read { target: target(), wanted: std::any::type_name::<T>(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::types::Int64Type;
    use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};

    use crate::state::Keying;

    #[test]
    fn rows_of_a_key_lie_together_and_keys_and_rows_stay_in_their_order_also_when_hashes_collide() {
        for mask in [u64::MAX, 1, 0] {
            let keys: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b"), None, Some("c")]));
            let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
            let batch = RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("v", rows, false)]).unwrap();
            let schema: SchemaRef = batch.schema().project(&[0]).unwrap().into();
            let keying = Keying::new(&batch.schema(), vec![0]).unwrap().with_mask(mask);
            let grouped = group(&batch, &keying.of_batch(&batch).unwrap(), &[0], &schema).unwrap();
            let names: Vec<_> = grouped.keys.column(0).as_string::<i32>().iter().collect();
            assert_eq!(names, [Some("b"), None, Some("a"), Some("c")]);
            let rows = |key| grouped.rows_of(key).column(1).as_primitive::<Int64Type>().values().to_vec();
            assert_eq!([rows(0), rows(1), rows(2), rows(3)], [vec![0, 3], vec![1, 4], vec![2], vec![5]]);
        }
    }

    #[test]
    fn a_key_says_what_it_holds() {
        let keys = RecordBatch::try_from_iter([
            ("origin", Arc::new(StringArray::from(vec!["JFK"])) as ArrayRef),
            ("gate", Arc::new(Int64Array::from(vec![7]))),
        ]);
        let keys = keys.unwrap();
        let key = StateKey::new(&keys, 0);
        assert_eq!(key.get::<String>("origin").unwrap().as_deref(), Some("JFK"));
        assert_eq!(key.get::<i64>("gate").unwrap(), Some(7));
        assert_eq!(key.to_string(), "[JFK, 7]");
        assert_eq!(
            key.get::<i64>("origin").unwrap_err().to_string(),
            "read the key's column `origin` as i64: it holds JFK of type Utf8"
        );
        assert!(key.value("gates").unwrap_err().to_string().contains("[origin Utf8, gate Int64]"));
    }
}
