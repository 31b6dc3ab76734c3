//! What rows are sorted by, and in which range of it a row is.

use std::sync::Arc;

use boathouse_delta_table::{FileRead, Snapshot};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::arrow::error::ArrowError;

use super::bin::Bin;
use super::column::OrderColumn;
use super::curve::{Curve, bits_of};
use super::order::Order;
use super::ranges::{Ranges, Sample, bounds};
use crate::engine::error::{Attempt, Result};

/// Columns beyond so many do not count: each coordinate has a bit at least.
const MOST_COLUMNS: usize = 64;
/// Ranges of keys that hold about as many rows each, as bits.
pub(super) const RANGE_BITS: u32 = 10;

/// What rows are sorted by.
pub(super) enum Keys {
    /// The only column itself.
    Value { column: OrderColumn, ranges: Ranges },
    /// The place on a curve.
    Place { columns: Vec<(OrderColumn, Ranges)>, curve: Curve, bits: u32, bounds: Vec<u64> },
}

impl Keys {
    /// Looks at the columns of the order in all rows, for the ranges of their values.
    pub(super) async fn of(snapshot: &Snapshot, bin: &Bin, order: &Order, attempt: &Attempt) -> Result<Self> {
        let columns = &order.columns[..order.columns.len().min(MOST_COLUMNS)];
        let failed = |source| attempt.compute(source);
        let mut samples =
            columns.iter().map(|column| Sample::new(&column.data_type)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut roots: Vec<String> = columns.iter().map(|column| column.root().to_owned()).collect();
        roots.sort_unstable();
        roots.dedup();
        let read = FileRead { projection: Some(roots), ..FileRead::default() };
        let mut rows = snapshot.read_files(bin.files.clone(), read)?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| attempt.rows(error))?;
            for (column, sample) in columns.iter().zip(&mut samples) {
                column.values(&batch).and_then(|values| sample.add(&values)).map_err(failed)?;
            }
        }
        if let [column] = columns
            && let Some(sample) = samples.pop()
        {
            return Ok(Self::Value { column: column.clone(), ranges: sample.ranges(RANGE_BITS).0 });
        }
        let (bits, curve) = (bits_of(columns.len()), order.curve);
        let (ranges, sampled): (Vec<_>, Vec<_>) = samples.into_iter().map(|sample| sample.ranges(bits)).unzip();
        let mut places = places(&sampled, curve, bits);
        places.sort_unstable();
        let bounds = bounds(&places, RANGE_BITS);
        Ok(Self::Place { columns: columns.iter().cloned().zip(ranges).collect(), curve, bits, bounds })
    }

    /// The type of a key.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Value { column, .. } => column.data_type.clone(),
            Self::Place { .. } => DataType::UInt64,
        }
    }

    /// The key of each row.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Value { column, .. } => column.values(batch),
            Self::Place { columns, curve, bits, .. } => {
                let numbers = columns.iter().map(|(column, ranges)| ranges.numbers(&column.values(batch)?));
                let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
                Ok(Arc::new(UInt64Array::from(places(&numbers, *curve, *bits))))
            }
        }
    }

    /// The range of each key, from 0, of 2 to the power of [`RANGE_BITS`].
    pub(super) fn ranges(&self, keys: &ArrayRef) -> Result<Vec<u32>, ArrowError> {
        match self {
            Self::Value { ranges, .. } => ranges.numbers(keys),
            Self::Place { bounds, .. } => {
                let range = |place| u32::try_from(bounds.partition_point(|bound| *bound <= place)).unwrap_or(u32::MAX);
                Ok(keys.as_primitive::<UInt64Type>().values().iter().map(|place| range(*place)).collect())
            }
        }
    }
}

/// The place of each row on the curve, by its coordinates.
fn places(coordinates: &[Vec<u32>], curve: Curve, bits: u32) -> Vec<u64> {
    let rows = coordinates.iter().map(Vec::len).min().unwrap_or(0);
    let mut place = vec![0; coordinates.len()];
    let of = |row: usize| {
        place.iter_mut().zip(coordinates).for_each(|(coordinate, column)| *coordinate = column[row]);
        curve.index(&mut place, bits)
    };
    (0..rows).map(of).collect()
}
