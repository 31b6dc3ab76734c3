//! Streaming tables get their rows from a flow, through the dataset's expectations.

use boathouse_base::{BatchStream, BoxFuture, EpochCommit, OutputMode, Result};
use boathouse_pipelines::{Dataset, DatasetStatus, Flow, FlowContext, FlowReport, OnViolation, Pipeline};

use crate::fixture::{House, batch};

/// A flow of one epoch for each call to the source; here: one epoch, once.
#[derive(Debug)]
struct OneEpoch;

impl Flow for OneEpoch {
    fn reads(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(&self, context: FlowContext) -> BoxFuture<'_, Result<FlowReport>> {
        Box::pin(async move {
            if context.sink.last_epoch("q").await?.is_some() {
                return Ok(FlowReport::default());
            }
            let rows = batch(&[(1, Some(1)), (2, Some(-1)), (3, None)]);
            let commit = EpochCommit { query_id: "q".into(), epoch: 0, payload: "{}".into(), mode: OutputMode::Append };
            let report = context.sink.commit(commit, BatchStream::from_batches(rows.schema(), vec![rows])).await?;
            Ok(FlowReport { epochs: 1, rows_read: 3, rows_written: report.rows, late_rows: 0 })
        })
    }
}

#[tokio::test]
async fn a_flow_writes_through_the_expectations_once() {
    let house = House::new();
    let table = Dataset::streaming_table("stream", OneEpoch).expect("positive", "amount > 0", OnViolation::Drop);
    let pipeline = Pipeline::named("p").dataset(table).build().unwrap();
    let first = pipeline.update(house.target()).run().await.unwrap().into_result().unwrap();
    let done = first.dataset("stream").unwrap();
    assert_eq!((done.rows, done.dropped_rows), (1, 2));
    assert_eq!((done.expectations[0].passed, done.expectations[0].failed), (1, 2));
    assert_eq!(house.sinks.get("stream").rows(), 1);
    let second = pipeline.update(house.target()).run().await.unwrap();
    assert!(matches!(second.dataset("stream").unwrap().status, DatasetStatus::UpToDate));
    assert_eq!(house.sinks.get("stream").rows(), 1);
}

#[tokio::test]
async fn an_expectation_that_fails_a_flow_commits_nothing() {
    let house = House::new();
    let table = Dataset::streaming_table("stream", OneEpoch).expect("positive", "amount > 0", OnViolation::Fail);
    let report = Pipeline::named("p").dataset(table).build().unwrap().update(house.target()).run().await.unwrap();
    assert!(matches!(report.dataset("stream").unwrap().status, DatasetStatus::Failed(_)));
    assert_eq!(house.sinks.get("stream").rows(), 0);
}
