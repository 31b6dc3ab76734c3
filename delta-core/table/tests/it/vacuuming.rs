//! Vacuum deletes what no version within the retention needs, and nothing else.

use std::time::Duration;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_table::{DeltaTable, Retention};

use crate::rows::{append_each, latest_ids, people, table};

async fn with_garbage() -> DeltaTable {
    let table = table();
    append_each(&table, 0..3).await;
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    table.storage().put("part-orphan.parquet", "never committed").await.unwrap();
    table.storage().put("_hidden/file", "of another program").await.unwrap();
    table
}

#[tokio::test]
async fn files_within_the_retention_are_kept() {
    let table = with_garbage().await;
    let report = table.vacuum().run().await.unwrap();
    assert_eq!((report.files.len(), report.deleted), (0, true));
    let error = table.vacuum().retention(Retention::AtLeastTable(Duration::from_secs(60))).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("Retention::Unsafe"), "{error}");
}

#[tokio::test]
async fn without_retention_only_the_newest_version_stays() {
    let table = with_garbage().await;
    tokio::task::yield_now().await;
    std::thread::park_timeout(Duration::from_millis(5));
    let dry = table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).dry_run().await.unwrap();
    assert_eq!((dry.files.len(), dry.deleted), (4, false), "{dry:?}");
    assert!(table.storage().head("part-orphan.parquet").await.unwrap().is_some());
    let report = table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).run().await.unwrap();
    assert_eq!(report.files, dry.files);
    assert!(table.storage().head("part-orphan.parquet").await.unwrap().is_none());
    assert!(table.storage().head("_hidden/file").await.unwrap().is_some());
    assert_eq!(latest_ids(&table).await, [9]);
}
