//! Rows that are marked as deleted instead of written again.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::{
    DataWriter, DataWriterSettings, DeltaTable, DeltaTableExt, EngineError, FileRead, MergeInsert, Transaction,
};
use boathouse_storage::seeded_env;

use crate::rows::{Row, VECTORS, frame, read, row, sorted, table_of_with};

/// So many rows, in one file.
fn many(rows: i64) -> Vec<Row> {
    (0..rows).map(|id| (Some(id), Some("a"), Some(i32::try_from(id % 7).unwrap()))).collect()
}

#[tokio::test]
async fn a_delete_of_few_rows_writes_no_data_file() {
    let table = table_of_with(&[VECTORS], &[&many(20_000), &many(100)]).await;
    let report = table.delete().filter("id % 1000 = 3").run().await.unwrap();
    assert_eq!((report.rows_deleted, report.files_marked, report.files_added, report.files_removed), (Some(21), 2, 0, 0));
    let again = table.delete().filter("id % 1000 < 5").run().await.unwrap();
    assert_eq!((again.rows_deleted, again.rows_copied), (Some(20 * 4 + 4), 0), "rows that are deleted do not count again");
    let left: Vec<Row> = many(20_000).into_iter().chain(many(100)).filter(|row| row.0.unwrap() % 1000 >= 5).collect();
    assert_eq!(read(&table).await, sorted(&left));
}

#[tokio::test]
async fn a_file_whose_last_rows_are_deleted_leaves() {
    let table = table_of_with(&[VECTORS], &[&many(10)]).await;
    table.delete().filter("id < 4").run().await.unwrap();
    let report = table.delete().filter("id >= 4").run().await.unwrap();
    assert_eq!((report.rows_deleted, report.files_removed, report.files_marked), (Some(6), 1, 0));
    assert!(table.snapshot().await.unwrap().files(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_mostly_holes_is_written_again() {
    let table = table_of_with(&[VECTORS], &[&many(10)]).await;
    assert_eq!(table.delete().filter("id < 5").run().await.unwrap().files_marked, 1);
    let report = table.delete().filter("id = 5").run().await.unwrap();
    assert_eq!((report.files_marked, report.files_removed, report.rows_copied), (0, 1, 4));
    assert!(table.snapshot().await.unwrap().files(None).await.unwrap()[0].deletion_vector().is_none());
}

#[tokio::test]
async fn an_update_writes_the_changed_rows_and_no_others() {
    let table = table_of_with(&[VECTORS], &[&many(20_000)]).await;
    let report = table.update().set("v", "-1").filter("id % 500 = 7").run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_copied, report.files_marked, report.files_added), (40, 0, 1, 1));
    let mut model = many(20_000);
    model.iter_mut().filter(|row| row.0.unwrap() % 500 == 7).for_each(|row| row.2 = Some(-1));
    assert_eq!(read(&table).await, sorted(&model));
    // The same rows once more: they are in the new file now.
    let report = table.update().set("v", "v - 1").filter("v < 0 OR id = 0").run().await.unwrap();
    assert_eq!((report.rows_updated, report.files_removed, report.files_marked), (41, 1, 1));
    model.iter_mut().filter(|row| row.2 == Some(-1) || row.0 == Some(0)).for_each(|row| row.2 = row.2.map(|v| v - 1));
    assert_eq!(read(&table).await, sorted(&model));
}

#[tokio::test]
async fn a_merge_of_few_rows_into_a_large_file_marks_them() {
    let table = table_of_with(&[VECTORS], &[&many(20_000)]).await;
    let source: Vec<Row> = (0..40).map(|n| (Some(n * 1000), Some("m"), Some(9))).collect();
    let merge = table.merge(frame(&source), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted, report.rows_copied, report.files_marked), (20, 20, 0, 1));
    let mut model: Vec<Row> = many(20_000).into_iter().filter(|row| row.0.unwrap() % 1000 != 0).collect();
    model.extend(&source);
    assert_eq!(read(&table).await, sorted(&model));
}

