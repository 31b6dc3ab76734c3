//! Vacuum deletes what no version within the retention needs, and nothing else.

use std::time::Duration;

use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, TableVersion};
use boathouse_delta_table::{DeltaError, DeltaTable, InventoryFile, Retention, VacuumScope};
use boathouse_storage::Operation;
use boathouse_storage::testing::CountingStore;

use crate::rows::{append_each, ids, kept, latest_ids, people, reopened, table};

async fn with_garbage() -> DeltaTable {
    let table = table();
    append_each(&table, 0..3).await;
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    table.storage().put("part-orphan.parquet", "never committed").await.unwrap();
    table.storage().put("_change_data/cdc-old.parquet", "changes").await.unwrap();
    table.storage().put("_hidden/file", "of another program").await.unwrap();
    table
}

/// The same table, seen some days later.
fn later(table: &DeltaTable, days: i64) -> DeltaTable {
    let now_us = table.env().now_us() + days * 86_400_000_000;
    kept(DeltaTable::at(table.storage().clone(), Env::new(ManualClock::starting_at_us(now_us), 9)))
}

async fn exists(table: &DeltaTable, path: &str) -> bool {
    table.storage().head(path).await.unwrap().is_some()
}

#[tokio::test]
async fn files_within_the_retention_are_kept() {
    let table = with_garbage().await;
    let report = table.vacuum().run().await.unwrap();
    assert_eq!((report.files.len(), report.deleted, report.recorded_versions), (0, true, None));
    let error = table.vacuum().retention(Retention::AtLeastTable(Duration::from_secs(60))).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("Retention::Unsafe"), "{error}");
    for version in 0..=3 {
        let old = reopened(&table).snapshot_at(TableVersion::Number(version)).await.unwrap();
        assert!(!ids(&old).await.is_empty());
    }
}

#[tokio::test]
async fn without_retention_only_the_newest_version_stays() {
    let table = with_garbage().await;
    std::thread::park_timeout(Duration::from_millis(5));
    let dry = table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).dry_run().await.unwrap();
    assert_eq!((dry.files.len(), dry.deleted), (5, false), "{dry:?}");
    assert!(exists(&table, "part-orphan.parquet").await);
    let report = table.vacuum().retention(Retention::Unsafe(Duration::ZERO)).run().await.unwrap();
    assert_eq!(report.files, dry.files);
    for gone in ["part-orphan.parquet", "_change_data/cdc-old.parquet"] {
        assert!(!exists(&table, gone).await, "{gone}");
    }
    assert!(exists(&table, "_hidden/file").await);
    assert_eq!(latest_ids(&table).await, [9]);
}

#[tokio::test]
async fn after_the_retention_removed_files_and_orphans_go_and_the_history_says_so() {
    let table = with_garbage().await;
    let next_week = later(&table, 8);
    let report = next_week.vacuum().run().await.unwrap();
    assert_eq!((report.files.len(), report.recorded_versions), (5, Some((4, 5))), "{report:?}");
    let history = table.history(2).await.unwrap();
    let operations: Vec<_> = history.iter().map(|commit| commit.operation.as_deref().unwrap()).collect();
    assert_eq!(operations, ["VACUUM END", "VACUUM START"]);
    assert_eq!(history[0].parameters["status"], "COMPLETED");
    assert_eq!((history[0].metrics["numDeletedFiles"].as_str(), history[1].metrics["numFilesToDelete"].as_str()), ("5", "5"));
    assert_eq!(history[1].parameters["retentionCheckEnabled"], "true");
    assert_eq!(latest_ids(&table).await, [9]);
    let again = next_week.vacuum().run().await.unwrap();
    assert_eq!((again.files.len(), again.recorded_versions), (0, None), "nothing to do is not worth a commit");
}

#[tokio::test]
async fn a_file_that_was_removed_within_the_retention_is_kept_for_time_travel() {
    let table = table();
    append_each(&table, 0..2).await;
    let in_five_days = later(&table, 5);
    in_five_days.overwrite(people(&[9], "a")).run().await.unwrap();
    let report = later(&table, 8).vacuum().run().await.unwrap();
    assert_eq!(report.files, Vec::<String>::new());
    let old = reopened(&table).snapshot_at(TableVersion::Number(1)).await.unwrap();
    assert_eq!(ids(&old).await, [0, 1]);
    assert_eq!(later(&table, 14).vacuum().unrecorded().run().await.unwrap().files.len(), 2);
    assert_eq!(latest_ids(&table).await, [9]);
    assert_eq!(reopened(&table).snapshot().await.unwrap().version(), 2, "unrecorded: no commit");
}

