#![allow(clippy::unwrap_used)]

use super::*;

/// As Spark 4 writes it, with fewer settings.
const METADATA: &str = r#"{"batchWatermarkMs":1700000000000,"batchTimestampMs":1700000012345,"conf":{"spark.sql.shuffle.partitions":"200"},"sourceMetadataInfo":{}}"#;
const KAFKA: &str = r#"{"clicks":{"1":7,"0":23}}"#;

async fn folder(files: &[(&str, &str)]) -> Storage {
    let folder = Storage::memory();
    for (path, text) in files {
        folder.put(path, (*text).to_owned()).await.unwrap();
    }
    folder
}

fn delta(version: u64, index: i64, starting: bool) -> String {
    format!(
        r#"{{"sourceVersion":1,"reservoirId":"c0ffee","reservoirVersion":{version},"index":{index},"isStartingVersion":{starting}}}"#
    )
}

async fn says(files: &[(&str, &str)]) -> String {
    match SparkCheckpoint::read(&folder(files).await).await {
        Ok(checkpoint) => format!("{:?} {:?}", checkpoint.batch, checkpoint.offsets),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_last_committed_batch_counts_and_one_that_was_only_planned_does_not() {
    let (nine, ten) = (delta(8, -1, false), delta(9, -1, false));
    let of = |delta: &str| format!("v1\n{METADATA}\n{KAFKA}\n{delta}\n-");
    let (nine, ten) = (of(&nine), of(&ten));
    let commit = "v1\n{\"nextBatchWatermarkMs\":0}";
    let folder = folder(&[
        ("metadata", r#"{"id":"4a7f"}"#),
        ("offsets/9", nine.as_str()),
        ("offsets/10", ten.as_str()),
        ("offsets/11", "v1\n\n{\"clicks\":{\"0\":99}}"),
        ("offsets/.9.crc", "crc"),
        ("commits/9", commit),
        ("commits/10", commit),
        ("commits/.10.crc", "crc"),
    ])
    .await;
    let checkpoint = SparkCheckpoint::read(&folder).await.unwrap();
    assert_eq!((checkpoint.batch(), checkpoint.has_state()), (Some(10), false));
    assert_eq!(checkpoint.offset(0, "clicks").unwrap().as_str(), KAFKA);
    let table: serde_json::Value = serde_json::from_str(checkpoint.offset(1, "orders").unwrap().as_str()).unwrap();
    assert_eq!(table, serde_json::json!({"sourceVersion": 1, "reservoirId": "c0ffee", "reservoirVersion": 8}));
    assert_eq!(checkpoint.offset(2, "empty"), None, "nothing was read of it");
    let names = ["clicks", "orders", "empty"].map(str::to_owned);
    assert_eq!(checkpoint.starts(&names).unwrap().len(), 2);
    let error = checkpoint.starts(&names[..2]).unwrap_err().to_string();
    assert!(error.contains("has the sources [0, 1, 2], and the query has [clicks, orders]"), "{error}");
}

#[tokio::test]
async fn offsets_by_the_names_of_sources_are_read() {
    let offsets = format!("v2\n{METADATA}\norders:{}\nclicks:{KAFKA}\nlate:-", delta(3, -1, true));
    let folder =
        folder(&[("offsets/0", &offsets), ("commits/0", "v2\n{\"nextBatchWatermarkMs\":0,\"stateUniqueIds\":{}}")]).await;
    let checkpoint = SparkCheckpoint::read(&folder).await.unwrap();
    assert_eq!(checkpoint.offset(0, "clicks").unwrap().as_str(), KAFKA);
    assert_eq!(checkpoint.offset(1, "orders"), None, "the first rows of a table are read from the beginning");
    let names = ["clicks", "late", "orders"].map(str::to_owned);
    assert_eq!(checkpoint.starts(&names).unwrap().keys().collect::<Vec<_>>(), ["clicks"]);
}

#[tokio::test]
async fn a_query_that_has_done_nothing_begins_at_the_beginning() {
    assert_eq!(says(&[("metadata", "{}"), ("offsets/0", "v1\n\n-")]).await, "None {}");
    assert!(says(&[("readme", "hello")]).await.contains("neither `offsets` nor `metadata`"));
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_refused_with_the_reason() {
    let within = format!("v1\n\n{}", delta(7, 3, false));
    for (offsets, expected) in [
        (within.as_str(), "within a version of the table"),
        ("v1\n\n{\"logOffset\":4}", "a log of Spark's file source"),
        ("v1\n\n42", "none of Kafka's, Delta's or the file source's"),
        ("v1\n\n{\"clicks\":{\"0\":-2}}", "none of Kafka's"),
        ("v3\n\n-", "its layout is v3, and v1 to v2 are known"),
        ("hello", "its first line is `hello`"),
        ("v1", "it ends after its first line"),
        ("v1\n{\n-", "its metadata is no JSON"),
        ("v1\n\n{", "the offset of the source 0 is no JSON"),
        ("v2\n\nclicks", "the line `clicks` names no source"),
    ] {
        let found = says(&[("offsets/0", offsets), ("commits/0", "v1\n{}")]).await;
        assert!(found.contains(expected), "{found}");
    }
    let lost = says(&[("offsets/3", "v1\n\n-"), ("commits/2", "v1\n{}")]).await;
    assert!(lost.starts_with("read the Spark checkpoint: batch 2 is committed"), "{lost}");
}

#[tokio::test]
async fn state_is_not_taken_over_unless_it_may_be_lost() {
    let offsets = format!("v1\n\n{KAFKA}");
    let folder = folder(&[("offsets/0", &offsets), ("commits/0", "v1\n{}"), ("state/0/0/1.delta", "x")]).await;
    let checkpoint = SparkCheckpoint::read(&folder).await.unwrap();
    let names = ["clicks".to_owned()];
    assert!(checkpoint.starts(&names).unwrap_err().to_string().contains(".with_empty_state()"));
    assert_eq!(checkpoint.with_empty_state().starts(&names).unwrap().len(), 1);
}