#[tokio::test]
async fn duplicate_matches_beyond_one_batch_are_found_and_named() {
    let table = table_of_with(&[VECTORS], &[&many(30_000)]).await;
    let mut source: Vec<Row> = (0..20_000).map(|id| (Some(id), Some("m"), Some(9))).collect();
    source.push((Some(19_999), Some("n"), Some(8)));
    let merge = table.merge(frame(&source), "t.id = s.id").when_matched_update_all();
    let error = merge.run().await.unwrap_err();
    assert!(matches!(&error, EngineError::AmbiguousMatch { rows: 1, key, .. } if key == "s.id = 19999"), "{error}");
    assert_eq!(read(&table).await, sorted(&many(30_000)));
}

#[tokio::test]
async fn a_merge_that_only_inserts_takes_each_row_that_is_not_there_and_null_keys_match_nothing() {
    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 1), (None, Some("a"), Some(2))]]).await;
    let source = frame(&[row(1, "s", 7), row(2, "s", 8), (None, Some("s"), Some(9))]);
    let merge = table.merge(source, "t.id = s.id").when_not_matched_insert(MergeInsert::all());
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_inserted, report.files_marked, report.files_removed), (2, 0, 0));
    let expected = [row(1, "a", 1), (None, Some("a"), Some(2)), row(2, "s", 8), (None, Some("s"), Some(9))];
    assert_eq!(read(&table).await, sorted(&expected));
    // Nothing to merge: nothing happens.
    let empty = table.merge(frame(&[]), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
    assert!(!empty.run().await.unwrap().committed);
}

/// A second handle whose cache is as old as this moment.
fn stale(table: &DeltaTable) -> DeltaTable {
    DeltaTable::at(table.storage().clone(), table.env().clone())
}

#[tokio::test]
async fn deletes_of_other_rows_of_one_file_at_once_both_succeed() {
    let table = table_of_with(&[VECTORS], &[&many(100)]).await;
    let other = stale(&table);
    let (one, two) = tokio::join!(table.delete().filter("id = 1").run(), other.delete().filter("id = 2").run());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.version, two.version);
    let left: Vec<Row> = many(100).into_iter().filter(|row| row.0 != Some(1) && row.0 != Some(2)).collect();
    assert_eq!(read(&table).await, sorted(&left));
}

#[tokio::test]
async fn an_update_and_a_merge_of_other_rows_of_one_file_at_once_both_succeed() {
    let table = table_of_with(&[VECTORS], &[&many(100)]).await;
    let other = stale(&table);
    let update = table.update().set("v", "-5").filter("id = 10");
    let merge = other.merge(frame(&[row(20, "m", -6)]), "t.id = s.id").when_matched_update_all();
    let (one, two) = tokio::join!(update.run(), merge.run());
    // Each adds a file, and its condition says which rows could matter: `id = 10` is not among the rows of the other one.
    one.unwrap();
    two.unwrap();
    let mut model = many(100);
    model[10].2 = Some(-5);
    model[20] = row(20, "m", -6);
    assert_eq!(read(&table).await, sorted(&model));
}

