//! Rows that are deleted one by one, by several writers at once.

use boathouse_base::{BatchStream, Comparison, DomainError, ErrorKind, Predicate};
use boathouse_delta_table::protocol::conflict::Conflict;
use boathouse_delta_table::protocol::deletion_vector::StorageType;
use boathouse_delta_table::{DataFile, DataWriter, DataWriterSettings, DeltaError, DeltaTable, FileRead, Snapshot, Transaction};
use boathouse_storage::Operation;
use boathouse_storage::testing::CountingStore;

use crate::rows::{latest_ids, people, reopened, table};

/// A table with deletion vectors and these files.
async fn marked_table(files: &[std::ops::Range<i64>]) -> DeltaTable {
    let table = table();
    for rows in files {
        let rows: Vec<i64> = rows.clone().collect();
        table
            .append(people(&rows, "a"))
            .create_if_absent()
            .property("delta.enableDeletionVectors", "true")
            .property("delta.checkpointInterval", "1000")
            .run()
            .await
            .unwrap();
    }
    table
}

/// The files, by the ids that they were written with.
async fn files(snapshot: &Snapshot) -> Vec<DataFile> {
    let mut files = snapshot.files(None).await.unwrap();
    files.sort_by_key(|file| match file.stats().unwrap().columns[&"id".into()].min {
        Some(boathouse_base::Value::Int(id)) => id,
        _ => panic!("a file without statistics"),
    });
    files
}

fn conflict(error: DeltaError) -> Conflict {
    assert_eq!(error.kind(), ErrorKind::Conflict);
    match error {
        DeltaError::Conflict { source, .. } => *source,
        other => panic!("{other}"),
    }
}

/// Puts files one after the other into a new one, as a compaction does.
async fn compact(snapshot: &Snapshot, sources: &[DataFile]) -> Transaction {
    let mut writer = DataWriter::new(snapshot, DataWriterSettings::default()).unwrap();
    for source in sources {
        let mut rows: BatchStream = snapshot.read_file(source, FileRead::default()).unwrap();
        while let Some(batch) = rows.next().await {
            writer.write(&batch.unwrap()).await.unwrap();
        }
    }
    let mut written = writer.finish().await.unwrap();
    assert_eq!(written.adds.len(), 1);
    let operation = Transaction::begin(snapshot).operation("OPTIMIZE", []);
    operation.concatenate(sources, written.adds.remove(0)).unwrap()
}

#[tokio::test]
async fn deleted_rows_are_gone_and_the_file_stays() {
    let table = marked_table(&[0..10]).await;
    let snapshot = table.snapshot().await.unwrap();
    let before = files(&snapshot).await;
    Transaction::begin(&snapshot).delete_rows(&before[0], [2, 7]).operation("DELETE", []).commit().await.unwrap();
    assert_eq!(latest_ids(&table).await, [0, 1, 3, 4, 5, 6, 8, 9]);
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let after = files(&snapshot).await;
    assert_eq!(after[0].path(), before[0].path());
    assert_eq!(after[0].row_count(), Some(8));
    let stats = after[0].stats().unwrap();
    assert_eq!((stats.num_records, stats.tight_bounds), (Some(10), false));
    let vector = after[0].deletion_vector().unwrap();
    assert_eq!((vector.storage_type, vector.cardinality), (StorageType::Inline, 2), "a small vector stands in the log");
    // More rows of the same file, one of which is gone already.
    Transaction::begin(&snapshot).delete_rows(&after[0], [7, 0]).commit().await.unwrap();
    assert_eq!(latest_ids(&table).await, [1, 3, 4, 5, 6, 8, 9]);
    // The last rows: the file leaves.
    let snapshot = table.snapshot().await.unwrap();
    Transaction::begin(&snapshot).delete_rows(&files(&snapshot).await[0], 0..10).commit().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().file_count().await.unwrap(), 0);
}

#[tokio::test]
async fn large_vectors_of_many_files_stand_in_one_file_beside_the_data() {
    let table = marked_table(&[0..1000, 1000..2000, 2000..2010]).await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let table = DeltaTable::at(storage, table.env().clone());
    let snapshot = table.snapshot().await.unwrap();
    let all = files(&snapshot).await;
    let scattered = |start: u64| (start..1000).step_by(7);
    counts.reset();
    let delete = Transaction::begin(&snapshot).delete_rows(&all[0], scattered(0)).delete_rows(&all[1], scattered(3));
    delete.delete_rows(&all[2], [1]).commit().await.unwrap();
    assert_eq!(counts.counts().of(Operation::Put), 1, "{:?}", counts.log());
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let vectors: Vec<_> = files(&snapshot).await.iter().map(|f| f.deletion_vector().unwrap().clone()).collect();
    let kinds: Vec<StorageType> = vectors.iter().map(|v| v.storage_type).collect();
    assert_eq!(kinds, [StorageType::UuidRelativePath, StorageType::UuidRelativePath, StorageType::Inline]);
    assert_eq!(vectors[0].path_or_inline_dv, vectors[1].path_or_inline_dv, "one file for both");
    let expected: Vec<i64> = (0..2010)
        .filter(|id| match id {
            0..1000 => id % 7 != 0,
            1000..2000 => (id - 1000) % 7 != 3,
            _ => *id != 2001,
        })
        .collect();
    assert_eq!(latest_ids(&table).await, expected);
}

