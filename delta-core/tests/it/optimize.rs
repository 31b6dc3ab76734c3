//! OPTIMIZE that puts files together: what it takes, what it keeps, what it refuses, and what other writers notice.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{Comparison, DomainError, ErrorKind, Predicate, ScanRequest};
use boathouse_delta_core::table::DataWriterSettings;
use boathouse_delta_core::{
    DeltaError, DeltaTable, DeltaTableExt, EngineError, OptimizeCommits, OptimizeSettings, RowChangeSettings, Snapshot,
};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{FEED, Row, VECTORS, batch, frame, read, row, sorted, table_of, table_of_with, table_with, version};

/// The ids of all rows, in the order in which they are read.
async fn ids(snapshot: &Snapshot) -> Vec<i64> {
    let batches = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// A commit as JSON: its info.
pub(crate) async fn info(table: &DeltaTable, version: u64) -> serde_json::Value {
    let commit = table.storage().get(&format!("_delta_log/{version:020}.json")).await.unwrap();
    let first: serde_json::Value = serde_json::from_slice(commit.split(|b| *b == b'\n').next().unwrap()).unwrap();
    first["commitInfo"].clone()
}

#[tokio::test]
async fn small_files_become_one_with_the_rows_in_their_order() {
    let commits: Vec<Vec<Row>> = (0..7).map(|n| vec![row(9 - n, "a", 1), row(100 + n, "b", 2)]).collect();
    let table = table_of(false, &commits.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    let before = ids(&table.snapshot().await.unwrap()).await;
    let report = table.optimize().run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.num_files_added(), report.rows_copied, report.version), (7, 1, 14, 8));
    assert_eq!((report.num_bins, report.num_batches, report.partitions_optimized, report.attempts), (1, 1, 1, 1));
    assert!(report.preserve_insertion_order && report.total_files_skipped == 0);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, before);
    let again = table.optimize().run().await.unwrap();
    assert_eq!((again.committed(), again.version, again.total_files_skipped), (false, 8, 1));
}

#[tokio::test]
async fn the_history_has_the_names_that_spark_writes_and_no_row_changed() {
    let table = table_of_with(&[FEED, VECTORS], &[&[row(1, "a", 1)], &[row(2, "b", 2), row(3, "b", 3)]]).await;
    table.delete().filter("id = 3").run().await.unwrap();
    let report = table.optimize().run().await.unwrap();
    let info = info(&table, report.version).await;
    assert_eq!((&info["operation"], &info["isBlindAppend"]), (&"OPTIMIZE".into(), &false.into()), "{info}");
    let parameters = serde_json::json!({"predicate": "[]", "zOrderBy": "[]", "clusterBy": "[]", "auto": "false"});
    assert_eq!(info["operationParameters"], parameters);
    let metrics = &info["operationMetrics"];
    let expected = [
        ("numAddedFiles", "1"),
        ("numRemovedFiles", "2"),
        ("numDeletionVectorsRemoved", "1"),
        ("numDeletionVectorRowsRemoved", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(metrics[name], value, "{name} of {metrics}");
    }
    assert_eq!((&metrics["minFileSize"], &metrics["p50FileSize"]), (&metrics["maxFileSize"], &metrics["maxFileSize"]));
    assert!(info["boathouseConcatenated"].is_object());
    assert_eq!(report.num_deletion_vectors_removed, 1);
    let mut changes = table.changes(report.version..).read().await.unwrap();
    while let Some(batch) = changes.next().await {
        assert_eq!(batch.unwrap().num_rows(), 0, "rows that are rearranged do not change");
    }
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1), row(2, "b", 2)]));
}

#[tokio::test]
async fn a_condition_chooses_partitions_and_may_speak_of_nothing_else() {
    let rows = [row(1, "a", 1), row(2, "b", 2)];
    let table = table_of(true, &[&rows, &rows, &rows]).await;
    let report = table.optimize().filter("upper(part) = 'B'").run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.num_files_added(), report.total_considered_files), (3, 1, 3));
    assert_eq!(info(&table, report.version).await["operationParameters"]["predicate"], "[\"upper(part) = 'B'\"]");
    let error = table.optimize().filter("part = 'a' AND id = 1").run().await.unwrap_err();
    assert!(matches!(&error, EngineError::NotPartition { column, .. } if column == "id"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let report = table.optimize().run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.partitions_optimized), (3, 1), "the other partition is done");
    assert_eq!(read(&table).await, sorted(&[rows, rows, rows].concat()));
}

