//! The source: its contract, where it starts, limits, lost rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boathouse_base::contract::{self, SourceFixture};
use boathouse_base::{
    BatchStream, BoxFuture, Env, ErrorKind, ManualClock, Offset, PlannedBatch, ReadLimit, Result, StreamSource,
};
use boathouse_stream::kafka::{DataLossReason, KafkaError, KafkaSource, KafkaSourceOptions};
use datafusion::arrow::array::types::{Int32Type, TimestampMicrosecondType};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::SchemaRef;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use crate::cluster::{Cluster, next, rows};

const GROWTH: u64 = 3;

/// A topic that grows by [`GROWTH`] rows, which count as a file for the suite.
struct Topic {
    cluster: Cluster,
    grown: AtomicU64,
}

/// A source whose files are so many rows.
#[derive(Debug)]
struct ByFiles(KafkaSource);

impl StreamSource for ByFiles {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        self.0.schema()
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        let rows = limit.files.map(|files| files * GROWTH).or(limit.rows);
        self.0.plan(start, ReadLimit { rows, ..limit })
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        self.0.read(start, end)
    }

    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        self.0.commit(end)
    }
}

impl SourceFixture for Topic {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>> {
        let source: Arc<dyn StreamSource> = Arc::new(ByFiles(self.cluster.source(&[])));
        Box::pin(std::future::ready(source))
    }

