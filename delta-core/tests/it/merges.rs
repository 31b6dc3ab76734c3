//! MERGE: what it looks at, what it holds, how the table grows, and the traps that others fell into.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StructArray};
use arrow_schema::{DataType, Field};
use boathouse_base::{DomainError, ErrorKind, ScanRequest};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, EngineError, MergeDelete, MergeInsert, MergeUpdate};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Storage, seeded_env};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

use crate::rows::{FEED, Row, VECTORS, batch, frame, read, row, sorted, table_of_with, table_with};

/// A text that makes a source large.
const LONG: &str = "one hundred characters of text are what it takes for twenty thousand rows to be two million bytes, and more";

/// A session with so many bytes for everything that it holds.
fn small_session(bytes: usize, disk: DiskManagerMode) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(64 << 10);
    SessionContext::new_with_config_rt(config, runtime)
}

#[tokio::test]
async fn a_source_that_does_not_fit_into_memory_is_merged_from_disk() {
    let rows = |ids: std::ops::Range<i64>, v| -> Vec<Row> { ids.map(|id| (Some(id), Some("part"), Some(v))).collect() };
    let table = table_of_with(&[VECTORS], &[&rows(0..30_000, 1), &rows(30_000..31_000, 2)]).await;
    // Every third row of the table, in another order, and as many new ones; one matches twice and no clause wants it.
    let mut source: Vec<Row> = (0..20_000).map(|n| (Some((n * 7919 % 20_000) * 3), Some(LONG), Some(9))).collect();
    source.push((Some(3), Some(LONG), None));
    source.push((None, Some(LONG), Some(8)));
    let merge = |session: &SessionContext| {
        let merge = table.merge(frame(&source), "t.id = s.id").with_session(session);
        merge.when_matched_update(MergeUpdate::all().only_if("s.v IS NOT NULL")).when_not_matched_insert_all()
    };
    let error = merge(&small_session(1_500_000, DiskManagerMode::Disabled)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    let report = merge(&small_session(1_500_000, DiskManagerMode::OsTmpDirectory)).run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted), (10_334, 9_667));
    let mut model: Vec<Row> = rows(0..30_000, 1).into_iter().chain(rows(30_000..31_000, 2)).collect();
    model.iter_mut().filter(|row| row.0.unwrap() % 3 == 0).for_each(|row| (row.1, row.2) = (Some(LONG), Some(9)));
    model.extend((0..20_000).map(|n| n * 3).filter(|id| *id >= 31_000).map(|id| (Some(id), Some(LONG), Some(9))));
    model.push((None, Some(LONG), Some(8)));
    assert_eq!(read(&table).await, sorted(&model));
}

#[tokio::test]
async fn spilled_and_held_sources_give_the_same_table() {
    let rows: Vec<Row> = (0..5_000).map(|id| (Some(id), Some("t"), Some(1))).collect();
    let source: Vec<Row> = (0..9_000).map(|n| (Some(n * 31 % 9_000), Some(LONG), Some(i32::try_from(n % 5).unwrap()))).collect();
    let mut tables = Vec::new();
    // The source takes more than a million bytes: in the first session it goes to disk.
    for bytes in [900_000, 100_000_000] {
        let table = table_of_with(&[VECTORS, FEED], &[&rows]).await;
        let merge = table.merge(frame(&source), "t.id = s.id");
        let merge = merge.with_session(&small_session(bytes, DiskManagerMode::OsTmpDirectory));
        let merge = merge.when_matched_update(MergeUpdate::set("v", "t.v + s.v").and_set("part", "s.part").only_if("s.v < 2"));
        let merge = merge.when_not_matched_insert(MergeInsert::all().only_if("s.v > 3"));
        tables.push((merge.run().await, read(&table).await));
    }
    let [(spilled, after_spilled), (held, after_held)] = tables.as_slice() else { panic!("two merges") };
    assert_eq!(spilled.as_ref().unwrap(), held.as_ref().unwrap());
    assert_eq!(after_held.len(), 5_000 + 800);
    assert_eq!(after_spilled, after_held);
}

