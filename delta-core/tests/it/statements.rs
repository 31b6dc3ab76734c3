//! DELETE, UPDATE and MERGE one by one: what they touch, what they refuse, what the history says.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::table::DataWriterSettings;
use boathouse_delta_core::{DeltaTable, DeltaTableExt, EngineError, MergeDelete, MergeUpdate};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{batch, frame, read, row, schema, sorted, table_of, version};

#[tokio::test]
async fn a_delete_rewrites_only_files_with_a_match() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "a", 2)], &[row(3, "a", 3)], &[row(4, "a", 4)]]).await;
    let report = table.delete().filter("id = 2 OR id = 4").run().await.unwrap();
    assert_eq!((report.files_removed, report.files_added, report.rows_copied), (2, 1, 1));
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1), row(3, "a", 3)]));
}

#[tokio::test]
async fn a_delete_by_partition_reads_and_writes_no_data() {
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "b", 2)]]).await;
    let report = table.delete().filter("upper(part) = 'A'").run().await.unwrap();
    assert_eq!((report.rows_deleted, report.files_removed, report.files_added), (Some(1), 1, 0));
    assert_eq!(read(&table).await, sorted(&[row(2, "b", 2)]));
}

#[tokio::test]
async fn a_delete_without_condition_removes_everything_and_again_nothing() {
    let table = table_of(false, &[&[row(1, "a", 1)], &[row(2, "b", 2)]]).await;
    let report = table.delete().run().await.unwrap();
    assert_eq!((report.rows_deleted, report.files_removed, report.version), (Some(2), 2, 3));
    let again = table.delete().run().await.unwrap();
    assert_eq!((again.committed, again.version), (false, 3));
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_refused_with_its_name_and_nothing_is_written() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    for (value, what) in [("v + 0.5", "another value"), ("5000000000", "cast"), ("'soon'", "cast")] {
        let error = table.update().set("v", value).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("column `v`") && error.to_string().contains(what), "{error}");
    }
    assert_eq!(version(&table).await, 1);
}

#[tokio::test]
async fn what_cannot_be_understood_is_invalid_and_names_what_is_wrong() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let error = table.delete().filter("nope = 1").run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("nope"), "{error}");
    let error = table.delete().filter("id + 1").run().await.unwrap_err();
    assert!(matches!(error, EngineError::NotBoolean { .. }), "{error}");
    let error = table.delete().filter("random() < 0.5").run().await.unwrap_err();
    assert!(matches!(error, EngineError::Volatile { .. }), "{error}");
    let error = table.update().set("w", "1").run().await.unwrap_err();
    assert!(matches!(&error, EngineError::UnknownColumn { column, .. } if column == "w"), "{error}");
    let error = table.update().set("v", "1").set("v", "2").run().await.unwrap_err();
    assert!(matches!(error, EngineError::SetTwice { .. }), "{error}");
    let error = table.merge(frame(&[row(1, "a", 1)]), "t.id = s.id").run().await.unwrap_err();
    assert!(matches!(error, EngineError::NoClause { .. }), "{error}");
    let narrow = frame(&[row(1, "a", 1)]).select_columns(&["id"]).unwrap();
    let error = table.merge(narrow, "t.id = s.id").when_not_matched_insert_all().run().await.unwrap_err();
    assert!(matches!(&error, EngineError::MissingInSource { column, .. } if column == "part"), "{error}");
}

#[tokio::test]
async fn an_append_only_table_takes_inserts_and_refuses_the_rest() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(1));
    table.create(schema()).property("delta.appendOnly", "true").run().await.unwrap();
    table.append(batch(&[row(1, "a", 1)]).into()).run().await.unwrap();
    assert_eq!(table.delete().filter("id = 1").run().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(table.update().set("v", "2").run().await.unwrap_err().kind(), ErrorKind::Invalid);
    let merge = || table.merge(frame(&[row(1, "a", 9), row(2, "b", 9)]), "t.id = s.id");
    assert_eq!(merge().when_matched_update_all().run().await.unwrap_err().kind(), ErrorKind::Invalid);
    let report = merge().when_not_matched_insert_all().run().await.unwrap();
    assert_eq!((report.rows_inserted, report.files_removed), (1, 0));
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1), row(2, "b", 9)]));
}

#[tokio::test]
async fn a_row_that_two_source_rows_update_is_an_error_and_one_that_both_delete_is_not() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "b", 2)]]).await;
    let twice = || table.merge(frame(&[row(1, "x", 5), row(1, "y", 6)]), "t.id = s.id");
    let error = twice().when_matched_update_all().run().await.unwrap_err();
    assert!(matches!(error, EngineError::AmbiguousMatch { rows: 1, .. }), "{error}");
    assert_eq!(version(&table).await, 1);
    let chosen = MergeUpdate::set("v", "s.v").only_if("s.part = 'y'");
    assert_eq!(twice().when_matched_update(chosen).run().await.unwrap().rows_updated, 1);
    assert_eq!(twice().when_matched_delete(MergeDelete::all()).run().await.unwrap().rows_deleted, 1);
    assert_eq!(read(&table).await, sorted(&[row(2, "b", 2)]));
}

#[tokio::test]
async fn a_merge_opens_only_files_whose_keys_are_in_the_source() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "a", 2)], &[row(10, "a", 1)], &[row(20, "a", 1)]]).await;
    let report = table.merge(frame(&[row(2, "z", 7)]), "t.id = s.id").when_matched_update_all().run().await.unwrap();
    assert_eq!((report.files_removed, report.rows_updated, report.rows_copied), (1, 1, 1));
}

#[tokio::test]
async fn the_history_has_the_names_and_numbers_that_spark_writes() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "b", 2)]]).await;
    table.update().set("v", "3").filter("id = 1").run().await.unwrap();
    let merge = table.merge(frame(&[row(1, "a", 9), row(5, "b", 9)]), "t.id = s.id").when_matched_update_all();
    merge.when_not_matched_insert_all().run().await.unwrap();
    table.delete().filter("id = 5").run().await.unwrap();
    let history = table.history(3).await.unwrap();
    let operations: Vec<_> = history.iter().map(|commit| commit.operation.as_deref().unwrap()).collect();
    assert_eq!(operations, ["DELETE", "MERGE", "UPDATE"]);
    let text = format!("{history:?}");
    for name in ["numDeletedRows", "numTargetRowsInserted", "numTargetRowsMatchedUpdated", "numUpdatedRows", "matchedPredicates"]
    {
        assert!(text.contains(name), "{name} is not in {text}");
    }
}

#[tokio::test]
async fn row_numbers_stay_true_when_row_groups_are_skipped() {
    let table = table_of(false, &[]).await;
    let rows: Vec<_> = (0..100_000).map(|id| row(id, "a", 0)).collect();
    let settings = DataWriterSettings { row_group_rows: 1000, ..DataWriterSettings::default() };
    table.append(batch(&rows).into()).with_writer_settings(settings).run().await.unwrap();
    let merge = table.merge(frame(&[row(99_990, "b", 7), row(70_001, "b", 7)]), "t.id = s.id").when_matched_update_all();
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_copied), (2, 99_998));
    let found: Vec<_> = read(&table).await.into_iter().filter(|row| row.2 == Some(7)).collect();
    assert_eq!(found, sorted(&[row(70_001, "b", 7), row(99_990, "b", 7)]));
}
