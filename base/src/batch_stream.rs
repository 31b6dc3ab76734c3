//! A stream of Arrow record batches that knows its schema.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_core::Stream;

use crate::error::{DomainError, Error, ErrorKind, Result};

/// Record batches over time, all of one schema.
///
/// # Contract
/// - The schema is known before the first batch, and an empty stream still has it.
/// - Every batch has exactly that schema (names, types, nullability; metadata is not compared): a
///   producer that yields another one ends the stream with a [`SchemaChanged`] error.
/// - After an error the stream is over.
/// - Nothing may be inferred from where one batch ends and the next begins.
/// - Dropping the stream cancels the work behind it.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::BatchStream;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
/// let stream = BatchStream::from_batches(batch.schema(), vec![batch]);
/// assert_eq!(stream.schema().field(0).name(), "id");
/// # Ok(()) }
/// ```
pub struct BatchStream {
    schema: SchemaRef,
    inner: Option<Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>>,
}

impl BatchStream {
    /// A stream over `inner`, whose batches must all have `schema`.
    pub fn new(schema: SchemaRef, inner: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> Self {
        Self { schema, inner: Some(Box::pin(inner)) }
    }

    /// A stream without batches.
    pub fn empty(schema: SchemaRef) -> Self {
        Self { schema, inner: None }
    }

    /// A stream over batches in memory.
    pub fn from_batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self::new(schema, Iter(batches.into_iter()))
    }

    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// The next batch; `None` at the end. May be dropped and called again without losing a batch.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// All batches, in order.
    ///
    /// **Cost**: holds every batch in memory.
    ///
    /// **Errors**: the first error of the stream.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl From<RecordBatch> for BatchStream {
    fn from(batch: RecordBatch) -> Self {
        Self::from_batches(batch.schema(), vec![batch])
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        let item = match inner.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(item) => item,
        };
        let item = item.map(|batch| batch.and_then(|batch| check(&self.schema, batch)));
        if !matches!(item, Some(Ok(_))) {
            self.inner = None;
        }
        Poll::Ready(item)
    }
}

fn check(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    let found = batch.schema_ref();
    let same = std::sync::Arc::ptr_eq(schema, found)
        || (schema.fields().len() == found.fields().len()
            && schema.fields().iter().zip(found.fields()).all(|(a, b)| {
                std::sync::Arc::ptr_eq(a, b)
                    || (a.name() == b.name() && a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable())
            }));
    if same { Ok(batch) } else { Err(Error::from(SchemaChanged { expected: SchemaRef::clone(schema), found: batch.schema() })) }
}

/// A producer yielded a batch whose schema is not that of its [`BatchStream`].
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "read a batch stream: a batch has other fields than the stream announced (expected {expected:?}, found {found:?}); \
     the producer must cast its batches before it yields them"
)]
pub struct SchemaChanged {
    /// The schema that the stream announced.
    pub expected: SchemaRef,
    /// The schema of the batch.
    pub found: SchemaRef,
}

impl DomainError for SchemaChanged {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

struct Iter(std::vec::IntoIter<RecordBatch>);

impl Stream for Iter {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
