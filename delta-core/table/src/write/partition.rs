//! Rows of a batch by the values of the partition columns.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{OwnedRow, RowConverter, SortField};
use arrow_schema::ArrowError;
use boathouse_base::Value;

use crate::arrow_value::value_at;

/// Tells partitions apart.
pub(crate) type PartitionKey = OwnedRow;

/// Splits batches by partition.
pub(crate) struct Splitter {
    rows: RowConverter,
}

/// The rows of one partition.
pub(crate) struct Part {
    pub(crate) key: PartitionKey,
    /// The values of the partition columns.
    pub(crate) values: Vec<Value>,
    /// The rows, without the partition columns.
    pub(crate) batch: RecordBatch,
}

impl Splitter {
    /// For partition columns of these types.
    pub(crate) fn new(types: impl IntoIterator<Item = arrow_schema::DataType>) -> Result<Self, ArrowError> {
        Ok(Self { rows: RowConverter::new(types.into_iter().map(SortField::new).collect())? })
    }

    /// The parts of a batch, in the order in which they appear in it.
    ///
    /// `columns` are the partition columns, `data` has all others.
    pub(crate) fn split(&self, columns: &[ArrayRef], data: &RecordBatch) -> Result<Vec<Part>, ArrowError> {
        let rows = self.rows.convert_columns(columns)?;
        let mut groups: Vec<(OwnedRow, Vec<u32>)> = Vec::new();
        let mut places: HashMap<OwnedRow, usize> = HashMap::new();
        let mut last: Option<usize> = None;
        for (at, row) in rows.iter().enumerate() {
            // Neighbours are often in the same partition.
            let group = match last.filter(|g| groups[*g].0.row() == row) {
                Some(group) => group,
                None => {
                    let owned = row.owned();
                    *places.entry(owned).or_insert_with_key(|key| {
                        groups.push((key.clone(), Vec::new()));
                        groups.len() - 1
                    })
                }
            };
            last = Some(group);
            groups[group].1.push(u32::try_from(at).map_err(|_| ArrowError::ComputeError("a batch of over 4 G rows".to_owned()))?);
        }
        let single = groups.len() == 1;
        let parts = groups.into_iter().map(|(key, rows)| {
            let first = rows.first().map_or(0, |r| *r as usize);
            let values = columns.iter().map(|c| value_at(c.as_ref(), first)).collect();
            let batch = if single {
                data.clone()
            } else {
                let rows = UInt32Array::from(rows);
                let taken = data.columns().iter().map(|c| arrow_select::take::take(c, &rows, None));
                let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
                RecordBatch::try_new_with_options(data.schema(), taken.collect::<Result<_, _>>()?, &options)?
            };
            Ok(Part { key, values, batch })
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow_array::{Array, Int64Array, StringArray};
    use arrow_schema::DataType;

    use super::*;

    #[test]
    fn rows_are_split_by_value_in_order_of_appearance_and_nulls_are_a_partition() {
        let days: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b"), None]));
        let data = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef)]).unwrap();
        let parts = Splitter::new([DataType::Utf8]).unwrap().split(&[days], &data).unwrap();
        let found: Vec<_> = parts.iter().map(|p| (p.values[0].clone(), p.batch.column(0).as_ref().to_data())).collect();
        assert_eq!(
            found,
            [
                (Value::from("b"), Int64Array::from(vec![1, 4]).to_data()),
                (Value::from("a"), Int64Array::from(vec![2]).to_data()),
                (Value::Null, Int64Array::from(vec![3, 5]).to_data()),
            ]
        );
    }
}
