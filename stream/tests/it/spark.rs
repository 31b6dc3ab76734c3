//! Queries that go on where one of Spark was.

use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, DomainError, ErrorKind, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use boathouse_storage::Storage;
use boathouse_stream::{SparkCheckpoint, StreamError};
use datafusion::arrow::datatypes::SchemaRef;

use crate::support::{Rig, batch};

/// Rows of a source in memory as the only partition of a topic.
#[derive(Debug)]
struct Topic(boathouse_base::memory::MemorySource);

fn inner(offset: &Offset) -> Offset {
    let offsets: serde_json::Value = serde_json::from_str(offset.as_str()).unwrap();
    Offset::new(offsets["clicks"]["0"].to_string())
}

impl StreamSource for Topic {
    fn describe(&self) -> String {
        "topic".to_owned()
    }

    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        self.0.schema()
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        Box::pin(async move {
            let start = start.map(inner);
            let planned = self.0.plan(start.as_ref(), limit).await?;
            Ok(planned
                .map(|planned| PlannedBatch { end: Offset::new(format!(r#"{{"clicks":{{"0":{}}}}}"#, planned.end)), ..planned }))
        })
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        Box::pin(async move {
            let (start, end) = (start.map(inner), inner(end));
            self.0.read(start.as_ref(), &end).await
        })
    }

    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.0.commit(&inner(end)).await })
    }
}

async fn spark(with_state: bool) -> SparkCheckpoint {
    let folder = Storage::memory();
    folder.put("offsets/5", "v1\n{\"batchWatermarkMs\":0}\n{\"clicks\":{\"0\":2}}").await.unwrap();
    folder.put("offsets/6", "v1\n{\"batchWatermarkMs\":0}\n{\"clicks\":{\"0\":4}}").await.unwrap();
    folder.put("commits/5", "v1\n{\"nextBatchWatermarkMs\":0}").await.unwrap();
    if with_state {
        folder.put("state/0/0/6.delta", "x").await.unwrap();
    }
    SparkCheckpoint::read(&folder).await.unwrap()
}

fn rows(rig: &Rig, delays: std::ops::Range<i64>) {
    rig.push(batch(&delays.map(|delay| (Some(1), Some("JFK"), delay)).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_query_goes_on_after_the_last_batch_that_spark_has_committed() {
    let rig = Rig::new();
    rows(&rig, 0..5);
    let query = || {
        boathouse_stream::StreamQuery::named("test")
            .source(Arc::new(Topic(rig.source.clone())))
            .sink(Arc::new(rig.sink.clone()))
            .checkpoint(rig.checkpoint.clone())
            .env(rig.env.clone())
    };
    query().start_from_spark(spark(false).await).run_available_now().await.unwrap();
    assert_eq!(rig.delays(), [2, 3, 4], "batch 6 of Spark was planned and not committed");
    rows(&rig, 5..6);
    // Once it has a position of its own, that counts.
    query().start_from_spark(spark(false).await).run_available_now().await.unwrap();
    rows(&rig, 6..7);
    query().run_available_now().await.unwrap();
    assert_eq!(rig.delays(), [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn state_of_spark_and_other_sources_are_refused() {
    let rig = Rig::new();
    let error = rig.query().start_from_spark(spark(true).await).open().await.unwrap_err();
    assert!(matches!(error, StreamError::Spark { .. }) && error.kind() == ErrorKind::Invalid, "{error}");
    assert!(rig.files("").await.is_empty(), "no checkpoint was made");
    rig.query().start_from_spark(spark(true).await.with_empty_state()).open().await.unwrap();
    let two = rig.query().source_named("other", Arc::new(rig.source.clone()));
    let error = two.start_from_spark(spark(false).await).open().await.unwrap_err();
    assert!(error.to_string().contains("it has the sources [0], and the query has [source, other]"), "{error}");
}
