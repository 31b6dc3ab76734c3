use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use boathouse_base::{BatchStream, Error, ErrorKind, Result, contract};
use futures_core::Stream;

use crate::drive;

fn ids() -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap()
}

struct Items(std::vec::IntoIter<Result<RecordBatch>>);

impl Stream for Items {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[test]
fn a_stream_of_batches_ends_once_and_keeps_its_schema() {
    let stream = BatchStream::from_batches(ids().schema(), vec![ids(), ids()]);
    assert_eq!(drive(contract::batch_stream(stream)).unwrap().len(), 2);
    let empty = BatchStream::empty(ids().schema());
    assert_eq!(empty.schema(), ids().schema());
    assert!(drive(contract::batch_stream(empty)).unwrap().is_empty());
}

#[test]
fn a_stream_is_over_after_an_error_even_if_its_producer_goes_on() {
    let items = vec![Ok(ids()), Err(Error::new(ErrorKind::Unavailable, "the store is away")), Ok(ids())];
    let stream = BatchStream::new(ids().schema(), Items(items.into_iter()));
    assert_eq!(drive(contract::batch_stream(stream)).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_batch_of_another_schema_ends_the_stream_with_an_error() {
    let text = RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
    let stream = BatchStream::new(ids().schema(), Items(vec![Ok(ids()), Ok(text), Ok(ids())].into_iter()));
    let error = drive(contract::batch_stream(stream)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.downcast_ref::<boathouse_base::SchemaChanged>().is_some());
}
