//! Streaming queries as flows: once each row, through expectations, over runs and failures.

use std::sync::Arc;

use boathouse_base::ReadLimit;
use boathouse_base::memory::MemorySource;
use boathouse_pipelines::{Dataset, DatasetStatus, OnViolation, Pipeline, PipelineError, StreamFlow};
use boathouse_storage::Storage;
use boathouse_stream::StreamQuery;

use crate::fixture::{House, batch};

struct Feed {
    house: House,
    source: MemorySource,
    checkpoint: Storage,
}

impl Feed {
    fn new() -> Self {
        Self { house: House::new(), source: MemorySource::new(batch(&[]).schema()), checkpoint: Storage::memory() }
    }

    fn push(&self, rows: &[(i64, Option<i64>)]) {
        self.source.push(batch(rows)).unwrap();
    }

    fn pipeline(&self, action: OnViolation) -> Pipeline {
        let query = StreamQuery::named("bronze")
            .source(Arc::new(self.source.clone()))
            .sql("SELECT id, amount FROM source WHERE id > 0")
            .read_limit(ReadLimit { rows: Some(2), ..ReadLimit::default() })
            .env(self.house.env.clone())
            .checkpoint(self.checkpoint.clone());
        let bronze = Dataset::streaming_table("bronze", StreamFlow::new(query)).expect("positive", "amount > 0", action);
        Pipeline::named("p").dataset(bronze).build().unwrap()
    }

    fn rows(&self) -> usize {
        self.house.sinks.get("bronze").rows()
    }
}

#[tokio::test]
async fn a_query_brings_each_new_row_once_and_counts_what_expectations_drop() {
    let feed = Feed::new();
    let pipeline = feed.pipeline(OnViolation::Drop);
    feed.push(&[(1, Some(5)), (2, Some(-5)), (3, None), (-4, Some(1)), (5, Some(1))]);
    let report = pipeline.update(feed.house.target()).run().await.unwrap().into_result().unwrap();
    let bronze = report.dataset("bronze").unwrap();
    assert_eq!((bronze.rows, bronze.dropped_rows), (2, 2), "the row with id -4 never came to the expectation");
    assert_eq!((bronze.expectations[0].passed, bronze.expectations[0].failed), (2, 2));
    assert_eq!(feed.house.sinks.get("bronze").epochs().len(), 3, "two rows an epoch");
    let again = pipeline.update(feed.house.target()).run().await.unwrap();
    assert!(matches!(again.dataset("bronze").unwrap().status, DatasetStatus::UpToDate));
    feed.push(&[(6, Some(1))]);
    let report = pipeline.update(feed.house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!((report.dataset("bronze").unwrap().rows, feed.rows()), (1, 3));
}

#[tokio::test]
async fn a_violation_stops_the_query_before_its_epoch_and_the_mended_pipeline_goes_on_there() {
    let feed = Feed::new();
    feed.push(&[(1, Some(5)), (2, Some(6)), (3, Some(-1)), (4, Some(1))]);
    let report = feed.pipeline(OnViolation::Fail).update(feed.house.target()).run().await.unwrap();
    let DatasetStatus::Failed(error) = &report.dataset("bronze").unwrap().status else { panic!("{report:?}") };
    assert!(matches!(error, PipelineError::Violated { expectation, .. } if expectation == "positive"), "{error}");
    assert_eq!(feed.rows(), 2, "the epoch before stays");
    feed.pipeline(OnViolation::Warn).update(feed.house.target()).run().await.unwrap().into_result().unwrap();
    assert_eq!(feed.rows(), 4);
}
