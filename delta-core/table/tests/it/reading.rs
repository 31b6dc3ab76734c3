//! Scans: columns, skipping, deletion vectors.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use boathouse_base::{BatchStream, Comparison, DomainError, ErrorKind, Predicate, ScanRequest};
use boathouse_delta_table::protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor, StorageType, z85};
use boathouse_delta_table::{DataWriterSettings, DeletedRows, DeltaTable, FileRead, Transaction};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Operation, seeded_env};
use proptest::prelude::*;

use crate::rows::{append_each, batch, ids, ids_of, people, reopened, table};

#[tokio::test]
async fn a_projection_gives_the_columns_in_the_order_asked_for_and_an_unknown_one_is_named() {
    let table = table();
    table.append(people(&[1], "a")).create_if_absent().partition_by(["part"]).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let rows = snapshot.scan(ScanRequest::default().project(["part", "ID"])).unwrap();
    assert_eq!(rows.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["part", "id"]);
    let rows = snapshot.scan(ScanRequest::default().project(["part"])).unwrap().collect().await.unwrap();
    assert_eq!(rows[0].column(0).as_string::<i32>().value(0), "a", "no column of the file is needed");
    let error = snapshot.scan(ScanRequest::default().project(["nope"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`nope`") && error.to_string().contains("id, part"), "{error}");
}

#[tokio::test]
async fn files_that_cannot_match_are_not_opened() {
    let table = table();
    append_each(&table, 0..9).await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let snapshot = DeltaTable::at(storage, seeded_env(1)).snapshot().await.unwrap();
    counts.reset();
    let five = ScanRequest::default().filter(Predicate::eq("id", 5));
    assert_eq!(ids_of(&snapshot.scan(five).unwrap().collect().await.unwrap()), [5]);
    let opened: std::collections::BTreeSet<String> =
        counts.log().into_iter().filter(|(_, path)| path.ends_with(".parquet")).map(|(_, path)| path).collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
}

#[tokio::test]
async fn a_limit_stops_after_enough_files() {
    let table = table();
    append_each(&table, 0..9).await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let snapshot = DeltaTable::at(storage, seeded_env(1)).snapshot().await.unwrap();
    counts.reset();
    let request = ScanRequest { limit_rows: Some(2), ..ScanRequest::default() };
    let rows = snapshot.scan(request).unwrap().collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let opened: std::collections::BTreeSet<String> =
        counts.log().into_iter().filter(|(_, path)| path.ends_with(".parquet")).map(|(_, path)| path).collect();
    assert_eq!(opened.len(), 2, "{opened:?}");
}

#[tokio::test]
async fn opening_a_table_again_costs_two_heads_and_when_there_is_more_a_list_and_a_get_for_each_new_commit() {
    let table = table();
    append_each(&table, 0..5).await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let reader = DeltaTable::at(storage, seeded_env(1));
    reader.snapshot().await.unwrap();
    append_each(&table, 5..7).await;
    counts.reset();
    assert_eq!(reader.snapshot().await.unwrap().version(), 6);
    let counted = counts.counts();
    assert_eq!((counted.of(Operation::List), counted.gets()), (1, 2), "{:?}", counts.log());
    counts.reset();
    reader.snapshot().await.unwrap();
    assert_eq!((counts.counts().total(), counts.counts().of(Operation::Head)), (2, 2), "{:?}", counts.log());
}

/// Deletes rows of the only file of a table.
async fn delete_rows(table: &DeltaTable, deleted: &[u64]) {
    let snapshot = table.snapshot().await.unwrap();
    let file = &snapshot.files(None).await.unwrap()[0];
    let vector: DeletionVector = deleted.iter().copied().collect();
    let mut bytes = vector.encode();
    let size_in_bytes = u32::try_from(bytes.len()).unwrap();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let descriptor = DeletionVectorDescriptor {
        storage_type: StorageType::Inline,
        path_or_inline_dv: z85::encode(&bytes),
        offset: None,
        size_in_bytes,
        cardinality: vector.len(),
    };
    let mut add = file.add().as_ref().clone();
    add.deletion_vector = Some(Box::new(descriptor));
    Transaction::begin(&snapshot)
        .read_files([file])
        .remove(file)
        .add(add)
        .operation("DELETE", [("", String::new())])
        .commit()
        .await
        .unwrap();
}

async fn numbered(rows: i64, row_group_rows: usize) -> DeltaTable {
    let table = table();
    let all: Vec<i64> = (0..rows).collect();
    let data = batch(&[
        ("id", Arc::new(Int64Array::from(all))),
        ("part", Arc::new(StringArray::from(vec!["p"; usize::try_from(rows).unwrap()]))),
    ]);
    let settings = DataWriterSettings { row_group_rows, ..DataWriterSettings::default() };
    table
        .append(BatchStream::from_batches(data.schema(), vec![data]))
        .property("delta.enableDeletionVectors", "true")
        .with_writer_settings(settings)
        .run()
        .await
        .unwrap();
    table
}

#[tokio::test]
async fn deleted_rows_are_not_read_and_row_numbers_are_those_of_the_file() {
    let table = numbered(100, 30).await;
    let deleted: Vec<u64> = (0..100).filter(|r| r % 3 == 0 || (40..75).contains(r)).collect();
    delete_rows(&table, &deleted).await;
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let kept: Vec<i64> = (0..100).filter(|r| !deleted.contains(r)).map(|r| i64::try_from(r).unwrap()).collect();
    assert_eq!(ids(&snapshot).await, kept);
    assert_eq!(snapshot.row_count().await.unwrap(), Some(kept.len() as u64));

    let file = &snapshot.files(None).await.unwrap()[0];
    let read = FileRead {
        predicate: Some(Predicate::compare("id", Comparison::GtEq, 60)),
        row_index: Some("_row".into()),
        ..FileRead::default()
    };
    let rows = snapshot.read_file(file, read).unwrap().collect().await.unwrap();
    let mut seen = Vec::new();
    for b in &rows {
        assert_eq!(b.schema().field(2).name(), "_row");
        assert_eq!(b.column(0).as_primitive::<Int64Type>(), b.column(2).as_primitive::<Int64Type>(), "row n has id n");
        seen.extend_from_slice(b.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!(seen, kept.iter().copied().filter(|id| *id >= 60).collect::<Vec<_>>());
    let read = FileRead { deleted: DeletedRows::Keep, projection: Some(vec!["id".into()]), ..FileRead::default() };
    let all = snapshot.read_file(file, read).unwrap().collect().await.unwrap();
    assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
}

#[tokio::test]
async fn rows_that_are_asked_for_by_number_come_alone_and_deleted_ones_only_on_request() {
    let table = numbered(100, 30).await;
    delete_rows(&table, &[5, 31, 32, 99]).await;
    let snapshot = table.snapshot().await.unwrap();
    let file = &snapshot.files(None).await.unwrap()[0];
    let read = async |rows: &[u64], deleted: DeletedRows, predicate: Option<Predicate>| {
        let rows = Some(rows.iter().copied().collect());
        let read = FileRead { rows, deleted, predicate, projection: Some(vec!["id".into()]), ..FileRead::default() };
        let batches = snapshot.read_file(file, read).unwrap().collect().await.unwrap();
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect::<Vec<_>>()
    };
    // Nothing of the second row group, a run across the border of the third and fourth, and the last row.
    let asked = [0, 5, 6, 88, 89, 90, 91, 99];
    assert_eq!(read(&asked, DeletedRows::Skip, None).await, [0, 6, 88, 89, 90, 91]);
    assert_eq!(read(&asked, DeletedRows::Keep, None).await, [0, 5, 6, 88, 89, 90, 91, 99]);
    assert_eq!(read(&[31, 32], DeletedRows::Skip, None).await, [0_i64; 0]);
    assert_eq!(read(&[], DeletedRows::Keep, None).await, [0_i64; 0]);
    assert_eq!(read(&[1000], DeletedRows::Keep, None).await, [0_i64; 0]);
    let late = Some(Predicate::compare("id", Comparison::GtEq, 90));
    assert_eq!(read(&asked, DeletedRows::Skip, late).await, [90, 91], "the first row groups cannot match");
}

#[tokio::test]
async fn rows_are_changed_under_a_change_feed_only_when_the_changes_are_recorded() {
    use boathouse_delta_protocol::features::RowChange;
    use boathouse_delta_table::{ChangeType, ChangeWriter, DeltaError, Transaction, TransactionProblem};
    let table = table();
    let rows = |ids: Vec<i64>| batch(&[("id", Arc::new(Int64Array::from(ids)))]);
    let data = rows(vec![1, 2, 3]);
    table.append(data.clone().into()).property("delta.enableChangeDataFeed", "true").run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap();
    let rewrite = || Transaction::begin(&snapshot).remove_all(&files).row_change(RowChange::Rewrite);
    let error = rewrite().commit().await.unwrap_err();
    let unrecorded = |error: &DeltaError| {
        matches!(error, DeltaError::InvalidTransaction { problem: TransactionProblem::ChangesNotRecorded, .. })
    };
    assert!(unrecorded(&error), "{error}");
    let mut writer = ChangeWriter::new(&snapshot, DataWriterSettings::default()).unwrap();
    writer.write(&data, ChangeType::Delete).await.unwrap();
    let changes = writer.finish().await.unwrap();
    assert_eq!((changes.files.len(), changes.rows), (1, 3));
    assert!(changes.files[0].path.starts_with("_change_data/cdc-"), "{}", changes.files[0].path);
    rewrite().record_changes(&changes).commit().await.unwrap();
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, [0_i64; 0]);
    let told = table.changes(1..).read().await.unwrap().collect().await.unwrap();
    assert_eq!(told.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_scan_with_a_predicate_loses_no_row_whatever_the_files_and_row_groups(
        chunks in prop::collection::vec(prop::collection::vec(prop::option::of(-20_i64..20), 1..30), 1..5),
        row_group_rows in 1_usize..12,
        low in -25_i64..25,
        width in 0_i64..10,
        deny in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let table = table();
            let settings = DataWriterSettings { row_group_rows, ..DataWriterSettings::default() };
            for chunk in &chunks {
                let data = batch(&[("n", Arc::new(Int64Array::from(chunk.clone())))]);
                table.append(BatchStream::from_batches(data.schema(), vec![data])).create_if_absent().with_writer_settings(settings.clone()).run().await.unwrap();
            }
            let mut predicate = Predicate::compare("n", Comparison::GtEq, low).and(Predicate::compare("n", Comparison::LtEq, low + width));
            if deny {
                predicate = predicate.negate();
            }
            let snapshot = table.snapshot().await.unwrap();
            let rows = snapshot.scan(ScanRequest::default().filter(predicate.clone())).unwrap().collect().await.unwrap();
            let matches = |v: Option<i64>| predicate.matches(&|_| v.map_or(boathouse_base::Value::Null, boathouse_base::Value::Int)) == Some(true);
            let mut found: Vec<Option<i64>> = rows.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).filter(|v| matches(*v)).collect();
            let mut expected: Vec<Option<i64>> = chunks.iter().flatten().copied().filter(|v| matches(*v)).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        });
    }
}

#[tokio::test]
async fn pages_that_cannot_match_are_not_read_and_no_matching_row_is_lost() {
    let table = table();
    // Two columns whose pages end at different rows, one of them in no order; every fifth row has none.
    let rows: i64 = 100_000;
    let ids = Int64Array::from_iter_values(0..rows);
    let texts: StringArray =
        (0..rows).map(|n| (n % 5 != 0).then(|| format!("{:06}{}", n * 7919 % rows, "x".repeat(40)))).collect();
    let columns = [("id", Arc::new(ids) as arrow_array::ArrayRef), ("text", Arc::new(texts) as arrow_array::ArrayRef)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    table.append(BatchStream::from(batch)).create_if_absent().run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    let [file] = snapshot.files(None).await.unwrap().try_into().unwrap();
    let read = async |predicate: Predicate, only: Option<DeletionVector>| -> Vec<i64> {
        let read = FileRead { predicate: Some(predicate), rows: only, ..FileRead::default() };
        let batches = snapshot.read_file(&file, read).unwrap().collect().await.unwrap();
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    };
    let is = |id: i64| Predicate::eq("id", id);
    let found = read(is(70_001), None).await;
    assert!(found.contains(&70_001) && found.len() < 50_000, "{} rows were read for one", found.len());
    let found = read(is(3).or(is(99_999)), None).await;
    assert!(found.contains(&3) && found.contains(&99_999) && !found.contains(&50_000), "{} rows were read", found.len());
    assert_eq!(read(is(-1), None).await, [] as [i64; 0]);
    // With rows that are asked for, what both allow is read.
    let wanted = || Some([2_u64, 70_001, 99_000].into_iter().collect::<DeletionVector>());
    assert_eq!(read(is(70_001), wanted()).await.first(), Some(&70_001));
    // A column in no order excludes nothing, and neither do its nulls.
    let text = Predicate::compare("text", Comparison::GtEq, "000000").and(is(70_001).or(Predicate::IsNull("text".to_owned())));
    let found = read(text, None).await;
    assert!(found.contains(&70_001), "{} rows were read", found.len());
    let nulls = read(Predicate::IsNull("text".to_owned()), None).await;
    assert!((0..rows).step_by(5).all(|id| nulls.binary_search(&id).is_ok()));
    // Rows that are deleted stay away.
    table.settle().await;
    let exact = snapshot.read_matching(&file, is(70_001).or(is(5))).unwrap().collect().await.unwrap();
    assert_eq!(ids_of(&exact), [5, 70_001]);
}