    fn grow(&self) -> BoxFuture<'_, usize> {
        let from = self.grown.fetch_add(GROWTH, Ordering::Relaxed);
        let values: Vec<String> = (from..from + GROWTH).map(|n| n.to_string()).collect();
        self.cluster.send("clicks", 0, &values.iter().map(String::as_str).collect::<Vec<_>>());
        Box::pin(std::future::ready(values.len()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_keeps_the_contract_of_sources() {
    contract::source(async || Topic { cluster: Cluster::with_partitions(1), grown: AtomicU64::new(0) }).await;
}

fn loss(error: &boathouse_base::Error) -> DataLossReason {
    match error.downcast_ref::<KafkaError>() {
        Some(KafkaError::DataLoss { reason, .. }) => *reason,
        _ => panic!("rows are lost, and the error is: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_all_partitions_come_by_partition_and_offset() {
    let cluster = Cluster::with_partitions(3);
    cluster.send("clicks", 2, &["c"]);
    cluster.send("clicks", 0, &["a", "b"]);
    let source = cluster.source(&[]);
    let end = next(&source, None).await.unwrap();
    assert_eq!(end.as_str(), r#"{"clicks":{"0":2,"1":0,"2":1}}"#);
    let found = rows(&source, None, &end).await;
    assert_eq!(found, [(0, 0, "a".to_owned()), (0, 1, "b".to_owned()), (2, 0, "c".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_come_in_batches_each_once() {
    let cluster = Cluster::with_partitions(2);
    let values: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    cluster.send("clicks", 0, &values);
    cluster.send("clicks", 1, &values);
    let source = cluster.source(&[]);
    let end = next(&source, None).await.unwrap();
    let found = rows(&source, None, &end).await;
    assert_eq!(found.len(), 40_000);
    assert!(found.iter().enumerate().all(|(n, row)| row.2 == values[n % 20_000] && row.1 == (n % 20_000) as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_topic_is_not_taken_for_that_of_another() {
    let cluster = Cluster::with_partitions(1);
    cluster.mock.create_topic("views", 1, 1).unwrap();
    let source = cluster.source(&[("subscribe", "clicks,views")]);
    let mut start = None;
    for round in 0..50 {
        cluster.send("clicks", 0, &["a", "b"]);
        cluster.send("views", 0, &["c"]);
        let end = next(&source, start.as_ref()).await.unwrap();
        let found: Vec<String> = rows(&source, start.as_ref(), &end).await.into_iter().map(|row| row.2).collect();
        assert_eq!(found, ["a", "b", "c"], "round {round}");
        start = Some(end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_the_columns_of_spark() {
    let cluster = Cluster::with_partitions(1);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("7") })
        .insert(Header { key: "empty", value: None::<&str> });
    cluster.put_with_headers(BaseRecord::to("clicks").partition(0).payload("v").timestamp(1_700_000_000_123), headers);
    cluster.put(BaseRecord::to("clicks").partition(0).key("k"));
    cluster.flush();
    let source = cluster.source(&[("includeHeaders", "true")]);
    let end = next(&source, None).await.unwrap();
    let batch = &source.read(None, &end).await.unwrap().collect().await.unwrap()[0];
    assert_eq!(Some(batch.schema()), source.schema().await.unwrap());
    let (keys, values) = (batch["key"].as_binary::<i32>(), batch["value"].as_binary::<i32>());
    assert!(keys.is_null(0) && values.is_null(1));
    assert_eq!((keys.value(1), values.value(0)), (b"k".as_slice(), b"v".as_slice()));
    assert_eq!(batch["topic"].as_string::<i32>().value(0), "clicks");
    assert_eq!(batch["timestamp"].as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_123_000);
    assert_eq!(batch["timestampType"].as_primitive::<Int32Type>().value(0), 0);
    let headers = batch["headers"].as_list::<i32>();
    assert!(headers.is_null(1), "a message without headers");
    let first = headers.value(0);
    let first = first.as_struct();
    assert_eq!(first.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("trace"), Some("empty")]);
    assert_eq!(first.column(1).as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(b"7".as_slice()), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_latest_offset_remembers_where_it_started() {
    let cluster = Cluster::with_partitions(1);
    cluster.send("clicks", 0, &["before"]);
    let source = cluster.source(&[("startingOffsets", "latest")]);
    let start = next(&source, None).await.expect("the first epoch fixes the start");
    assert_eq!(start.as_str(), r#"{"clicks":{"0":1}}"#);
    assert!(rows(&source, None, &start).await.is_empty());
    cluster.send("clicks", 0, &["after"]);
    let restarted = cluster.source(&[("startingOffsets", "latest")]);
    let end = next(&restarted, Some(&start)).await.unwrap();
    assert_eq!(rows(&restarted, Some(&start), &end).await, [(0, 1, "after".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_starts_at_given_offsets() {
    let cluster = Cluster::with_partitions(3);
    for partition in 0..3 {
        cluster.send("clicks", partition, &["0", "1", "2"]);
    }
    let source = cluster.source(&[("startingOffsets", r#"{"clicks":{"0":1,"1":-2,"2":-1}}"#)]);
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    assert_eq!((planned.end.as_str(), planned.more), (r#"{"clicks":{"0":1,"1":0,"2":3}}"#, true));
    let end = next(&source, Some(&planned.end)).await.unwrap();
    let found: Vec<_> = rows(&source, Some(&planned.end), &end).await.into_iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(found, [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_offsets_is_shared_by_the_partitions() {
    let cluster = Cluster::with_partitions(2);
    cluster.send("clicks", 0, &["0", "1", "2", "3", "4", "5"]);
    cluster.send("clicks", 1, &["0", "1"]);
    let source = cluster.source(&[("maxOffsetsPerTrigger", "4")]);
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    assert_eq!((planned.end.as_str(), planned.more), (r#"{"clicks":{"0":3,"1":1}}"#, true));
    let rest = source.plan(Some(&planned.end), ReadLimit::default()).await.unwrap().unwrap();
    assert_eq!((rest.end.as_str(), rest.more), (r#"{"clicks":{"0":6,"1":2}}"#, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_found_by_pattern_and_partitions_by_assignment() {
    let cluster = Cluster::with_partitions(2);
    for topic in ["clicks-eu", "views"] {
        cluster.mock.create_topic(topic, 1, 1).unwrap();
        cluster.send(topic, 0, &[topic]);
    }
    let by_pattern = cluster.source(&[("subscribePattern", "clicks.*")]);
    assert_eq!(next(&by_pattern, None).await.unwrap().as_str(), r#"{"clicks":{"0":0,"1":0},"clicks-eu":{"0":1}}"#);
    cluster.send("clicks", 1, &["x"]);
    let assigned = cluster.source(&[("assign", r#"{"clicks":[1]}"#)]);
    assert_eq!(next(&assigned, None).await.unwrap().as_str(), r#"{"clicks":{"1":1}}"#);
    let start = Offset::new(r#"{"clicks":{"0":0}}"#);
    let planned = by_pattern.plan(Some(&start), ReadLimit::default()).await.unwrap().unwrap();
    let found: Vec<String> = rows(&by_pattern, Some(&start), &planned.end).await.into_iter().map(|row| row.2).collect();
    assert_eq!(found, ["x", "clicks-eu"], "new partitions and topics begin at their earliest offset");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_rows_stop_the_stream_unless_that_is_allowed() {
    let cluster = Cluster::with_partitions(1);
    cluster.send("clicks", 0, &["0", "1"]);
    let beyond = Offset::new(r#"{"clicks":{"0":9}}"#);
    let gone = Offset::new(r#"{"clicks":{"0":1},"old":{"0":4}}"#);
    let (strict, tolerant) = (cluster.source(&[]), cluster.source(&[("failOnDataLoss", "false")]));
    let error = strict.plan(Some(&beyond), ReadLimit::default()).await.unwrap_err();
    assert_eq!((loss(&error), error.kind()), (DataLossReason::BeyondEnd { latest: 2 }, ErrorKind::NotFound));
    let error = strict.plan(Some(&gone), ReadLimit::default()).await.unwrap_err();
    assert_eq!(loss(&error), DataLossReason::PartitionGone);
    assert_eq!(next(&tolerant, Some(&beyond)).await, None);
    assert_eq!(next(&tolerant, Some(&gone)).await.unwrap().as_str(), r#"{"clicks":{"0":2}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_cut_off_while_it_is_read_is_no_end() {
    let cluster = Cluster::with_partitions(1);
    cluster.send("clicks", 0, &["0", "1"]);
    let (start, end) = (Offset::new(r#"{"clicks":{"0":1}}"#), Offset::new(r#"{"clicks":{"0":5}}"#));
    let strict = cluster.source(&[]);
    let error = strict.read(Some(&start), &end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(loss(&error), DataLossReason::BeyondEnd { latest: 2 });
    let tolerant = cluster.source(&[("failOnDataLoss", "false")]);
    assert_eq!(rows(&tolerant, Some(&start), &end).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let cluster = Cluster::with_partitions(1);
    // The cluster makes topics that are asked for; it is told not to know this one.
    cluster.mock.topic_error("nowhere", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let source = cluster.source(&[("subscribe", "nowhere")]);
    let error = source.plan(None, ReadLimit::default()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(KafkaError::NoTopic { topic, .. }) if topic == "nowhere"), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_silent_end_the_read_with_an_error() {
    let cluster = Cluster::with_partitions(1);
    cluster.send("clicks", 0, &["0"]);
    let source = cluster.source(&[("kafkaConsumer.pollTimeoutMs", "1000")]);
    let end = next(&source, None).await.unwrap();
    let start = Offset::new(r#"{"clicks":{"0":0}}"#);
    cluster.mock.broker_down(1).unwrap();
    let error = source.read(Some(&start), &end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn a_setting_that_the_client_does_not_know_is_refused() {
    let options = KafkaSourceOptions::from_pairs([
        ("kafka.bootstrap.servers", "localhost:9092"),
        ("subscribe", "clicks"),
        ("kafka.key.deserializer", "x"),
    ]);
    let error = boathouse_base::Error::from(KafkaSource::open(options.unwrap()).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_before_the_ending_offsets() {
    let cluster = Cluster::with_partitions(2);
    for partition in 0..2 {
        cluster.send("clicks", partition, &["0", "1", "2", "3"]);
    }
    let source = cluster.source(&[("endingOffsets", r#"{"clicks":{"0":3}}"#)]);
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    assert_eq!((planned.end.as_str(), planned.more), (r#"{"clicks":{"0":3,"1":4}}"#, false));
    cluster.send("clicks", 0, &["4"]);
    assert_eq!(next(&source, Some(&planned.end)).await, None, "what comes behind the end is not read");
    let further = cluster.source(&[("endingOffsets", r#"{"clicks":{"0":5}}"#)]);
    let end = next(&further, Some(&planned.end)).await.unwrap();
    let found: Vec<_> = rows(&further, Some(&planned.end), &end).await.into_iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(found, [(0, 3), (0, 4)]);
    let nearer = cluster.source(&[("endingOffsets", r#"{"clicks":{"0":1,"1":1}}"#)]);
    assert_eq!(next(&nearer, Some(&end)).await, None, "an end before the position takes nothing back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_at_the_latest_offset_is_not_moved_by_an_end() {
    let cluster = Cluster::with_partitions(1);
    cluster.send("clicks", 0, &["0", "1"]);
    let source = cluster.source(&[("startingOffsets", "latest"), ("endingOffsets", r#"{"clicks":{"0":3}}"#)]);
    let start = next(&source, None).await.unwrap();
    assert_eq!(start.as_str(), r#"{"clicks":{"0":2}}"#);
    cluster.send("clicks", 0, &["2", "3"]);
    assert_eq!(next(&source, Some(&start)).await.unwrap().as_str(), r#"{"clicks":{"0":3}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_waits_for_enough_rows_and_not_longer_than_allowed() {
    let cluster = Cluster::with_partitions(2);
    let clock = ManualClock::starting_at_us(0);
    let servers = cluster.servers();
    let options = KafkaSourceOptions::from_pairs([
        ("kafka.bootstrap.servers", servers.as_str()),
        ("subscribe", "clicks"),
        ("startingOffsets", "earliest"),
        ("minOffsetsPerTrigger", "4"),
        ("maxTriggerDelay", "1m"),
    ]);
    let source = KafkaSource::open_in(options.unwrap(), Env::new(clock.clone(), 7)).unwrap();
    cluster.send("clicks", 0, &["0", "1"]);
    cluster.send("clicks", 1, &["0"]);
    assert_eq!(next(&source, None).await, None, "three rows wait for a fourth");
    cluster.send("clicks", 1, &["1"]);
    let first = next(&source, None).await.expect("four rows are enough");
    cluster.send("clicks", 0, &["2"]);
    clock.advance(Duration::from_secs(300));
    assert_eq!(next(&source, Some(&first)).await, None, "the wait begins when a row is seen");
    clock.advance(Duration::from_secs(59));
    assert_eq!(next(&source, Some(&first)).await, None);
    clock.advance(Duration::from_secs(1));
    assert_eq!(next(&source, Some(&first)).await.unwrap().as_str(), r#"{"clicks":{"0":3,"1":2}}"#);
}