#[tokio::test]
async fn a_lite_vacuum_reads_the_log_only_and_goes_on_where_it_ended() {
    let table = with_garbage().await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let now_us = table.env().now_us() + 8 * 86_400_000_000;
    let lite = kept(DeltaTable::at(storage, Env::new(ManualClock::starting_at_us(now_us), 9)));
    let report = lite.vacuum().scope(VacuumScope::Lite).unrecorded().run().await.unwrap();
    assert_eq!(report.files.len(), 3, "{report:?}");
    assert!(report.bytes > 0);
    let lists: Vec<String> = counts.log().into_iter().filter(|(o, _)| *o == Operation::List).map(|(_, path)| path).collect();
    assert!(lists.iter().all(|path| path.contains("_delta_log")), "{lists:?}");
    assert!(exists(&table, "part-orphan.parquet").await, "what was never committed is not in the log");
    assert_eq!(latest_ids(&table).await, [9]);
    let note = table.storage().get("_delta_log/_last_vacuum_info").await.unwrap();
    assert_eq!(note, r#"{"latestCommitVersionOutsideOfRetentionWindow":3}"#);
    let again = lite.vacuum().scope(VacuumScope::Lite).run().await.unwrap();
    assert_eq!(again.files.len(), 0);
}

#[tokio::test]
async fn a_lite_vacuum_refuses_when_the_log_lacks_commits_since_the_last_one() {
    let table = table();
    append_each(&table, 0..12).await;
    for version in 0..3 {
        table.storage().delete(&format!("_delta_log/{version:020}.json")).await.unwrap();
    }
    let error = later(&table, 8).vacuum().scope(VacuumScope::Lite).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::LiteVacuumNeedsCommits { needed: 0, first: 3, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn an_inventory_stands_in_for_the_listing() {
    let table = with_garbage().await;
    let all = table.storage().list("").await.unwrap();
    let mut inventory: Vec<InventoryFile> = all
        .iter()
        .filter(|entry| entry.path != "part-orphan.parquet")
        .map(|e| InventoryFile { path: e.path.clone(), size_bytes: e.size_bytes, modified_us: e.modified_us })
        .collect();
    // A report may be old: what it names and is gone is no error.
    inventory.push(InventoryFile { path: "part-gone.parquet".into(), size_bytes: 1, modified_us: 0 });
    let (storage, counts) = CountingStore::wrap(table.storage());
    let now_us = table.env().now_us() + 8 * 86_400_000_000;
    let with_list = kept(DeltaTable::at(storage, Env::new(ManualClock::starting_at_us(now_us), 9)));
    let report = with_list.vacuum().scope(VacuumScope::Inventory(inventory)).unrecorded().run().await.unwrap();
    assert_eq!(report.files.len(), 5, "{report:?}");
    assert!(exists(&table, "part-orphan.parquet").await, "it was not in the inventory");
    assert!(exists(&table, "_hidden/file").await);
    let lists: Vec<String> = counts.log().into_iter().filter(|(o, _)| *o == Operation::List).map(|(_, path)| path).collect();
    assert!(lists.iter().all(|path| path.contains("_delta_log")), "{lists:?}");
    assert_eq!(latest_ids(&table).await, [9]);
}

#[tokio::test]
async fn a_table_that_needs_an_unknown_writer_is_not_vacuumed() {
    let table = table();
    append_each(&table, 0..1).await;
    let protocol = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["vacuumProtocolCheck"],"writerFeatures":["vacuumProtocolCheck","fromTheFuture"]}}"#;
    table.storage().put("_delta_log/00000000000000000001.json", protocol).await.unwrap();
    for error in [
        later(&table, 8).vacuum().run().await.unwrap_err(),
        later(&table, 8).vacuum().scope(VacuumScope::Lite).dry_run().await.unwrap_err(),
        later(&table, 40).clean_log().run().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("fromTheFuture"), "{error}");
    }
}
