//! What a file of state holds: rows, when they are over, and what was taken out of older files.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::types::{Int64Type, UInt32Type};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::segment::Place;

/// The column of a file that says when its rows are over.
const EXPIRES: &str = "__expires_us";
/// The columns of the second part: the segment and the row that is gone.
const REMOVED: [&str; 2] = ["segment", "row"];

/// Rows of segments that were taken out before they were over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Removals(BTreeMap<u32, Vec<u32>>);

impl Removals {
    pub(crate) fn add(&mut self, place: Place) {
        self.0.entry(place.segment).or_default().push(place.row);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (segment, rows) in other.0 {
            self.0.entry(segment).or_default().extend(rows);
        }
    }

    /// Forgets segments that are not there any more.
    pub(crate) fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.0.retain(|segment, _| is_there(*segment));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.0.iter().flat_map(|(segment, rows)| rows.iter().map(|row| Place { segment: *segment, row: *row }))
    }
}

/// What one epoch changed in a store.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    /// Of the segment.
    pub(crate) number: u32,
    pub(crate) rows: RecordBatch,
    pub(crate) expires: Option<Int64Array>,
    pub(crate) removals: Removals,
}

/// A file: an Arrow IPC stream of the rows, then one of the places that are gone.
pub(crate) fn encode(changes: &Changes) -> Result<Vec<u8>, ArrowError> {
    let schema = changes.rows.schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = changes.rows.columns().to_vec();
    if let Some(expires) = &changes.expires {
        fields.push(Arc::new(Field::new(EXPIRES, DataType::Int64, true)));
        columns.push(Arc::new(expires.clone()));
    }
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(changes.rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
    let (segments, gone): (Vec<u32>, Vec<u32>) = changes.removals.places().map(|place| (place.segment, place.row)).unzip();
    let removals = RecordBatch::try_from_iter([
        (REMOVED[0], Arc::new(UInt32Array::from(segments)) as ArrayRef),
        (REMOVED[1], Arc::new(UInt32Array::from(gone))),
    ])?;
    let mut bytes = Vec::new();
    for part in [rows, removals] {
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut bytes, &part.schema())?;
        writer.write(&part)?;
        writer.finish()?;
    }
    Ok(bytes)
}

/// What [`encode`] has written.
pub(crate) fn decode(number: u32, bytes: &[u8]) -> Result<Changes, ArrowError> {
    let mut rest = bytes;
    let batch = next_part(&mut rest)?;
    let gone = next_part(&mut rest)?;
    let column = |at: usize| {
        let numbers = gone.columns().get(at).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        numbers.ok_or_else(|| ArrowError::IpcError("the second part does not hold places".to_owned()))
    };
    let mut removals = Removals::default();
    for (segment, row) in column(0)?.values().iter().zip(column(1)?.values()) {
        removals.add(Place { segment: *segment, row: *row });
    }
    let schema = batch.schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    let mut expires = None;
    if fields.last().is_some_and(|field| field.name() == EXPIRES && field.data_type() == &DataType::Int64) {
        fields.pop();
        expires = columns.pop().map(|column| column.as_primitive::<Int64Type>().clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
    Ok(Changes { number, rows, expires, removals })
}

fn next_part(bytes: &mut &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = arrow_ipc::reader::StreamReader::try_new(&mut *bytes, None)?;
    let batch = reader.next().transpose()?.ok_or_else(|| ArrowError::IpcError("a part of the file is empty".to_owned()))?;
    // Up to the mark that ends the part.
    match reader.next() {
        None => Ok(batch),
        Some(_) => Err(ArrowError::IpcError("a part of the file has more than one batch".to_owned())),
    }
}