#[tokio::test]
async fn each_partition_can_be_a_version_of_its_own() {
    let rows = [row(1, "a", 1), row(2, "b", 2), (Some(3), None, None)];
    let table = table_of(true, &[&rows, &rows]).await;
    let settings = OptimizeSettings { commits: OptimizeCommits::EachPartition, ..OptimizeSettings::default() };
    let report = table.optimize().with_settings(settings).run().await.unwrap();
    assert_eq!((report.num_batches, report.partitions_optimized, report.version, report.num_files_added()), (3, 3, 5, 3));
    assert_eq!(read(&table).await, sorted(&[rows, rows].concat()));
}

#[tokio::test]
async fn files_stay_apart_where_they_would_be_too_large_together() {
    // Rows that compress badly, so that two files together are as large as both.
    let many =
        |file: i64| (0..1000).map(|n| row((n + file * 1000).pow(3) * 265_443 % 1_000_000_007, "a", 1)).collect::<Vec<Row>>();
    let table = table_of(false, &[&many(0), &many(1), &many(2), &many(3), &many(4)]).await;
    let one = table.snapshot().await.unwrap().files(None).await.unwrap()[0].size_bytes();
    let settings = OptimizeSettings { target_file_size_bytes: Some(one * 5 / 2), ..OptimizeSettings::default() };
    let report = table.optimize().with_settings(settings).run().await.unwrap();
    assert_eq!((report.num_bins, report.num_files_removed(), report.num_files_added()), (2, 4, 2));
    let settings = OptimizeSettings { target_file_size_bytes: Some(one), ..OptimizeSettings::default() };
    assert!(!table.optimize().with_settings(settings).run().await.unwrap().committed(), "all are large enough");
}

/// How many rows the row groups of a file have.
async fn row_groups(table: &DeltaTable, path: &str) -> Vec<i64> {
    let bytes = table.storage().get(path).await.unwrap();
    let reader = datafusion::parquet::file::reader::SerializedFileReader::new(bytes).unwrap();
    let metadata = datafusion::parquet::file::reader::FileReader::metadata(&reader).clone();
    metadata.row_groups().iter().map(|group| group.num_rows()).collect()
}

#[tokio::test]
async fn large_row_groups_are_copied_as_they_are_and_small_ones_put_together_with_the_same_statistics() {
    let numbers = |file: i64| -> RecordBatch {
        let ids: Int64Array = (0..2500).map(|n| (n % 7 > 0).then_some(n * 31 % 1000 + file)).collect();
        let part: StringArray = (0..2500).map(|n| Some(format!("part {}", n * 17 % 300))).collect();
        let sound: Float64Array = (0..2500).map(|n| Some(f64::from(n) / 3.0)).collect();
        let broken: Float64Array = (0..2500).map(|n| Some(if n == 7 && file == 1 { f64::NAN } else { 2.5 })).collect();
        let columns: [(&str, ArrayRef); 4] =
            [("id", Arc::new(ids)), ("part", Arc::new(part)), ("sound", Arc::new(sound)), ("broken", Arc::new(broken))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let groups = || DataWriterSettings { row_group_rows: 1000, ..DataWriterSettings::default() };
    let mut found = Vec::new();
    for copy_row_groups_from_rows in [800, 900] {
        let table = DeltaTable::at(Storage::memory(), seeded_env(1));
        for file in 0..3 {
            table.append(numbers(file).into()).create_if_absent().with_writer_settings(groups()).run().await.unwrap();
        }
        let before = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let settings = OptimizeSettings { copy_row_groups_from_rows, writer: groups(), ..OptimizeSettings::default() };
        assert_eq!(table.optimize().with_settings(settings).run().await.unwrap().num_files_removed(), 3);
        let snapshot = DeltaTable::at(table.storage().clone(), seeded_env(2)).snapshot().await.unwrap();
        let after = snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let whole = |batches: &[RecordBatch]| datafusion::arrow::compute::concat_batches(&snapshot.schema(), batches).unwrap();
        assert_eq!(
            whole(&before).columns().iter().map(|c| format!("{c:?}")).collect::<Vec<_>>(),
            whole(&after).columns().iter().map(|c| format!("{c:?}")).collect::<Vec<_>>()
        );
        assert_eq!(whole(&after).num_rows(), 7500);
        // Pages are found by their indexes, which were copied too.
        let late = Predicate::compare("id", Comparison::Gt, 1000);
        let some = ScanRequest { predicate: Some(late), ..ScanRequest::default() };
        assert!(snapshot.scan(some).unwrap().collect().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>() > 0);
        let files = snapshot.files(None).await.unwrap();
        found.push((row_groups(&table, &files[0].path()).await, files[0].add().stats.clone().unwrap()));
    }
    let crumbs = [1000, 1000, 500].repeat(3);
    assert_eq!((&found[0].0, &found[1].0), (&crumbs, &vec![1000, 1000, 1000, 1000, 1000, 1000, 1000, 500]));
    assert_eq!(found[0].1, found[1].1);
    assert!(found[0].1.contains("\"sound\":833.0") && !found[0].1.contains("\"broken\":2.5"), "{}", found[0].1);
}

#[tokio::test]
async fn a_large_file_is_written_again_when_too_many_of_its_rows_are_deleted() {
    let many: Vec<Row> = (0..100).map(|n| row(n, "a", 1)).collect();
    let table = table_of_with(&[VECTORS], &[&many]).await;
    let small = || OptimizeSettings { target_file_size_bytes: Some(1), ..OptimizeSettings::default() };
    table.delete().filter("id < 5").run().await.unwrap();
    assert!(!table.optimize().with_settings(small()).run().await.unwrap().committed());
    table.delete().filter("id = 5").run().await.unwrap();
    let report = table.optimize().with_settings(small()).run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.rows_copied, report.num_deletion_vectors_removed), (1, 94, 1));
    assert_eq!(read(&table).await, sorted(&many[6..]));
}

