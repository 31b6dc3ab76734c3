//! Columns put together from rows that lie in many batches.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;

use super::buckets::Place;
use crate::error::{Attempt, Result};

/// A column of the rows at `places`, null where there is none. There is a batch at least.
pub(crate) fn gather(
    batches: &[RecordBatch],
    column: usize,
    places: &[Option<Place>],
    attempt: impl FnOnce() -> String,
) -> Result<ArrayRef> {
    let data_type = batches[0].column(column).data_type().clone();
    if places.iter().all(Option::is_none) {
        return Ok(new_null_array(&data_type, places.len()));
    }
    let nothing = new_null_array(&data_type, 1);
    let mut arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
    arrays.push(nothing.as_ref());
    let absent = (arrays.len() - 1, 0);
    let at = |place: &Option<Place>| place.map_or(absent, |place| (place.batch as usize, place.row as usize));
    let indices: Vec<(usize, usize)> = places.iter().map(at).collect();
    interleave(&arrays, &indices).attempt(attempt)
}

/// All columns of the rows at `places`.
pub(crate) fn gather_batch(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    places: &[Place],
    attempt: impl Fn() -> String,
) -> Result<RecordBatch> {
    if places.is_empty() || batches.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let places: Vec<Option<Place>> = places.iter().copied().map(Some).collect();
    let column = |at| gather(batches, at, &places, &attempt);
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).attempt(attempt)
}
