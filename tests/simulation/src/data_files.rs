//! Rows, as batches and as Parquet files.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::BatchStream;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A row of the simulated table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Unique: the number of the operation that wrote it first is in it.
    pub(crate) id: i64,
    pub(crate) part: Part,
    /// What rewrites change.
    pub(crate) value: i64,
}

/// A partition of the simulated table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part(pub(crate) u8);

impl Part {
    /// How many there are.
    pub(crate) const COUNT: u64 = 3;

    pub(crate) fn name(self) -> &'static str {
        ["a", "b", "c"].get(usize::from(self.0)).copied().unwrap_or("?")
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        ["a", "b", "c"].iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()).map(Self)
    }
}

/// The columns of the simulated table.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("part", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ])
}

/// Rows as one batch.
pub(crate) fn batch(rows: &[Row]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.part.name()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.value))),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns)
}

/// Rows as a stream of one batch.
pub(crate) fn stream(rows: &[Row]) -> Result<BatchStream, arrow_schema::ArrowError> {
    let batch = batch(rows)?;
    Ok(BatchStream::from_batches(batch.schema(), vec![batch]))
}

/// A column of numbers.
pub(crate) fn numbers_of(batch: &RecordBatch, name: &str) -> Option<Vec<i64>> {
    Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.values().to_vec())
}

/// The rows of a batch; nothing when it does not have the columns.
pub(crate) fn rows_of(batch: &RecordBatch) -> Option<Vec<Row>> {
    let numbers = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (ids, values) = (numbers("id")?, numbers("value")?);
    let parts = batch.column_by_name("part").and_then(|column| column.as_string_opt::<i32>())?;
    (0..batch.num_rows())
        .map(|at| Some(Row { id: ids.value(at), part: Part::named(parts.value(at))?, value: values.value(at) }))
        .collect()
}

/// A row of a Parquet file, with what the file itself says of its id and its version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) row: Row,
    pub(crate) row_id: Option<i64>,
    pub(crate) commit_version: Option<i64>,
}

/// The rows of a Parquet file of a partition, read without the engine. Ids and versions stand in columns of these names.
pub(crate) fn decode(bytes: &Bytes, part: Part, id_column: &str, version_column: &str) -> Option<Vec<Stored>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).ok()?.build().ok()?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.ok()?;
        let numbers = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (ids, values) = (numbers("id")?, numbers("value")?);
        let own = |name: &str, at: usize| numbers(name).filter(|column| column.is_valid(at)).map(|column| column.value(at));
        rows.extend((0..batch.num_rows()).map(|at| Stored {
            row: Row { id: ids.value(at), part, value: values.value(at) },
            row_id: own(id_column, at),
            commit_version: own(version_column, at),
        }));
    }
    Some(rows)
}

/// A Parquet file without its last row.
pub(crate) fn without_last_row(bytes: &Bytes) -> Option<Bytes> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).ok()?;
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().ok()?.collect::<Result<_, _>>().ok()?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).ok()?;
    let mut left = rows.saturating_sub(1);
    for batch in batches {
        let take = left.min(batch.num_rows());
        writer.write(&batch.slice(0, take)).ok()?;
        left -= take;
    }
    Some(writer.into_inner().ok()?.into())
}
