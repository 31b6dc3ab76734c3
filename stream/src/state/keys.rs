//! Keys of rows: bytes that are equal when the values are, and their hashes.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::types::{Float16Type, Float32Type, Float64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use twox_hash::XxHash64;

/// Makes keys of some columns.
pub(crate) struct Keying {
    columns: Vec<usize>,
    /// `None` without columns: all rows have one key.
    converter: Option<RowConverter>,
    /// Of the hashes, which are written to files: another one for each store, so that nobody can choose keys that collide.
    seed: u64,
    /// Of each hash; tests make it small, so that keys collide.
    mask: u64,
}

/// The keys of a batch, in its order.
pub(crate) struct Keys {
    rows: Option<Rows>,
    hashes: Vec<u64>,
}

impl Keying {
    /// **Errors**: when a column has a type without an order, as maps.
    pub(crate) fn new(schema: &Schema, columns: Vec<usize>) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect::<Vec<_>>();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { columns, converter, seed: 0, mask: u64::MAX })
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Of all keys from now on.
    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    #[cfg(test)]
    pub(crate) fn with_mask(mut self, mask: u64) -> Self {
        self.mask = mask;
        self
    }

    /// The columns of the store that are the key.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Keys of a batch that has the key columns in the places of the store's schema.
    pub(crate) fn of_batch(&self, batch: &RecordBatch) -> Result<Keys, ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        self.of_columns(&columns, batch.num_rows())
    }

    /// Keys of columns in the order of the key.
    pub(crate) fn of_columns(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, ArrowError> {
        let Some(converter) = &self.converter else {
            return Ok(Keys { rows: None, hashes: vec![0; rows] });
        };
        let canonical: Vec<ArrayRef> = columns.iter().map(canonical).collect();
        let rows = converter.convert_columns(&canonical)?;
        let hashes = rows.iter().map(|row| XxHash64::oneshot(self.seed, row.as_ref()) & self.mask).collect();
        Ok(Keys { rows: Some(rows), hashes })
    }
}

impl Keys {
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(crate) fn hash(&self, index: usize) -> u64 {
        self.hashes[index]
    }

    /// The numbers of the keys in the order of their hashes, those with the same hash as they came.
    pub(crate) fn by_hash(&self) -> Vec<(u64, u32)> {
        let mut order: Vec<(u64, u32)> = self.hashes.iter().copied().zip(0..).collect();
        order.sort_unstable();
        order
    }

    /// An order in which equal keys lie together.
    pub(crate) fn compare(&self, index: usize, other: usize) -> Ordering {
        match &self.rows {
            Some(rows) => rows.row(index).cmp(&rows.row(other)),
            None => Ordering::Equal,
        }
    }

    /// Whether two keys are the same.
    pub(crate) fn is_same(&self, index: usize, other: &Self, other_index: usize) -> bool {
        match (&self.rows, &other.rows) {
            (Some(rows), Some(others)) => rows.row(index) == others.row(other_index),
            _ => true,
        }
    }
}

/// Numbers that are equal have equal bytes: -0.0 is 0.0, and there is one NaN.
fn canonical(column: &ArrayRef) -> ArrayRef {
    fn unary<T: ArrowPrimitiveType>(column: &ArrayRef, one: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let array: &PrimitiveArray<T> = column.as_primitive();
        Arc::new(array.unary::<_, T>(one))
    }
    match column.data_type() {
        DataType::Float16 => unary::<Float16Type>(column, |v| if v.is_nan() { half_nan() } else { v + half_zero() }),
        DataType::Float32 => unary::<Float32Type>(column, |v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        DataType::Float64 => unary::<Float64Type>(column, |v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        _ => Arc::clone(column),
    }
}

fn half_nan() -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::NAN
}

fn half_zero() -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};

    fn keys(columns: Vec<(&str, ArrayRef)>) -> Keys {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let all = (0..batch.num_columns()).collect();
        Keying::new(&batch.schema(), all).unwrap().of_batch(&batch).unwrap()
    }

    #[test]
    fn equal_values_have_one_key_and_nulls_are_values_of_their_column() {
        let floats = keys(vec![("f", Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0])))]);
        assert!(floats.is_same(0, &floats, 1) && floats.hash(0) == floats.hash(1));
        assert!(floats.is_same(2, &floats, 3));
        assert!(!floats.is_same(0, &floats, 4));
        let pairs = keys(vec![
            ("a", Arc::new(Int64Array::from(vec![Some(1), None, None]))),
            ("b", Arc::new(StringArray::from(vec![None, Some("1"), None]))),
        ]);
        assert!(!pairs.is_same(0, &pairs, 1) && !pairs.is_same(1, &pairs, 2));
    }
}