#[tokio::test]
async fn two_writers_delete_different_rows_of_one_file() {
    for many in [1_u64, 300] {
        let table = marked_table(&[0..2000]).await;
        let (one, two) = (table.snapshot().await.unwrap(), reopened(&table).snapshot().await.unwrap());
        let delete = |snapshot: &Snapshot, file: &DataFile, start: u64| {
            Transaction::begin(snapshot).delete_rows(file, (0..many).map(|n| start + 2 * n)).operation("DELETE", [])
        };
        let first = delete(&one, &files(&one).await[0], 0);
        let second = delete(&two, &files(&two).await[0], 1);
        first.commit().await.unwrap();
        let report = second.commit().await.unwrap();
        assert_eq!((report.version, report.attempts), (2, 2));
        let expected: Vec<i64> = (i64::try_from(2 * many).unwrap()..2000).collect();
        assert_eq!(latest_ids(&table).await, expected);
        // The file of vectors that the second one had written for its first attempt is gone again.
        let entries = table.storage().list("").await.unwrap();
        let vectors = entries.iter().filter(|e| e.path.ends_with(".bin")).count();
        assert_eq!(vectors, if many == 1 { 0 } else { 2 }, "one of each version");
    }
}

#[tokio::test]
async fn two_writers_that_delete_the_same_row_conflict_and_the_row_is_named() {
    let table = marked_table(&[0..10]).await;
    let stale = table.snapshot().await.unwrap();
    let file = &files(&stale).await[0];
    Transaction::begin(&stale).delete_rows(file, [1, 4]).operation("DELETE", []).commit().await.unwrap();
    let error = conflict(Transaction::begin(&stale).delete_rows(file, [4, 6]).commit().await.unwrap_err());
    let path = file.add().path.clone();
    assert_eq!(error, Conflict::ConcurrentRow { version: 1, operation: "DELETE".into(), path, row: 4 });
    assert_eq!(latest_ids(&table).await, [0, 2, 3, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_delete_that_looked_into_every_file_goes_behind_deletes_of_other_rows() {
    let table = marked_table(&[0..10, 10..20]).await;
    let stale = table.snapshot().await.unwrap();
    let both = files(&stale).await;
    // Where id < 3: rows 0 to 2 of the first file, none of the second.
    let condition = Predicate::compare("id", Comparison::Lt, 3);
    let delete = || {
        Transaction::begin(&stale)
            .read_predicate(condition.clone())
            .read_rows(&both[0], 0..3)
            .read_rows(&both[1], [])
            .delete_rows(&both[0], 0..3)
    };
    let now = table.snapshot().await.unwrap();
    Transaction::begin(&now).delete_rows(&both[0], [9]).delete_rows(&both[1], [0]).commit().await.unwrap();
    delete().commit().await.unwrap();
    assert_eq!(latest_ids(&table).await, [3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    // A new row that the condition may match is still a conflict.
    let again = delete();
    table.append(people(&[-1], "a")).run().await.unwrap();
    assert!(matches!(
        conflict(again.commit().await.unwrap_err()),
        Conflict::ConcurrentAppend { .. } | Conflict::ConcurrentRow { .. }
    ));
}

#[tokio::test]
async fn a_delete_that_raced_a_compaction_finds_its_rows_in_the_new_file() {
    let table = marked_table(&[0..4, 10..14, 20..24]).await;
    let snapshot = table.snapshot().await.unwrap();
    let old = files(&snapshot).await;
    Transaction::begin(&snapshot).delete_rows(&old[1], [0]).commit().await.unwrap();
    let stale = table.snapshot().await.unwrap();
    let old = files(&stale).await;
    let delete = Transaction::begin(&stale).delete_rows(&old[0], [3]).delete_rows(&old[1], [2]).operation("DELETE", []);
    compact(&stale, &old).await.commit().await.unwrap();
    delete.commit().await.unwrap();
    assert_eq!(latest_ids(&table).await, [0, 1, 2, 11, 13, 20, 21, 22, 23]);
    let now = reopened(&table).snapshot().await.unwrap();
    assert_eq!(now.file_count().await.unwrap(), 1);
    // Without the record there is no way to know.
    let files_now = files(&now).await;
    let delete = Transaction::begin(&now).delete_rows(&files_now[0], [0]);
    let mut writer = DataWriter::new(&now, DataWriterSettings::default()).unwrap();
    let mut rows = now.read_file(&files_now[0], FileRead::default()).unwrap();
    while let Some(batch) = rows.next().await {
        writer.write(&batch.unwrap()).await.unwrap();
    }
    let mut add = writer.finish().await.unwrap().adds.remove(0);
    add.data_change = false;
    let rewrite = Transaction::begin(&now).remove_action(files_now[0].add().to_remove(1, false)).add(add);
    rewrite.operation("OPTIMIZE", []).commit().await.unwrap();
    let error = conflict(delete.commit().await.unwrap_err());
    assert!(matches!(error, Conflict::RowsMoved { .. }), "{error}");
}

#[tokio::test]
async fn a_compaction_that_raced_deletes_and_appends_keeps_both() {
    let table = marked_table(&[0..4, 10..14]).await;
    let stale = table.snapshot().await.unwrap();
    let old = files(&stale).await;
    let compaction = compact(&stale, &old).await;
    Transaction::begin(&stale).delete_rows(&old[0], [1]).delete_rows(&old[1], [3]).commit().await.unwrap();
    table.append(people(&[30], "a")).run().await.unwrap();
    assert_eq!(compaction.commit().await.unwrap().version, 4);
    assert_eq!(latest_ids(&table).await, [0, 2, 3, 10, 11, 12, 30]);
    assert_eq!(reopened(&table).snapshot().await.unwrap().file_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_delete_behind_a_compaction_that_went_behind_deletes_finds_its_rows() {
    let table = marked_table(&[0..8, 10..14]).await;
    let stale = table.snapshot().await.unwrap();
    let old = files(&stale).await;
    let compaction = compact(&stale, &old).await;
    let delete = |rows: [u64; 1]| Transaction::begin(&stale).delete_rows(&old[0], rows).operation("DELETE", []);
    let late = delete([5]);
    // Two deletes after the copy; the compaction goes behind both, and the last delete behind all of them.
    delete([1]).commit().await.unwrap();
    delete([3]).commit().await.unwrap();
    compaction.commit().await.unwrap();
    late.commit().await.unwrap();
    assert_eq!(latest_ids(&table).await, [0, 2, 4, 6, 7, 10, 11, 12, 13]);
}

#[tokio::test]
async fn several_operations_go_into_one_commit() {
    let table = marked_table(&[0..4, 10..14, 20..24]).await;
    let snapshot = table.snapshot().await.unwrap();
    let all = files(&snapshot).await;
    let delete = Transaction::begin(&snapshot).delete_rows(&all[0], [0]).operation("DELETE", []).metrics([("numDeletedRows", 1)]);
    let more = Transaction::begin(&snapshot).delete_rows(&all[0], [1]).metrics([("numDeletedRows", 1)]);
    let drop = Transaction::begin(&snapshot).remove(&all[2]);
    let report = delete.with(more).unwrap().with(drop).unwrap().commit().await.unwrap();
    assert_eq!(report.version, 3);
    assert_eq!(latest_ids(&table).await, [2, 3, 10, 11, 12, 13]);
    let history = table.history(1).await.unwrap();
    assert_eq!((history[0].operation.as_deref(), history[0].metrics["numDeletedRows"].as_str()), (Some("DELETE"), "2"));
    // Transactions of different versions cannot be one.
    let later = Transaction::begin(&table.snapshot().await.unwrap());
    let error = Transaction::begin(&snapshot).with(later).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    // A file that leaves and loses rows at once makes no sense.
    let error = Transaction::begin(&snapshot).remove(&all[0]).delete_rows(&all[0], [1]).commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn rows_are_only_deleted_where_the_table_allows_it_and_the_file_has_them() {
    let table = marked_table(&[0..4]).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = &files(&snapshot).await[0];
    let error = Transaction::begin(&snapshot).delete_rows(file, [4]).commit().await.unwrap_err();
    assert!(error.to_string().contains("deletes row 4"), "{error}");
    let plain = crate::rows::table();
    crate::rows::append_each(&plain, 0..1).await;
    let snapshot = plain.snapshot().await.unwrap();
    let file = &files(&snapshot).await[0];
    let error = Transaction::begin(&snapshot).delete_rows(file, [0]).commit().await.unwrap_err();
    assert!(error.to_string().contains("delta.enableDeletionVectors"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn many_writers_that_delete_rows_of_one_file_all_succeed_and_no_row_is_missed() {
    let table = marked_table(&[0..64]).await;
    let mut writers = Vec::new();
    for writer in 0..8_u64 {
        let table = DeltaTable::at(table.storage().clone(), boathouse_storage::seeded_env(writer));
        writers.push(tokio::spawn(async move {
            for round in 0..4_u64 {
                let snapshot = table.snapshot().await.unwrap();
                let file = &files(&snapshot).await[0];
                Transaction::begin(&snapshot).delete_rows(file, [writer * 8 + round]).commit().await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected: Vec<i64> = (0..64).filter(|id| id % 8 >= 4).collect();
    assert_eq!(latest_ids(&table).await, expected);
}