#[tokio::test]
async fn a_purge_takes_deleted_rows_out_of_files_and_then_has_nothing_to_do() {
    let many: Vec<Row> = (0..100).map(|n| row(n, "a", 1)).collect();
    let table = table_of_with(&[VECTORS], &[&many, &[row(500, "a", 1)], &[row(600, "b", 1)]]).await;
    table.delete().filter("id = 7").run().await.unwrap();
    let report = table.purge().run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.num_files_added(), report.rows_copied), (1, 1, 99));
    let info = info(&table, report.version).await;
    assert_eq!((&info["operation"], &info["operationParameters"]["applyPurge"]), (&"REORG".into(), &"true".into()));
    assert!(!table.purge().run().await.unwrap().committed());
}

#[tokio::test]
async fn a_purge_takes_dropped_columns_out_of_files_also_within_structs() {
    let table = table_with(false, &[("delta.columnMapping.mode", "name"), ("delta.enableRowTracking", "true")]).await;
    table.append(batch(&[row(1, "a", 1), row(2, "b", 2)]).into()).run().await.unwrap();
    assert!(!table.purge().run().await.unwrap().committed());
    table.alter().drop_column("v").run().await.unwrap();
    let report = table.purge().run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.num_files_added()), (1, 1));
    assert!(!table.purge().run().await.unwrap().committed(), "hidden columns of row ids are no dropped ones");
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, [1, 2]);
}

#[tokio::test]
async fn columns_that_became_wider_or_came_later_are_put_together() {
    let table = table_with(false, &[("delta.enableTypeWidening", "true")]).await;
    table.append(batch(&[row(1, "a", 1)]).into()).run().await.unwrap();
    table.alter().widen_column("v", DataType::Int64).run().await.unwrap();
    table.alter().add_column(Field::new("late", DataType::Utf8, true)).run().await.unwrap();
    let session = datafusion::prelude::SessionContext::new();
    let rows = session.sql("SELECT 2 AS id, 'b' AS part, 5000000000 AS v, 'x' AS late").await.unwrap();
    table.merge(rows, "t.id = s.id").when_not_matched_insert_all().run().await.unwrap();
    let report = table.optimize().run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.num_files_added()), (2, 1));
    let batches = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let values: Vec<i64> = batches.iter().flat_map(|b| b.column(2).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(values, [1, 5_000_000_000]);
}

#[tokio::test]
async fn an_append_only_table_may_be_tidied_and_an_empty_one_stays() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(1));
    table
        .create(Schema::new(vec![Field::new("id", DataType::Int64, true)]))
        .property("delta.appendOnly", "true")
        .run()
        .await
        .unwrap();
    assert!(!table.optimize().run().await.unwrap().committed());
    let ids = |ids: Vec<i64>| {
        let column = Arc::new(Int64Array::from(ids)) as ArrayRef;
        RecordBatch::try_from_iter([("id", column)]).unwrap()
    };
    table.append(ids(vec![1]).into()).run().await.unwrap();
    table.append(ids(vec![2]).into()).run().await.unwrap();
    assert_eq!(table.optimize().run().await.unwrap().num_files_removed(), 2);
}

