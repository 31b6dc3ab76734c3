//! A source that a test pushes batches into.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::SchemaRef;

use super::{MemoryError, lock, ready};
use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::Result;
use crate::source::{Offset, PlannedBatch, ReadLimit, StreamSource};

/// Rows in memory, in the order they were pushed. Clones are one source, as two processes over one folder are.
///
/// An offset is the number of rows before it. A push counts as a file for [`ReadLimit::files`];
/// [`ReadLimit::rows`] cuts exactly, also inside a push.
#[derive(Clone)]
pub struct MemorySource(Arc<Mutex<State>>);

struct State {
    schema: SchemaRef,
    pushes: Vec<Push>,
    rows: u64,
    committed: Option<Offset>,
}

struct Push {
    /// Rows of the source before it.
    start: u64,
    batch: RecordBatch,
}

impl MemorySource {
    /// A source of rows with this schema, without rows yet.
    pub fn new(schema: SchemaRef) -> Self {
        Self(Arc::new(Mutex::new(State { schema, pushes: Vec::new(), rows: 0, committed: None })))
    }

    /// Adds rows. They may have more columns than those before, after these.
    ///
    /// **Errors**: `Invalid` when a column of the source is not there or has another type.
    pub fn push(&self, batch: RecordBatch) -> Result<()> {
        let mut state = lock(&self.0);
        for field in state.schema.fields() {
            let attempt = || "push to the memory source".to_owned();
            let Some(found) = batch.column_by_name(field.name()) else {
                return Err(
                    MemoryError::MissingColumn { location: "memory source".to_owned(), column: field.name().clone() }.into()
                );
            };
            if found.data_type() != field.data_type() {
                return Err(MemoryError::ColumnType {
                    attempt: attempt(),
                    column: field.name().clone(),
                    expected: field.data_type().clone(),
                    found: found.data_type().clone(),
                }
                .into());
            }
        }
        if batch.num_rows() > 0 {
            let start = state.rows;
            state.rows += batch.num_rows() as u64;
            if batch.num_columns() > state.schema.fields().len() {
                state.schema = batch.schema();
            }
            state.pushes.push(Push { start, batch });
        }
        Ok(())
    }

    /// The last position that was committed downstream.
    pub fn committed(&self) -> Option<Offset> {
        lock(&self.0).committed.clone()
    }

    /// How many rows were pushed.
    pub fn rows(&self) -> u64 {
        lock(&self.0).rows
    }
}

impl State {
    fn position(&self, offset: Option<&Offset>) -> Result<u64, MemoryError> {
        let Some(offset) = offset else { return Ok(0) };
        let invalid = || MemoryError::Offset { offset: offset.as_str().to_owned(), rows: self.rows };
        offset.as_str().parse().ok().filter(|rows| *rows <= self.rows).ok_or_else(invalid)
    }

    fn plan(&self, start: Option<&Offset>, limit: ReadLimit) -> Result<Option<PlannedBatch>, MemoryError> {
        let start = self.position(start)?;
        if start == self.rows {
            return Ok(None);
        }
        let (mut end, mut files, mut bytes) = (start, 0_u64, 0_u64);
        for push in &self.pushes {
            let push_end = push.start + push.batch.num_rows() as u64;
            if push_end <= start {
                continue;
            }
            let size = push.batch.get_array_memory_size() as u64;
            let full = limit.files.is_some_and(|most| files >= most)
                || limit.bytes.is_some_and(|most| bytes + size > most)
                || limit.rows.is_some_and(|most| end - start >= most);
            if full && end > start {
                break;
            }
            let rows_left = limit.rows.map_or(u64::MAX, |most| most.max(1).saturating_sub(end - start));
            end = push_end.min(end.saturating_add(rows_left));
            files += 1;
            bytes += size;
        }
        Ok(Some(PlannedBatch { end: Offset::new(end.to_string()), files, bytes, more: end < self.rows }))
    }

    fn read(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream, MemoryError> {
        let (start, end) = (self.position(start)?, self.position(Some(end))?);
        if end < start {
            return Err(MemoryError::Range { start, end });
        }
        let within: Vec<RecordBatch> = self
            .pushes
            .iter()
            .filter_map(|push| {
                let first = start.max(push.start);
                let last = end.min(push.start + push.batch.num_rows() as u64);
                // Both lie within the push, whose length is a usize.
                let at = usize::try_from(first.saturating_sub(push.start)).ok()?;
                let rows = usize::try_from(last.saturating_sub(first)).ok()?;
                (rows > 0).then(|| push.batch.slice(at, rows))
            })
            .collect();
        let schema = within.last().map_or_else(|| SchemaRef::clone(&self.schema), RecordBatch::schema);
        let widest = within.iter().map(RecordBatch::schema).max_by_key(|s| s.fields().len()).unwrap_or(schema);
        let batches = within.iter().map(|batch| widen(batch, &widest)).collect::<Result<Vec<_>, _>>()?;
        Ok(BatchStream::from_batches(widest, batches))
    }
}

fn widen(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, MemoryError> {
    let rows = batch.num_rows();
    let column = |name: &str| batch.column_by_name(name).map(Arc::clone);
    let columns = schema.fields().iter().map(|f| column(f.name()).unwrap_or_else(|| new_null_array(f.data_type(), rows)));
    RecordBatch::try_new_with_options(
        SchemaRef::clone(schema),
        columns.collect(),
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
    .map_err(|source| MemoryError::Arrow { attempt: "read the memory source".to_owned(), source })
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySource({} rows)", self.rows())
    }
}

impl StreamSource for MemorySource {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        ready(Ok(Some(SchemaRef::clone(&lock(&self.0).schema))))
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        ready(lock(&self.0).plan(start, limit).map_err(Into::into))
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        ready(lock(&self.0).read(start, end).map_err(Into::into))
    }

    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        let mut state = lock(&self.0);
        let known = state.position(Some(end)).map(|_| ());
        if known.is_ok() {
            state.committed = Some(end.clone());
        }
        ready(known.map_err(Into::into))
    }
}
