//! Batches out of the engine, and into it.

use std::sync::Arc;

use boathouse_base::BatchStream;
use boathouse_frames::{AlreadyRead, StreamProvider, batch_stream, find_cause, from_datafusion};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::prelude::SessionContext;

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)]).unwrap()
}

fn session(batches: Vec<RecordBatch>) -> SessionContext {
    let session = SessionContext::new();
    let rows = BatchStream::from_batches(numbers(0..0).schema(), batches);
    session.register_table("numbers", Arc::new(StreamProvider::new(rows))).unwrap();
    session
}

#[tokio::test]
async fn a_stream_is_a_table_and_a_frame_is_a_stream() {
    let session = session(vec![numbers(0..3), numbers(3..5)]);
    let frame = session.sql("SELECT n * 2 AS n FROM numbers WHERE n > 1 ORDER BY n").await.unwrap();
    let rows = batch_stream(frame).await.unwrap().collect().await.unwrap();
    let found: Vec<i64> =
        rows.iter().flat_map(|batch| batch.column(0).to_data().buffer::<i64>(0)[..batch.num_rows()].to_vec()).collect();
    assert_eq!(found, [4, 6, 8]);
}

#[tokio::test]
async fn a_stream_that_is_read_twice_says_so() {
    let session = session(vec![numbers(0..3)]);
    let query = async || session.sql("SELECT count(*) FROM numbers").await.unwrap().collect().await;
    query().await.unwrap();
    let error = from_datafusion("count", query().await.unwrap_err());
    assert!(find_cause::<AlreadyRead>(&error).is_some(), "{error}");
}

#[tokio::test]
async fn an_empty_frame_still_has_a_schema() {
    let frame = session(Vec::new()).sql("SELECT n, n > 1 AS big FROM numbers").await.unwrap();
    let rows = batch_stream(frame).await.unwrap();
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["n", "big"]);
    assert!(rows.collect().await.unwrap().is_empty());
}
