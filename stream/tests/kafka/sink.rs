//! The sink: epochs and their marks, columns, refusals.
//!
//! The cluster of the client takes transactions and leaves the rows of aborted ones readable, so what is aborted cannot be told from what is
//! committed here.

use std::sync::Arc;

use boathouse_base::{BatchStream, EpochCommit, ErrorKind, OutputMode, StreamSink};
use boathouse_stream::kafka::{KafkaError, KafkaSink, KafkaSinkOptions};
use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::{Cluster, next, rows};

fn open(cluster: &Cluster) -> KafkaSink {
    let options = [("kafka.bootstrap.servers", cluster.servers()), ("topic", "clicks".to_owned())];
    let mut options = KafkaSinkOptions::from_pairs(options.iter().map(|(name, value)| (*name, value.as_str()))).unwrap();
    options.timeout = std::time::Duration::from_secs(20);
    KafkaSink::open(options).unwrap()
}

fn cluster() -> Cluster {
    let cluster = Cluster::with_partitions(1);
    cluster.mock.create_topic("boathouse-epochs", 1, 1).unwrap();
    cluster
}

fn epoch(query: &str, epoch: u64) -> EpochCommit {
    EpochCommit { query_id: query.to_owned(), epoch, payload: format!("{{\"at\":{epoch}}}"), mode: OutputMode::Append }
}

fn values(values: &[&str]) -> BatchStream {
    let column: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    RecordBatch::try_from_iter([("value", column)]).unwrap().into()
}

async fn written(cluster: &Cluster) -> Vec<String> {
    let source = cluster.source(&[]);
    let Some(end) = next(&source, None).await else { return Vec::new() };
    rows(&source, None, &end).await.into_iter().map(|row| row.2).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_written_once_over_restarts() {
    let cluster = cluster();
    let sink = open(&cluster);
    assert_eq!(sink.last_epoch("q").await.unwrap(), None);
    let report = sink.commit(epoch("q", 0), values(&["a", "b"])).await.unwrap();
    assert_eq!((report.rows, report.bytes, report.skipped), (2, 2, false));
    assert_eq!(sink.commit(epoch("q", 1), values(&[])).await.unwrap().rows, 0);
    for sink in [sink, open(&cluster)] {
        let last = sink.last_epoch("q").await.unwrap().unwrap();
        assert_eq!((last.epoch, last.payload), (1, Some(epoch("q", 1).payload)), "an epoch without rows is an epoch");
        for repeated in [0, 1] {
            assert!(sink.commit(epoch("q", repeated), values(&["z"])).await.unwrap().skipped);
        }
    }
    assert_eq!(open(&cluster).commit(epoch("q", 2), values(&["c"])).await.unwrap().rows, 1, "commits without asking first");
    assert_eq!(written(&cluster).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_queries_have_epochs_of_their_own() {
    let cluster = cluster();
    let sink = open(&cluster);
    sink.commit(epoch("a", 0), values(&["1"])).await.unwrap();
    sink.commit(epoch("a", 1), values(&["2"])).await.unwrap();
    assert_eq!(sink.last_epoch("b").await.unwrap(), None);
    assert!(!sink.commit(epoch("b", 0), values(&["3"])).await.unwrap().skipped);
    assert_eq!(open(&cluster).last_epoch("a").await.unwrap().map(|last| last.epoch), Some(1));
    assert_eq!(open(&cluster).last_epoch("b").await.unwrap().map(|last| last.epoch), Some(0));
    assert_eq!(written(&cluster).await, ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_rows_fail_is_not_marked_and_can_be_tried_again() {
    let cluster = cluster();
    let sink = open(&cluster);
    let failing = {
        let schema = values(&[]).schema();
        let lost = boathouse_base::Error::new(ErrorKind::Unavailable, "the source went away");
        let rows = values(&["a"]).collect().await.unwrap().into_iter().map(Ok).chain([Err(lost)]);
        BatchStream::new(schema, futures::stream::iter(rows.collect::<Vec<_>>()))
    };
    assert_eq!(sink.commit(epoch("q", 0), failing).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(sink.last_epoch("q").await.unwrap(), None);
    assert_eq!(sink.commit(epoch("q", 0), values(&["a"])).await.unwrap().rows, 1);
    assert_eq!(open(&cluster).last_epoch("q").await.unwrap().map(|last| last.epoch), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_fenced_off_commits_nothing() {
    let cluster = cluster();
    let sink = open(&cluster);
    sink.commit(epoch("q", 0), values(&["a"])).await.unwrap();
    cluster.mock.request_errors(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    let error = sink.commit(epoch("q", 1), values(&["b"])).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(KafkaError::Fenced { query, .. }) if query == "q"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_name_their_topic_key_and_partition() {
    let cluster = Cluster::with_partitions(3);
    cluster.mock.create_topic("boathouse-epochs", 1, 1).unwrap();
    let options = [("kafka.bootstrap.servers", cluster.servers())];
    let sink =
        KafkaSink::open(KafkaSinkOptions::from_pairs(options.iter().map(|(name, value)| (*name, value.as_str()))).unwrap())
            .unwrap();
    let batch = RecordBatch::try_from_iter([
        ("key", Arc::new(StringArray::from(vec![Some("k"), None])) as ArrayRef),
        ("value", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("topic", Arc::new(StringArray::from(vec!["clicks", "clicks"]))),
        ("partition", Arc::new(Int32Array::from(vec![2, 1]))),
    ]);
    sink.commit(epoch("q", 0), batch.unwrap().into()).await.unwrap();
    let source = cluster.source(&[]);
    let end = next(&source, None).await.unwrap();
    assert_eq!(rows(&source, None, &end).await, [(1, 0, "b".to_owned()), (2, 0, "a".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_refused_by_name() {
    let cluster = cluster();
    let sink = open(&cluster);
    let numbers = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let text = || Arc::new(StringArray::from(vec!["a"])) as ArrayRef;
    for (columns, wrong) in [
        (vec![("value", numbers())], "value"),
        (vec![("key", text())], "value"),
        (vec![("value", text()), ("partition", numbers())], "partition"),
        (vec![("value", text()), ("colour", text())], "colour"),
    ] {
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let error = sink.commit(epoch("q", 0), rows.into()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(KafkaError::Column { column, .. }) if column == wrong), "{error}");
    }
    let complete = EpochCommit { mode: OutputMode::Complete, ..epoch("q", 0) };
    assert_eq!(sink.commit(complete, values(&["a"])).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let ours = KafkaSinkOptions::from_pairs([("kafka.bootstrap.servers", "x"), ("kafka.transactional.id", "mine")]).unwrap();
    assert!(matches!(KafkaSink::open(ours), Err(KafkaError::Option { option, .. }) if option == "kafka.transactional.id"));
}