#[tokio::test]
async fn few_keys_that_are_spread_over_a_table_read_few_of_its_bytes() {
    let rows = |file: i64| -> Vec<Row> {
        (0..60_000).map(|n| (Some(file * 60_000 + n), Some("a"), i32::try_from(n * 7919 % 60_000).ok())).collect()
    };
    let table = table_of_with(&[VECTORS], &[&rows(0), &rows(1), &rows(2)]).await;
    // A file of 60,000 rows has three pages of ids: keys lie in one page of the first file and in one of the third.
    let source = [row(11, "m", 1), row(130_500, "m", 2), row(900_000, "m", 3)];
    let bytes = |log: &[(boathouse_storage::Operation, String)]| {
        log.iter()
            .filter(|(_, path)| path.ends_with(".parquet"))
            .map(|(_, path)| path.clone())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (storage, counting) = CountingStore::wrap(table.storage());
    let counted = DeltaTable::at(storage, seeded_env(8));
    counted.snapshot().await.unwrap();
    counting.reset();
    let merge = counted.merge(frame(&source), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted, report.files_marked), (2, 1, 2));
    assert_eq!(bytes(&counting.log()).len(), 3, "two files are read and one is written");
}

#[tokio::test]
async fn new_columns_of_the_source_come_into_the_table_and_missing_ones_stay() {
    for mapping in [None, Some(("delta.columnMapping.mode", "name"))] {
        let properties: Vec<_> = [VECTORS, FEED].into_iter().chain(mapping).collect();
        let table = table_of_with(&properties, &[&[row(1, "a", 10), row(2, "b", 20)]]).await;
        let source =
            SessionContext::new().sql("SELECT * FROM (VALUES (2, 'red'), (3, 'blue')) AS s (\"ID\", colour)").await.unwrap();
        let refused = table.merge(source.clone(), "t.id = s.\"ID\"").when_matched_update_all().run().await.unwrap_err();
        assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("part"), "{refused}");
        let merge = table.merge(source, "t.id = s.\"ID\"").when_matched_update_all().when_not_matched_insert_all();
        let report = merge.with_schema_evolution().run().await.unwrap();
        assert_eq!((report.rows_updated, report.rows_inserted, report.version), (1, 1, 2));
        let snapshot = DeltaTable::at(table.storage().clone(), seeded_env(4)).snapshot().await.unwrap();
        let names: Vec<String> = snapshot.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id", "part", "v", "colour"]);
        let mut found = Vec::new();
        for batch in snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap() {
            let (ids, parts, colours) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1), batch.column(3));
            let text = |column: &ArrayRef, at: usize| column.is_valid(at).then(|| column.as_string::<i32>().value(at).to_owned());
            found.extend((0..batch.num_rows()).map(|at| (ids.value(at), text(parts, at), text(colours, at))));
        }
        found.sort();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found, [(1, some("a"), None), (2, some("b"), some("red")), (3, None, some("blue"))]);
        // The feed over the change of schema.
        let changes = table.changes(2..).read().await.unwrap().collect().await.unwrap();
        assert_eq!(changes.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }
}

