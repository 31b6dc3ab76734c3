//! Files that are gone.

use boathouse_base::{DomainError, ErrorKind, ScanRequest};
use boathouse_delta_table::{DeltaTable, MissingFile, Transaction};
use boathouse_storage::seeded_env;

use crate::rows::{append_each, latest_ids, people, table};

async fn paths(table: &DeltaTable) -> Vec<String> {
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    files.iter().map(|file| file.path().into_owned()).collect()
}

#[tokio::test]
async fn files_that_are_gone_leave_the_table_and_the_others_are_read_again() {
    let table = table();
    append_each(&table, 0..3).await;
    table.append(people(&[7, 8], "b")).run().await.unwrap();
    let lost = paths(&table).await;
    for path in [&lost[1], &lost[3]] {
        table.storage().delete(path).await.unwrap();
    }
    let unread = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await;
    assert_eq!(unread.unwrap_err().kind(), ErrorKind::NotFound);
    let dry = table.fsck().dry_run().await.unwrap();
    assert_eq!((dry.version, table.snapshot().await.unwrap().version()), (None, 3));
    let mut expected: Vec<_> = [(&lost[1], 1), (&lost[3], 2)]
        .map(|(path, rows)| MissingFile { path: path.clone(), data_file_missing: true, missing_vector: None, rows: Some(rows) })
        .into();
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(dry.missing, expected);
    let report = table.fsck().run().await.unwrap();
    assert_eq!((report.missing, report.version), (expected, Some(4)));
    assert_eq!(latest_ids(&table).await, [0, 2]);
    let history = table.history(1).await.unwrap().remove(0);
    assert_eq!((history.operation.as_deref(), history.metrics["numRemovedFiles"].as_str()), (Some("FSCK"), "2"));
}

#[tokio::test]
async fn a_sound_table_gets_no_commit() {
    let table = table();
    append_each(&table, 0..2).await;
    let report = table.fsck().run().await.unwrap();
    assert_eq!((report.missing, report.version, table.snapshot().await.unwrap().version()), (vec![], None, 1));
}

#[tokio::test]
async fn a_file_whose_vector_is_gone_cannot_be_read_and_leaves_too() {
    let table = table();
    table
        .append(people(&(0..2000).collect::<Vec<_>>(), "a"))
        .property("delta.enableDeletionVectors", "true")
        .run()
        .await
        .unwrap();
    append_each(&table, 5000..5001).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = snapshot.files(None).await.unwrap().into_iter().find(|file| file.row_count() == Some(2000)).unwrap();
    Transaction::begin(&snapshot).delete_rows(&file, (0..2000).step_by(3)).commit().await.unwrap();
    let vector =
        table.storage().list("").await.unwrap().into_iter().find(|e| e.path.ends_with(".bin")).expect("a file of vectors");
    table.storage().delete(&vector.path).await.unwrap();
    let report = table.fsck().run().await.unwrap();
    assert_eq!(report.missing.len(), 1);
    let missing = &report.missing[0];
    assert_eq!((missing.data_file_missing, missing.missing_vector.as_deref()), (false, Some(vector.path.as_str())));
    assert_eq!(missing.rows, Some(2000 - 667));
    assert_eq!(latest_ids(&table).await, [5000]);
}

#[tokio::test]
async fn files_of_a_shallow_clone_are_looked_up_where_they_are() {
    let store = boathouse_storage::Storage::memory();
    let (source, target) = (DeltaTable::at(store.at("a b"), seeded_env(1)), DeltaTable::at(store.at("c"), seeded_env(2)));
    append_each(&source, 0..3).await;
    source.clone_to(&target).shallow().run().await.unwrap();
    assert_eq!(target.fsck().run().await.unwrap().missing, []);
    let lost = paths(&source).await.remove(0);
    source.storage().delete(&lost).await.unwrap();
    let report = target.fsck().run().await.unwrap();
    assert_eq!(report.missing.len(), 1);
    assert!(report.missing[0].path.ends_with(&lost), "{report:?}");
    assert_eq!(latest_ids(&target).await.len(), 2);
}

#[tokio::test]
async fn an_append_only_table_keeps_its_files_in_the_log() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.appendOnly", "true").run().await.unwrap();
    let lost = paths(&table).await.remove(0);
    table.storage().delete(&lost).await.unwrap();
    assert_eq!(table.fsck().run().await.unwrap_err().kind(), ErrorKind::Invalid);
}