#[tokio::test]
async fn updates_of_one_row_at_once_conflict_or_follow_one_another() {
    let table = table_of_with(&[VECTORS], &[&many(100)]).await;
    let other = stale(&table);
    let add = |table: &DeltaTable| table.update().set("v", "v + 100").filter("id = 10");
    let (one, two) = tokio::join!(add(&table).run(), add(&other).run());
    let committed = [&one, &two].into_iter().filter(|result| result.is_ok()).count();
    for error in [one.err(), two.err()].into_iter().flatten() {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    let now = read(&table).await.into_iter().find(|row| row.0 == Some(10)).unwrap();
    assert_eq!(now.2, Some(3 + 100 * i32::try_from(committed).unwrap()), "no update is lost");
}

/// Puts the files of a table together, as a compaction does.
pub(crate) async fn compact(table: &DeltaTable) {
    let snapshot = table.snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap();
    let mut writer = DataWriter::new(&snapshot, DataWriterSettings { data_change: false, ..Default::default() }).unwrap();
    for file in &files {
        let mut rows = snapshot.read_file(file, Default::default()).unwrap();
        while let Some(batch) = rows.next().await {
            writer.write_kept(&batch.unwrap()).await.unwrap();
        }
    }
    let add = writer.finish().await.unwrap().adds.pop().unwrap();
    let transaction = Transaction::begin(&snapshot).concatenate(&files, add).unwrap();
    transaction.operation("OPTIMIZE", []).commit().await.unwrap();
}

#[tokio::test]
async fn a_delete_that_races_with_a_compaction_deletes_its_rows_and_no_others() {
    for seed in 0..4 {
        let table = table_of_with(&[VECTORS], &[&many(50), &many(50)]).await;
        table.delete().filter("id = 0").run().await.unwrap();
        let other = DeltaTable::at(table.storage().clone(), seeded_env(100 + seed));
        let (deleted, ()) = tokio::join!(table.delete().filter("id % 10 = 4").run(), compact(&other));
        assert_eq!(deleted.unwrap().rows_deleted, Some(10));
        let left: Vec<Row> =
            many(50).into_iter().chain(many(50)).filter(|row| row.0 != Some(0) && row.0.unwrap() % 10 != 4).collect();
        assert_eq!(read(&table).await, sorted(&left));
    }
}

/// For each `id` of the table, its row id and row commit version.
async fn tracked(table: &DeltaTable) -> BTreeMap<i64, (i64, i64)> {
    let snapshot = table.snapshot().await.unwrap();
    let columns = snapshot.row_tracking().unwrap().clone();
    let mut found = BTreeMap::new();
    for file in snapshot.files(None).await.unwrap() {
        let read = FileRead { row_tracking: Some(columns.clone()), ..FileRead::default() };
        let mut rows = snapshot.read_file(&file, read).unwrap();
        while let Some(batch) = rows.next().await {
            let (rows, from) = columns.split(&batch.unwrap()).unwrap();
            for (at, id) in rows.column(0).as_primitive::<Int64Type>().values().iter().enumerate() {
                let again = found.insert(*id, (from.ids.value(at), from.commit_versions.value(at)));
                assert!(again.is_none(), "row {id} is there twice");
            }
        }
    }
    found
}

#[tokio::test]
async fn rows_keep_their_ids_whether_they_are_marked_copied_updated_or_merged() {
    for vectors in [true, false] {
        let tracking = ("delta.enableRowTracking", "true");
        let properties = if vectors { vec![tracking, VECTORS] } else { vec![tracking] };
        let table = table_of_with(&properties, &[&many(20)]).await;
        let before = tracked(&table).await;
        table.delete().filter("id = 3").run().await.unwrap();
        table.update().set("v", "-1").filter("id IN (5, 6)").run().await.unwrap();
        let source = [row(6, "m", 60), row(7, "m", 70), row(99, "m", 99)];
        let merge = table.merge(frame(&source), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
        merge.run().await.unwrap();
        // More than half of the first file: what is left of it is copied.
        table.delete().filter("id BETWEEN 8 AND 17").run().await.unwrap();
        let after = tracked(&table).await;
        let expected: Vec<i64> = vec![0, 1, 2, 4, 5, 6, 7, 18, 19, 99];
        assert_eq!(after.keys().copied().collect::<Vec<_>>(), expected, "vectors: {vectors}");
        for (id, (row_id, version)) in &after {
            let changed_in = match id {
                5 => 3,
                6 | 7 | 99 => 4,
                _ => 1,
            };
            assert_eq!(*version, changed_in, "commit version of {id}, vectors: {vectors}");
            match before.get(id) {
                Some((known, _)) => assert_eq!(row_id, known, "row id of {id}, vectors: {vectors}"),
                None => assert!(before.values().all(|(known, _)| known != row_id), "a new row has a new id"),
            }
        }
    }
}