#[tokio::test]
async fn evolution_takes_only_the_columns_that_clauses_set_and_nothing_when_none_is_new() {
    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 10)]]).await;
    let source = || async { SessionContext::new().sql("SELECT 1 AS id, 5 AS size, 'x' AS noise").await.unwrap() };
    let merge = table.merge(source().await, "t.id = s.id").with_schema_evolution();
    merge.when_matched_update(MergeUpdate::set("size", "s.size")).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.delta_schema().names().collect::<Vec<_>>(), ["id", "part", "v", "size"]);
    let before = snapshot.metadata().clone();
    let merge = table.merge(source().await, "t.id = s.id").with_schema_evolution();
    merge.when_matched_update(MergeUpdate::set("v", "s.size")).run().await.unwrap();
    assert_eq!(*table.snapshot().await.unwrap().metadata(), before);
    let unknown = table.merge(source().await, "t.id = s.id").when_matched_update(MergeUpdate::set("weight", "s.size"));
    assert_eq!(unknown.with_schema_evolution().run().await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn types_become_wider_where_the_table_allows_it_and_values_are_cast_where_not() {
    for (widens, expected) in [(true, DataType::Int64), (false, DataType::Int32)] {
        let widening = widens.then_some(("delta.enableTypeWidening", "true"));
        let properties: Vec<_> = [VECTORS].into_iter().chain(widening).collect();
        let table = table_of_with(&properties, &[&[row(1, "a", 10), row(2, "a", 20)]]).await;
        let source = SessionContext::new().sql("SELECT 1 AS id, CAST(11 AS BIGINT) AS v").await.unwrap();
        table.merge(source, "t.id = s.id").when_matched_update_all().with_schema_evolution().run().await.unwrap();
        let snapshot = table.snapshot().await.unwrap();
        assert_eq!(*snapshot.schema().field(2).data_type(), expected);
        let large = SessionContext::new().sql("SELECT 2 AS id, CAST(5000000000 AS BIGINT) AS v").await.unwrap();
        let merge = table.merge(large, "t.id = s.id").when_matched_update_all().with_schema_evolution().run().await;
        assert_eq!(merge.is_ok(), widens, "{merge:?}");
    }
}

#[tokio::test]
async fn names_in_another_letter_case_and_partition_values_with_spaces_find_their_rows() {
    let table = table_with(true, &[VECTORS]).await;
    table.append(batch(&[row(1, "New York", 1), row(2, "a=b/c", 2), row(3, " ", 3)]).into()).run().await.unwrap();
    let source = SessionContext::new()
        .sql("SELECT * FROM (VALUES (1, 'New York', 10), (2, 'a=b/c', 20), (3, '', 30), (4, ' ', 40)) AS s (\"Id\", \"PART\", \"V\")")
        .await
        .unwrap();
    let merge = table.merge(source, "t.part = s.\"PART\" AND t.id = s.\"Id\"").when_matched_update_all();
    let report = merge.when_not_matched_insert_all().run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted), (2, 2));
    // To the log, a partition value of no characters is null.
    let expected = [row(1, "New York", 10), row(2, "a=b/c", 20), row(3, " ", 3), (Some(3), None, Some(30)), row(4, " ", 40)];
    assert_eq!(read(&table).await, sorted(&expected));
}

/// `id`, a struct and a list; both nested columns follow from `id`.
fn nested(ids: &[i64], more: i32) -> RecordBatch {
    let inner = Int32Array::from_iter(ids.iter().map(|id| (id % 3 != 0).then(|| i32::try_from(*id).unwrap() + more)));
    let place = StructArray::from(vec![(Arc::new(Field::new("zip", DataType::Int32, true)), Arc::new(inner) as ArrayRef)]);
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>(
        ids.iter().map(|id| (id % 4 != 0).then(|| vec![Some(*id), None, Some(i64::from(more))])),
    );
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(Int64Array::from(ids.to_vec()))), ("place", Arc::new(place)), ("tags", Arc::new(tags))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

#[tokio::test]
async fn structs_and_lists_are_updated_and_inserted_as_they_are_in_the_source() {
    for vectors in [true, false] {
        let table = DeltaTable::at(Storage::memory(), seeded_env(5));
        let ids: Vec<i64> = (0..9_000).collect();
        let write = table.append(nested(&ids, 0).into()).create_if_absent().property(FEED.0, FEED.1);
        let write = if vectors { write.property(VECTORS.0, VECTORS.1) } else { write };
        write.run().await.unwrap();
        let changed: Vec<i64> = (0..12_000).step_by(5).collect();
        let source = SessionContext::new().read_batch(nested(&changed, 7)).unwrap();
        let merge = table.merge(source, "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
        let report = merge.run().await.unwrap();
        assert_eq!((report.rows_updated, report.rows_inserted), (1_800, 600));
        let mut expected: Vec<String> = Vec::new();
        let rest: Vec<i64> = ids.iter().copied().filter(|id| id % 5 != 0).collect();
        for batch in [nested(&rest, 0), nested(&changed, 7)] {
            expected.extend(texts(&[batch]));
        }
        let batches = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
        let mut found = texts(&batches);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "vectors: {vectors}");
    }
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let value = |column: &ArrayRef, at| datafusion::arrow::util::display::array_value_to_string(column, at).unwrap();
    let row =
        |batch: &RecordBatch, at: usize| batch.columns().iter().map(|column| value(column, at)).collect::<Vec<_>>().join("|");
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn a_merge_that_races_with_a_compaction_changes_its_rows_and_no_others() {
    let rows: Vec<Row> = (0..60).map(|id| row(id, "a", 1)).collect();
    for seed in 0..6 {
        let table = table_of_with(&[VECTORS], &[&rows[..30], &rows[30..]]).await;
        let other = DeltaTable::at(table.storage().clone(), seeded_env(200 + seed));
        let source = [row(5, "m", 5), row(45, "m", 6), row(99, "m", 7)];
        let merge = table.merge(frame(&source), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
        let (merged, ()) = tokio::join!(merge.run(), crate::marks::compact(&other));
        let merged = merged.unwrap();
        assert_eq!((merged.rows_updated, merged.rows_inserted), (2, 1));
        let mut model: Vec<Row> = rows.iter().filter(|row| row.0 != Some(5) && row.0 != Some(45)).copied().collect();
        model.extend(source);
        assert_eq!(read(&table).await, sorted(&model));
    }
}

#[tokio::test]
async fn keys_of_another_type_match_by_value_and_one_that_does_not_fit_matches_nothing() {
    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 1), row(2, "b", 2), row(-1, "c", 3)]]).await;
    let merge =
        |source: DataFrame, on: &str| table.merge(source, on).when_matched_update(MergeUpdate::set("part", "'hit'")).run();
    let source = |sql: &'static str| async { SessionContext::new().sql(sql).await.unwrap() };
    // `v` is an INT: the first key has no place in it.
    let wide = source("SELECT * FROM (VALUES (4294967298), (3)) AS s (k)").await;
    assert_eq!(merge(wide, "t.v = s.k").await.unwrap().rows_updated, 1);
    let narrow = source("SELECT CAST(2 AS SMALLINT) AS k").await;
    assert_eq!(merge(narrow, "t.id = s.k").await.unwrap().rows_updated, 1);
    let fraction = source("SELECT * FROM (VALUES (1.0), (1.5)) AS s (k)").await;
    assert_eq!(merge(fraction, "t.id = s.k").await.unwrap().rows_updated, 1);
    let view = source("SELECT arrow_cast('hit', 'Utf8View') AS k").await;
    assert_eq!(merge(view, "t.part = s.k").await.unwrap().rows_updated, 3);
}