#[tokio::test]
async fn small_files_that_pile_up_are_put_together_after_a_statement_where_the_table_asks_for_it() {
    for (property, wanted) in [("true", 1), ("false", 50)] {
        let table = table_with(true, &[("delta.autoOptimize.autoCompact", property)]).await;
        for n in 0..48 {
            table.append(batch(&[row(n, "a", 1)]).into()).run().await.unwrap();
        }
        let insert = |id| table.merge(frame(&[row(id, "a", 1)]), "t.id = s.id").when_not_matched_insert_all();
        insert(48).run().await.unwrap();
        assert_eq!(table.snapshot().await.unwrap().file_count().await.unwrap(), 49, "too few yet");
        insert(49).run().await.unwrap();
        let snapshot = table.snapshot().await.unwrap();
        assert_eq!(snapshot.file_count().await.unwrap(), wanted);
        let last = info(&table, snapshot.version()).await;
        let expected = if wanted == 1 { ("OPTIMIZE", "true".into()) } else { ("MERGE", serde_json::Value::Null) };
        assert_eq!((last["operation"].as_str().unwrap(), last["operationParameters"]["auto"].clone()), expected);
        let settings = OptimizeSettings { auto_min_files: 2, ..OptimizeSettings::default() };
        assert!(!table.auto_compact().with_settings(settings).run().await.unwrap().committed());
        assert_eq!(read(&table).await.len(), 50);
    }
}

/// A second handle whose cache is as old as this moment.
fn stale(table: &DeltaTable) -> DeltaTable {
    DeltaTable::at(table.storage().clone(), table.env().clone())
}

#[tokio::test]
async fn appends_and_deletes_of_rows_at_the_same_time_never_stop_it_and_none_is_lost() {
    let many = |from: i64| (from..from + 50).map(|n| row(n, "a", 1)).collect::<Vec<Row>>();
    let table = table_of_with(&[VECTORS], &[&many(0), &many(50), &many(100)]).await;
    let (one, two, three) = (stale(&table), stale(&table), stale(&table));
    let mark = RowChangeSettings { copy_above_percent: 100 };
    let (optimized, appended, deleted, updated) = tokio::join!(
        table.optimize().run(),
        one.append(batch(&[row(900, "z", 9)]).into()).run(),
        two.delete().filter("id % 50 = 7").with_row_change_settings(mark.clone()).run(),
        three.update().set("v", "5").filter("id = 120").with_row_change_settings(mark).run(),
    );
    appended.unwrap();
    assert_eq!(deleted.unwrap().rows_deleted, Some(3));
    assert_eq!(updated.unwrap().rows_updated, 1);
    assert_eq!(optimized.unwrap().num_files_removed(), 3);
    let mut expected: Vec<Row> = many(0).into_iter().chain(many(50)).chain(many(100)).collect();
    expected.retain(|row| row.0.unwrap() % 50 != 7);
    expected.iter_mut().filter(|row| row.0 == Some(120)).for_each(|row| row.2 = Some(5));
    expected.push(row(900, "z", 9));
    assert_eq!(read(&table).await, sorted(&expected));
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_the_table_as_before_or_as_after() {
    let rows = [row(1, "a", 1), row(2, "b", 2), row(3, "a", 3)];
    for z_order in [false, true] {
        for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
            let mut at = 0;
            loop {
                let sound = table_of(true, &[&rows, &rows]).await;
                let before = version(&sound).await;
                let mut store = None;
                let storage = sound.storage().with_object_store(|inner| {
                    let faulty = FaultStore::new(inner);
                    store = Some(faulty.clone());
                    std::sync::Arc::new(faulty)
                });
                let store = store.unwrap();
                store.inject(FaultRule::new(fault).skip(at));
                let optimize = DeltaTable::at(storage, seeded_env(3)).optimize();
                let result = if z_order { optimize.z_order(["id", "v"]).run().await } else { optimize.run().await };
                assert_eq!(read(&sound).await, sorted(&[rows, rows].concat()), "{fault:?} at request {at}");
                let files = stale(&sound).snapshot().await.unwrap().file_count().await.unwrap();
                match &result {
                    Ok(report) => assert_eq!((report.num_files_removed(), files), (4, 2)),
                    Err(EngineError::Table(DeltaError::CommitUnknown { .. })) => assert!(files == 4 || files == 2),
                    Err(error) => assert_eq!((version(&stale(&sound)).await, files), (before, 4), "{fault:?} at {at}: {error}"),
                }
                if store.injected().is_empty() {
                    break;
                }
                at += 1;
            }
            assert!(at >= 8, "it makes several requests");
        }
    }
}
