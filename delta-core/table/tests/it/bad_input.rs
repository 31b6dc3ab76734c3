//! What bad input gets: a typed error that says what was attempted, on what, and what would help.

use std::sync::Arc;

use arrow_array::Int64Array;
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_table::{DeltaError, Transaction, UpkeepSettings};

use crate::rows::{append_each, batch, people, reopened, stream, table};

#[tokio::test]
async fn no_table_and_a_folder_that_is_none_are_told_apart() {
    let table = table();
    let error = table.snapshot().await.unwrap_err();
    assert!(matches!(error, DeltaError::NoTable { .. }), "{error}");
    assert!(error.to_string().contains(table.url()), "{error}");
    assert!(!table.exists().await.unwrap());
    table.storage().put("rows.csv", "1,2").await.unwrap();
    let error = table.snapshot().await.unwrap_err();
    assert!(matches!(&error, DeltaError::NotATable { found, .. } if found == "rows.csv"), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(table.append(people(&[1], "a")).run().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(table.history(5).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_damaged_commit_is_named_with_its_version_and_line() {
    // With a checksum of the newest version, older commits are not looked at before files are needed.
    let table = table().with_upkeep(UpkeepSettings::none());
    append_each(&table, 0..3).await;
    let path = "_delta_log/00000000000000000001.json";
    table.storage().put(path, "{\"commitInfo\":{}}\n{\"add\":{\"path\":").await.unwrap();
    let error = reopened(&table).snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("commit 1") && error.to_string().contains("line 2"), "{error}");
    table.storage().put(path, "").await.unwrap();
    assert_eq!(reopened(&table).snapshot().await.unwrap_err().kind(), ErrorKind::Corrupt);
    table.storage().delete(path).await.unwrap();
    let error = reopened(&table).snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("commit 1 is missing"), "{error}");
}

#[tokio::test]
async fn a_table_that_needs_an_unknown_feature_is_refused_by_name() {
    let table = table();
    append_each(&table, 0..1).await;
    let protocol = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timeMachine"],"writerFeatures":["timeMachine"]}}"#;
    table.storage().put("_delta_log/00000000000000000001.json", protocol).await.unwrap();
    let error = table.snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("timeMachine"), "{error}");
    let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["collations"]}}"#;
    table.storage().put("_delta_log/00000000000000000001.json", protocol).await.unwrap();
    assert_eq!(reopened(&table).snapshot().await.unwrap().version(), 1, "it can be read");
    let error = reopened(&table).append(people(&[2], "a")).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("collations"), "{error}");
}

#[tokio::test]
async fn a_table_that_cannot_be_is_not_created() {
    let table = table();
    let schema = |fields: Vec<Field>| Schema::new(fields);
    let id = || Field::new("id", DataType::Int64, true);
    let error = table.create(schema(vec![id(), Field::new("ID", DataType::Utf8, true)])).run().await.unwrap_err();
    assert!(error.to_string().contains("`ID`"), "{error}");
    let error = table.create(schema(vec![Field::new("a b", DataType::Utf8, true)])).run().await.unwrap_err();
    assert!(error.to_string().contains("`a b`"), "{error}");
    let time = Field::new("t", DataType::Time64(arrow_schema::TimeUnit::Microsecond), true);
    let error = table.create(schema(vec![time])).run().await.unwrap_err();
    assert!(error.to_string().contains("`t`"), "{error}");
    let error = table.create(schema(vec![id()])).partition_by(["id"]).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = table.create(schema(vec![id()])).property("delta.checkpointInterval", "often").run().await.unwrap_err();
    assert!(error.to_string().contains("delta.checkpointInterval"), "{error}");
    assert!(!table.exists().await.unwrap());
    table.create(schema(vec![id()])).run().await.unwrap();
    let error = table.create(schema(vec![id()])).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_refused_with_the_column() {
    let table = table();
    table
        .create(Schema::new(vec![Field::new(
            "at",
            DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into())),
            true,
        )]))
        .run()
        .await
        .unwrap();
    let seconds = arrow_array::TimestampSecondArray::from(vec![i64::MAX]).with_timezone("UTC");
    let error = table.append(stream(batch(&[("at", Arc::new(seconds))]))).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`at`"), "{error}");
}

#[tokio::test]
async fn an_error_in_the_data_is_passed_on_and_leaves_no_file() {
    let table = table();
    let good = batch(&[("id", Arc::new(Int64Array::from(vec![1])))]);
    let bad = std::io::Error::other("the source broke");
    let items = vec![Ok(good.clone()), Err(boathouse_base::Error::new(ErrorKind::Unavailable, bad))];
    let data = boathouse_base::BatchStream::new(good.schema(), futures::stream::iter(items));
    let error = table.append(data).create_if_absent().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the source broke"), "{error}");
    assert!(table.storage().list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_transaction_that_contradicts_the_table_is_refused() {
    let table = table();
    append_each(&table, 0..2).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap()[0].clone();
    table.overwrite(people(&[5], "a")).run().await.unwrap();
    let now = table.snapshot().await.unwrap();
    let error = Transaction::begin(&now).remove(&file).commit().await.unwrap_err();
    assert!(matches!(error, DeltaError::InvalidTransaction { .. }), "{error}");
    let add = file.add().as_ref().clone();
    let error = Transaction::begin(&now).add(add.clone()).add(add).commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(table.snapshot().await.unwrap().version(), 2);
}

#[tokio::test]
async fn a_data_file_that_is_no_parquet_is_corrupt_and_named() {
    let table = table();
    append_each(&table, 0..1).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap()[0].clone();
    let junk = vec![7_u8; usize::try_from(file.size_bytes()).unwrap()];
    table.storage().put(&file.path(), junk).await.unwrap();
    let error = snapshot.scan(boathouse_base::ScanRequest::default()).unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(file.path().as_ref()), "{error}");
}

#[tokio::test]
async fn counts_in_the_log_that_cannot_be_summed_are_unknown_or_the_largest_number() {
    let table = table();
    append_each(&table, 0..1).await;
    let add = |path: &str| {
        format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":9223372036854775807,"modificationTime":1,"dataChange":true,"stats":"{{\"numRecords\":18446744073709551615}}"}}}}"#
        )
    };
    for (version, paths) in [(1, ["a", "b", "c"]), (2, ["d", "e", "f"])] {
        let commit = paths.map(add).join("\n");
        table.storage().put(&format!("_delta_log/{version:020}.json"), commit).await.unwrap();
    }
    for table in [table.clone(), reopened(&table)] {
        let snapshot = table.snapshot().await.unwrap();
        assert_eq!((snapshot.file_count().await.unwrap(), snapshot.size_bytes().await.unwrap()), (7, u64::MAX));
        assert_eq!(snapshot.row_count().await.unwrap(), None, "nobody can have so many rows");
    }
}
