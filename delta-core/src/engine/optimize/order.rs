//! Rows in the order of a curve.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_delta_table::{DataWriter, FileRead, Snapshot};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use futures::StreamExt;

use super::bin::{Bin, Kind, Rewritten};
use super::column::OrderColumn;
use super::compact::keep;
use super::curve::{Curve, bits_of};
use super::ranges::{Ranges, Sample};
use super::settings::OptimizeSettings;
use super::sort::sorted;
use crate::engine::error::{Attempt, Result};
use crate::engine::origins::Known;
use crate::engine::touched::unused_name;

/// Columns beyond so many do not count: each coordinate has a bit at least.
const MOST_COLUMNS: usize = 64;

/// How rows are to lie.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) columns: Vec<OrderColumn>,
    pub(super) curve: Curve,
}

/// What rows are sorted by.
enum Keys {
    /// The only column itself.
    Value(OrderColumn),
    /// The place on a curve.
    Place { columns: Vec<(OrderColumn, Ranges)>, curve: Curve, bits: u32 },
}

/// Writes the rows of a bin in this order, to files of the target size.
///
/// **Cost**: the columns of a curve are read once more before, for their ranges. Rows beyond the budget go to disk once and come back.
pub(super) async fn order(
    snapshot: &Snapshot,
    bin: Bin,
    order: &Order,
    settings: &OptimizeSettings,
    attempt: &Attempt,
) -> Result<Rewritten> {
    let keys = Arc::new(Keys::of(snapshot, &bin, order, attempt).await?);
    let read = FileRead { row_tracking: snapshot.row_tracking().cloned(), ..FileRead::default() };
    let rows = snapshot.read_files(bin.files.clone(), read)?;
    let (schema, place) = keyed_schema(&rows.schema(), &keys);
    let key = schema.field(place).name().clone();
    let keyed = {
        let schema = SchemaRef::clone(&schema);
        let context = attempt.clone();
        rows.map(move |batch| {
            let batch = batch?;
            keys.add(&batch, &schema).map_err(|source| context.compute(source).into())
        })
    };
    let mut sorted = sorted(BatchStream::new(schema, keyed), &key, settings.sort_bytes(), attempt).await?;
    let columns: Vec<usize> = (0..place).collect();
    let mut writer = DataWriter::new(snapshot, settings.writer(settings.target_bytes(snapshot)))?;
    while let Some(batch) = sorted.next().await {
        let batch = batch.map_err(|error| attempt.rows(from_datafusion("sort the rows", error)));
        let written = match batch.and_then(|batch| batch.project(&columns).map_err(|source| attempt.compute(source))) {
            Ok(batch) => keep(&mut writer, Known::of(snapshot, batch)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    let written = writer.finish().await?;
    Ok(Rewritten { sources: bin.files, written, kind: Kind::Ordered })
}

/// The columns of the rows, and behind them the key.
fn keyed_schema(rows: &SchemaRef, keys: &Keys) -> (SchemaRef, usize) {
    let names: Vec<&String> = rows.fields().iter().map(|field| field.name()).collect();
    let key = Field::new(unused_name(&names), keys.data_type(), true);
    let fields = rows.fields().iter().cloned().chain([Arc::new(key)]);
    (Arc::new(Schema::new(fields.collect::<Vec<_>>())), rows.fields().len())
}

impl Keys {
    async fn of(snapshot: &Snapshot, bin: &Bin, order: &Order, attempt: &Attempt) -> Result<Self> {
        let columns = &order.columns[..order.columns.len().min(MOST_COLUMNS)];
        if let [column] = columns {
            return Ok(Self::Value(column.clone()));
        }
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
        let bits = bits_of(columns.len());
        let columns = columns.iter().cloned().zip(samples.into_iter().map(|sample| sample.ranges(bits))).collect();
        Ok(Self::Place { columns, curve: order.curve, bits })
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Value(column) => column.data_type.clone(),
            Self::Place { .. } => DataType::UInt64,
        }
    }

    /// The rows with their keys.
    fn add(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let keys = match self {
            Self::Value(column) => column.values(batch)?,
            Self::Place { columns, curve, bits } => {
                let numbers = columns.iter().map(|(column, ranges)| ranges.numbers(&column.values(batch)?));
                let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
                let mut coordinates = vec![0; numbers.len()];
                let places = (0..batch.num_rows()).map(|row| {
                    coordinates.iter_mut().zip(&numbers).for_each(|(coordinate, column)| *coordinate = column[row]);
                    curve.index(&mut coordinates, *bits)
                });
                Arc::new(UInt64Array::from_iter_values(places)) as ArrayRef
            }
        };
        let columns = batch.columns().iter().cloned().chain([keys]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
    }
}
