//! A restore against a vacuum that does not know of it.

use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, TableVersion};
use boathouse_delta_table::{DeltaTable, Transaction};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{append_each, kept, latest_ids, people, table};

/// The same table, seen some days later.
fn later(table: &DeltaTable, days: i64) -> DeltaTable {
    let now_us = table.env().now_us() + days * 86_400_000_000;
    kept(DeltaTable::at(table.storage().clone(), Env::new(ManualClock::starting_at_us(now_us), 9)))
}

/// The objects of the newest version: data files and files of vectors.
async fn objects(table: &DeltaTable) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in table.storage().list("").await.unwrap() {
        if !entry.path.starts_with("_delta_log") {
            paths.push(entry.path);
        }
    }
    paths
}

/// What a vacuum does that looked at the table before the restore, and was slow.
async fn delete_late(table: &DeltaTable, paths: &[String]) {
    for path in paths {
        table.storage().delete(path).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_a_vacuum_may_be_deleting_comes_back_as_a_young_copy() {
    let folder = tempfile::tempdir().unwrap();
    let local = Storage::open(&folder.path().to_str().unwrap().parse().unwrap()).unwrap();
    for table in [table(), kept(DeltaTable::at(local, seeded_env(7)))] {
        append_each(&table, 0..2).await;
        table.overwrite(people(&[9], "a")).run().await.unwrap();
        let old = objects(&table).await;
        let next_week = later(&table, 8);
        let report = next_week.restore(TableVersion::Number(1)).run().await.unwrap();
        assert_eq!((report.files_restored, report.files_copied, report.files_removed), (2, 2, 1));
        delete_late(&table, &old).await;
        assert_eq!(latest_ids(&table).await, [0, 1], "{}", table.url());
        for path in objects(&table).await {
            let modified_us = table.storage().head(&path).await.unwrap().unwrap().modified_us;
            assert!(!old.contains(&path) && modified_us > 0, "{path} is new");
        }
    }
}

#[tokio::test]
async fn a_file_that_every_vacuum_keeps_comes_back_as_it_was() {
    let table = table();
    append_each(&table, 0..2).await;
    let old = objects(&table).await;
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    // A week is kept. On its last day a restore may be slower than the vacuum.
    let report = later(&table, 5).restore(TableVersion::Number(1)).run().await.unwrap();
    assert_eq!((report.files_restored, report.files_copied), (2, 0));
    assert_eq!(objects(&table).await.len(), old.len() + 1, "nothing was copied");
    let report = later(&table, 13).restore(TableVersion::Number(2)).run().await.unwrap();
    assert_eq!((report.files_restored, report.files_copied), (1, 1));
    assert_eq!(latest_ids(&table).await, [9]);
}

#[tokio::test]
async fn a_deletion_vector_comes_back_with_its_file() {
    let table = table();
    let rows: Vec<i64> = (0..4000).collect();
    table.append(people(&rows, "a")).create_if_absent().property("delta.enableDeletionVectors", "true").run().await.unwrap();
    table.append(people(&[5000], "a")).run().await.unwrap();
    let now = table.snapshot().await.unwrap();
    let (mut delete, gone) = (Transaction::begin(&now).operation("DELETE", []), |id: u64| id.is_multiple_of(7));
    for file in now.files(None).await.unwrap().iter().filter(|file| file.row_count() == Some(4000)) {
        delete = delete.delete_rows(file, (0..4000).filter(|id| gone(*id)));
    }
    assert_eq!(delete.commit().await.unwrap().version, 2);
    let left = latest_ids(&table).await;
    assert!(objects(&table).await.iter().any(|path| path.ends_with(".bin")), "the vector is too large for the log");
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    let old = objects(&table).await;
    let report = later(&table, 8).restore(TableVersion::Number(2)).run().await.unwrap();
    assert_eq!((report.files_restored, report.files_copied), (2, 2));
    delete_late(&table, &old).await;
    assert_eq!(latest_ids(&table).await, left);
}

#[tokio::test]
async fn a_restore_that_finds_a_file_gone_leaves_no_copies_behind() {
    let table = table();
    append_each(&table, 0..3).await;
    let first = objects(&table).await[0].clone();
    table.overwrite(people(&[9], "a")).run().await.unwrap();
    table.storage().delete(&first).await.unwrap();
    let before = objects(&table).await;
    let error = later(&table, 30).restore(TableVersion::Number(2)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&first), "{error}");
    assert_eq!(objects(&table).await, before);
}
