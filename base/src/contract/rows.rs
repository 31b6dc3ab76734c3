//! Rows for the suites, and rows compared.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures_core::Stream;

use crate::batch_stream::BatchStream;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{ScanRequest, Table, TableSnapshot, TableVersion};

/// `id: Int64 not null, name: Utf8, delay: Float64`.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("delay", DataType::Float64, true),
    ]))
}

/// A row for each id; `name` is one of four, every fifth `delay` is null.
pub(super) fn batch(ids: &[i64]) -> RecordBatch {
    let names = ids.iter().map(|id| Some(name(*id)));
    let delays = ids.iter().map(|id| delay(*id));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(delays.collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(super) fn name(id: i64) -> &'static str {
    ["ann", "bob", "cyd", "dan"][usize::try_from(id.rem_euclid(4)).unwrap()]
}

fn delay(id: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "ids of the suites are small")]
    (id % 5 != 0).then_some(id as f64 / 2.0)
}

pub(super) fn stream(ids: &[i64]) -> BatchStream {
    BatchStream::from_batches(schema(), vec![batch(ids)])
}

pub(super) fn stream_of(batch: RecordBatch) -> BatchStream {
    BatchStream::from_batches(batch.schema(), vec![batch])
}

/// The failure of a producer, as it comes through a stream.
#[derive(Debug, thiserror::Error)]
#[error("read the rows to be written: the producer of this test fails here")]
struct ProducerFailed;

/// A stream that yields a batch and then fails with `Unavailable`.
pub(super) fn failing_stream(ids: &[i64]) -> BatchStream {
    let items = vec![Ok(batch(ids)), Err(Error::new(ErrorKind::Unavailable, ProducerFailed))];
    BatchStream::new(schema(), Items(items.into_iter()))
}

struct Items(std::vec::IntoIter<Result<RecordBatch>>);

impl Stream for Items {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// The ids of all rows, sorted, after a check that the other columns belong to them.
pub(super) fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let mut ids = ids_in_order(batches);
    ids.sort_unstable();
    ids
}

pub(super) fn ids_in_order(batches: &[RecordBatch]) -> Vec<i64> {
    let mut ids = Vec::new();
    for batch in batches {
        let id = batch.column_by_name("id").expect("a column `id`").as_primitive::<Int64Type>();
        assert_eq!(id.null_count(), 0, "an id came back null");
        if let Some(names) = batch.column_by_name("name") {
            let names = names.as_string::<i32>();
            id.values().iter().zip(names.iter()).for_each(|(id, found)| {
                assert_eq!(found, Some(name(*id)), "row {id} came back with the name of another");
            });
        }
        if let Some(delays) = batch.column_by_name("delay") {
            let delays = delays.as_primitive::<Float64Type>();
            id.values().iter().zip(delays.iter()).for_each(|(id, found)| {
                assert_eq!(found, delay(*id), "row {id} came back with the delay of another");
            });
        }
        ids.extend_from_slice(id.values());
    }
    ids
}

pub(super) async fn scan_ids(snapshot: &Arc<dyn TableSnapshot>) -> Vec<i64> {
    let rows = snapshot.scan(ScanRequest::default()).await.expect("a snapshot can be scanned");
    ids(&rows.collect().await.expect("a scan ends well"))
}

pub(super) async fn table_ids(table: &Arc<dyn Table>) -> Vec<i64> {
    let snapshot = table.snapshot(TableVersion::Latest).await.expect("the latest version can be opened");
    scan_ids(&snapshot).await
}

/// Names, types and nullability, without metadata.
pub(super) fn columns(schema: &Schema) -> Vec<(String, DataType, bool)> {
    schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone(), f.is_nullable())).collect()
}

pub(super) fn rows_of(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Row by row equality, over batch borders. A column that one side does not have counts as null there.
pub(super) fn assert_same_rows(left: &[RecordBatch], right: &[RecordBatch], what: &str) {
    assert_eq!(rows_of(left), rows_of(right), "{what}: another number of rows");
    let mut others = right.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    for batch in left {
        for row in 0..batch.num_rows() {
            let (other, at) = others.next().unwrap();
            for (a, row_a, b, row_b) in [(batch, row, other, at), (other, at, batch, row)] {
                for (field, column) in a.schema_ref().fields().iter().zip(a.columns()) {
                    match b.column_by_name(field.name()) {
                        Some(same) => assert!(
                            column.slice(row_a, 1).as_ref() == same.slice(row_b, 1).as_ref(),
                            "{what}: the column `{}` of row {row_a} differs: {column:?} and {same:?}",
                            field.name()
                        ),
                        None => assert!(column.is_null(row_a), "{what}: the column `{}` is on one side only", field.name()),
                    }
                }
            }
        }
    }
}

/// Equality of columns, with the small room that floats need when they are computed in another order.
pub(super) fn close(a: &dyn Array, b: &dyn Array) -> bool {
    if a.len() != b.len() || a.data_type() != b.data_type() {
        return false;
    }
    let near = |x: Option<f64>, y: Option<f64>, room: f64| match (x, y) {
        (Some(x), Some(y)) => x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= room * x.abs().max(y.abs()).max(1.0),
        (x, y) => x.is_none() && y.is_none(),
    };
    match a.data_type() {
        DataType::Float64 => {
            let (a, b) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
            a.iter().zip(b.iter()).all(|(x, y)| near(x, y, 1e-9))
        }
        DataType::Float32 => {
            let (a, b) = (a.as_primitive::<Float32Type>(), b.as_primitive::<Float32Type>());
            a.iter().zip(b.iter()).all(|(x, y)| near(x.map(f64::from), y.map(f64::from), 1e-5))
        }
        DataType::List(_) => {
            let (a, b) = (a.as_list::<i32>(), b.as_list::<i32>());
            (0..a.len()).all(|i| a.is_null(i) == b.is_null(i) && (a.is_null(i) || close(&a.value(i), &b.value(i))))
        }
        DataType::FixedSizeList(_, _) => {
            let (a, b) = (a.as_fixed_size_list(), b.as_fixed_size_list());
            (0..a.len()).all(|i| a.is_null(i) == b.is_null(i) && (a.is_null(i) || close(&a.value(i), &b.value(i))))
        }
        _ => a == b,
    }
}

pub(super) fn assert_kind<T: std::fmt::Debug>(found: &Result<T>, kind: ErrorKind, named: &[&str], what: &str) {
    match found {
        Ok(value) => panic!("{what}: succeeded with {value:?}, expected an error of kind {kind}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: the error is `{error}`");
            for word in named {
                assert!(error.to_string().contains(word), "{what}: the message `{error}` does not say `{word}`");
            }
        }
    }
}