#[tokio::test]
async fn an_empty_source_changes_only_what_clauses_for_rows_without_a_match_want() {
    let rows: Vec<Row> = (0..10).map(|id| row(id, "a", 1)).collect();
    let table = table_of_with(&[VECTORS], &[&rows]).await;
    let merge = || table.merge(frame(&[]), "t.id = s.id").when_matched_delete(MergeDelete::all()).when_not_matched_insert_all();
    let report = merge().run().await.unwrap();
    assert_eq!((report.version, report.source_rows), (1, 0), "nothing to do is no version");
    merge().when_not_matched_by_source_delete(MergeDelete::only_if("t.id < 4")).run().await.unwrap();
    assert_eq!(read(&table).await, sorted(&rows[4..]));
}

#[tokio::test]
async fn null_keys_match_nothing_and_are_inserted() {
    let rows = [(None, Some("old"), Some(1)), row(1, "old", 1)];
    let table = table_of_with(&[VECTORS], &[&rows]).await;
    let source = [(None, Some("new"), Some(2)), (None, Some("new"), Some(3)), row(1, "new", 4)];
    let merge = table.merge(frame(&source), "t.id = s.id").when_matched_update_all().when_not_matched_insert_all();
    let report = merge.run().await.unwrap();
    assert_eq!((report.rows_updated, report.rows_inserted), (1, 2));
    assert_eq!(read(&table).await, sorted(&[rows[0], source[0], source[1], source[2]]));
}

#[tokio::test]
async fn rows_that_match_twice_far_down_in_a_file_are_refused_with_their_key_and_may_be_deleted() {
    // Beyond the first batch of a reader, where others stopped looking.
    let rows: Vec<Row> = (0..20_000).map(|id| row(id, "a", 1)).collect();
    for properties in [&[][..], &[VECTORS][..]] {
        let table = table_of_with(properties, &[&rows]).await;
        let source: Vec<Row> = [5, 12_345, 19_999, 12_345].map(|id| row(id, "a", 2)).to_vec();
        let error = table.merge(frame(&source), "t.id = s.id").when_matched_update_all().run().await.unwrap_err();
        assert!(matches!(&error, EngineError::AmbiguousMatch { rows: 1, key, .. } if key.contains("12345")), "{error}");
        assert_eq!(read(&table).await, sorted(&rows));
        let report = table.merge(frame(&source), "t.id = s.id").when_matched_delete(MergeDelete::all()).run().await.unwrap();
        assert_eq!(report.rows_deleted, 3);
        assert_eq!(read(&table).await.len(), 19_997);
    }
}
