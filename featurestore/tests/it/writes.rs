use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::memory::MemoryTables;
use boathouse_base::{
    AppTransaction, BatchStream, BoxFuture, DomainError, ErrorKind, Result, Table, TableResolver, TableSnapshot, TableVersion,
    WriteReport, WriteRequest,
};
use boathouse_featurestore::{FeatureError, FeatureStore, FeatureWriteMode};
use proptest::prelude::*;

use crate::world::{World, instants, weather};

/// The rows of `weather` as a map, after a check that no key and time is there twice.
async fn content(world: &World) -> BTreeMap<(String, i64), f64> {
    let mut content = BTreeMap::new();
    for batch in world.rows("weather").await {
        let origin = batch.column(0).as_string::<i32>();
        let time = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let wind = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let before = content.insert((origin.value(row).to_owned(), time.value(row)), wind.value(row));
            assert_eq!(before, None, "a key and time is there twice");
        }
    }
    content
}

#[tokio::test]
async fn an_upsert_replaces_rows_of_its_keys_and_times_and_leaves_the_others() {
    let world = World::new();
    world.weather().await;
    let first = weather(&[("JFK", 1, 5.0), ("JFK", 2, 6.0), ("LGA", 2, 7.0), ("EWR", 9, 8.0)]);
    let report = world.store.write("weather", first.clone()).run().await.unwrap();
    assert_eq!((report.version, report.rows, report.replaced_rows, report.skipped), (1, 4, 0, false));

    let report = world.store.write("weather", first).run().await.unwrap();
    assert_eq!((report.version, report.rows, report.skipped), (1, 0, true), "the same rows again change nothing");

    let report = world.store.write("weather", weather(&[("JFK", 2, 60.0), ("BOS", 3, 1.0)])).run().await.unwrap();
    assert_eq!((report.version, report.rows, report.replaced_rows), (2, 2, 1));
    let key = |origin: &str, time| (origin.to_owned(), time);
    let expected =
        [(key("BOS", 3), 1.0), (key("EWR", 9), 8.0), (key("JFK", 1), 5.0), (key("JFK", 2), 60.0), (key("LGA", 2), 7.0)];
    assert_eq!(content(&world).await, BTreeMap::from(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sequence_of_upserts_agrees_with_a_map(
        writes in prop::collection::vec(prop::collection::btree_map((0_usize..3, 0_i64..5), 0_i8..3, 0..6), 1..8),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let world = World::new();
            world.weather().await;
            let mut model = BTreeMap::new();
            for write in &writes {
                let rows: Vec<(&str, i64, f64)> =
                    write.iter().map(|((origin, time), wind)| (["JFK", "LGA", "EWR"][*origin], *time, f64::from(*wind))).collect();
                let is_new = rows.iter().any(|(origin, time, wind)| model.get(&((*origin).to_owned(), *time)) != Some(wind));
                let before = world.version("weather").await;
                let report = world.store.write("weather", weather(&rows)).run().await.unwrap();
                assert_eq!(report.skipped, !is_new);
                assert_eq!(report.version, before + u64::from(is_new));
                model.extend(rows.iter().map(|(origin, time, wind)| (((*origin).to_owned(), *time), *wind)));
                assert_eq!(content(&world).await, model);
            }
        });
    }
}

#[tokio::test]
async fn without_a_timestamp_key_there_is_one_row_for_each_key() {
    let world = World::new();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("x", DataType::Float64, true)]));
    world.store.create_table("t").primary_keys(["id"]).schema(schema).run().await.unwrap();
    let rows = |ids: Vec<i64>, x: Vec<f64>| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
            ("x", Arc::new(Float64Array::from(x)) as ArrayRef),
        ])
        .unwrap()
    };
    world.store.write("t", rows(vec![1, 2, 9], vec![1.0, 2.0, 9.0])).run().await.unwrap();
    let report = world.store.write("t", rows(vec![2, 3], vec![20.0, 30.0])).run().await.unwrap();
    assert_eq!(report.replaced_rows, 1);
    let mut found: Vec<(i64, f64)> = Vec::new();
    for batch in world.rows("t").await {
        let ids = batch.column(0).as_primitive::<arrow_array::types::Int64Type>();
        found.extend(ids.values().iter().copied().zip(batch.column(1).as_primitive::<Float64Type>().values().iter().copied()));
    }
    found.sort_by_key(|row| row.0);
    assert_eq!(found, [(1, 1.0), (2, 20.0), (3, 30.0), (9, 9.0)]);
}

#[tokio::test]
async fn nanoseconds_that_no_literal_holds_are_upserted_all_the_same() {
    let world = World::new();
    let rows = |wind: f64| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![1_001, 1_002])) as ArrayRef),
            ("wind", Arc::new(Float64Array::from(vec![wind, 1.0])) as ArrayRef),
        ])
        .unwrap()
    };
    let create = world.store.create_table("t").primary_keys(["id"]).timestamp_key("at").schema(rows(0.0).schema());
    create.run().await.unwrap();
    world.store.write("t", rows(5.0)).run().await.unwrap();
    let report = world.store.write("t", rows(6.0)).run().await.unwrap();
    assert_eq!((report.replaced_rows, report.skipped), (2, false));
    assert_eq!(world.rows("t").await.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn rows_that_cannot_be_are_refused_and_nothing_is_written() {
    let world = World::new();
    world.weather().await;
    let good = weather(&[("JFK", 1, 5.0)]);
    let nobody: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let with = |at: usize, field: Field, column: ArrayRef| {
        let mut fields: Vec<Arc<Field>> = good.schema().fields().iter().cloned().collect();
        let mut columns = good.columns().to_vec();
        (fields[at], columns[at]) = (Arc::new(field), column);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let cases: Vec<(RecordBatch, &[&str])> = vec![
        (good.project(&[0, 2]).unwrap(), &["`time`", "wind"]),
        (with(0, Field::new("origin", DataType::Utf8, true), nobody), &["`origin`", "null", "row 0"]),
        (with(1, Field::new("time", good.column(1).data_type().clone(), true), instants([None])), &["`time`", "null"]),
        (weather(&[("JFK", 1, 5.0), ("LGA", 1, 5.0), ("JFK", 1, 6.0)]), &["rows 0 and 2", "origin=JFK", "1970-01-01"]),
        (
            with(2, Field::new("wind", DataType::Utf8, true), Arc::new(StringArray::from(vec!["5"]))),
            &["`wind`", "Float64", "Utf8"],
        ),
        (
            with(2, Field::new("gust", DataType::Float64, true), Arc::new(Float64Array::from(vec![5.0]))),
            &["`gust`", "merge_schema"],
        ),
    ];
    for (rows, words) in cases {
        for mode in [FeatureWriteMode::Upsert, FeatureWriteMode::Append, FeatureWriteMode::Overwrite] {
            let error = world.store.write("weather", rows.clone()).mode(mode).run().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        }
    }
    assert_eq!(world.version("weather").await, 0);
}

#[tokio::test]
async fn narrower_values_are_widened_and_features_left_out_are_null() {
    let world = World::new();
    world.weather().await;
    let rows = RecordBatch::try_from_iter([
        ("wind", Arc::new(Float32Array::from(vec![2.5])) as ArrayRef),
        ("time", instants([Some(4)])),
        ("origin", Arc::new(arrow_array::StringViewArray::from(vec!["JFK"])) as ArrayRef),
    ])
    .unwrap();
    world.store.write("weather", rows).run().await.unwrap();
    let batch = world.rows("weather").await.remove(0);
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(0), 2.5);
    assert_eq!(batch.column(3).null_count(), 1);
}

#[tokio::test]
async fn new_columns_are_merged_when_that_is_asked_for_and_old_rows_keep_theirs() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 1, 5.0), ("JFK", 2, 6.0)])).run().await.unwrap();
    let rows = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(vec!["JFK"])) as ArrayRef),
        ("time", instants([Some(1)])),
        ("gust", Arc::new(Float64Array::from(vec![50.0])) as ArrayRef),
    ])
    .unwrap();
    let report = world.store.write("weather", rows).merge_schema().run().await.unwrap();
    assert_eq!(report.replaced_rows, 1);
    world.store.write("weather", weather(&[("LGA", 2, 1.0), ("JFK", 2, 6.5)])).run().await.unwrap();
    let mut found: Vec<(String, i64, Option<f64>, Option<f64>)> = Vec::new();
    for batch in world.rows("weather").await {
        for row in 0..batch.num_rows() {
            let float = |at: usize| batch.column(at).as_primitive::<Float64Type>().iter().nth(row).unwrap();
            let time = batch.column(1).as_primitive::<TimestampMicrosecondType>().value(row);
            found.push((batch.column(0).as_string::<i32>().value(row).to_owned(), time, float(2), float(4)));
        }
    }
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let row = |origin: &str, time, wind, gust| (origin.to_owned(), time, wind, gust);
    assert_eq!(found, [row("JFK", 1, None, Some(50.0)), row("JFK", 2, Some(6.5), None), row("LGA", 2, Some(1.0), None)]);
}

#[tokio::test]
async fn an_append_can_be_made_idempotent_and_an_upsert_needs_no_transaction() {
    let world = World::new();
    world.weather().await;
    let transaction = AppTransaction { app_id: "nightly".into(), version: 3, payload: None };
    let append = || {
        let write = world.store.write("weather", weather(&[("JFK", 1, 5.0)])).mode(FeatureWriteMode::Append);
        write.in_transaction(transaction.clone()).run()
    };
    assert!(!append().await.unwrap().skipped);
    let again = append().await.unwrap();
    assert_eq!((again.skipped, again.rows, again.version), (true, 0, 1));
    let upsert = world.store.write("weather", weather(&[("JFK", 1, 5.0)])).in_transaction(transaction.clone()).run().await;
    assert!(matches!(upsert.unwrap_err(), FeatureError::UpsertTransaction { .. }));
    world.store.write("weather", weather(&[("LGA", 8, 1.0)])).mode(FeatureWriteMode::Overwrite).run().await.unwrap();
    assert_eq!(content(&world).await.len(), 1);
}

#[tokio::test]
async fn a_failing_stream_of_rows_writes_nothing_and_shows_its_own_error() {
    let world = World::new();
    world.weather().await;
    let rows = weather(&[("JFK", 1, 5.0)]);
    let items = vec![Ok(rows.clone()), Err(boathouse_base::Error::new(ErrorKind::Unavailable, "the producer is away"))];
    let stream = BatchStream::new(rows.schema(), futures::stream::iter(items));
    let error = world.store.write("weather", stream).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(world.version("weather").await, 0);
}

/// Tables that let others run before each step, so that writers get in each other's way.
#[derive(Debug, Clone)]
struct Slow(MemoryTables);

#[derive(Debug)]
struct SlowTable(Arc<dyn Table>);

impl TableResolver for Slow {
    fn table(&self, name: &str) -> Result<Arc<dyn Table>> {
        Ok(Arc::new(SlowTable(self.0.table(name)?)))
    }
}

impl Table for SlowTable {
    fn location(&self) -> &str {
        self.0.location()
    }

    fn snapshot(&self, version: TableVersion) -> BoxFuture<'_, Result<Arc<dyn TableSnapshot>>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.snapshot(version).await
        })
    }

    fn write(&self, request: WriteRequest, data: BatchStream) -> BoxFuture<'_, Result<WriteReport>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.write(request, data).await
        })
    }
}

#[tokio::test]
async fn writers_at_once_lose_no_row_and_one_of_them_had_to_look_again() {
    let world = World::new();
    world.weather().await;
    let slow = FeatureStore::new(Arc::new(Slow(world.tables.clone())), &world.storage, world.env.clone());
    let base: Vec<(&str, i64, f64)> = (0..10).map(|time| ("JFK", time, 0.0)).collect();
    slow.write("weather", weather(&base)).run().await.unwrap();
    // Each upserts a row of its own and one that all share; one appends.
    let upsert = |time: i64, wind: f64| slow.write("weather", weather(&[("JFK", time, wind), ("JFK", 9, 1.0)])).run();
    let append = slow.write("weather", weather(&[("LGA", 5, 5.0)])).mode(FeatureWriteMode::Append).run();
    let reports = tokio::join!(upsert(1, 11.0), upsert(2, 12.0), upsert(3, 13.0), append);
    let attempts: u32 = [&reports.0, &reports.1, &reports.2, &reports.3].iter().map(|r| r.as_ref().unwrap().attempts).sum();
    assert!(attempts > 4, "they never met");
    let content = content(&world).await;
    assert_eq!(content.len(), 11, "no row is lost or doubled");
    for (time, wind) in [(0, 0.0), (1, 11.0), (2, 12.0), (3, 13.0), (9, 1.0)] {
        assert_eq!(content[&("JFK".to_owned(), time)], wind);
    }
    assert_eq!(content[&("LGA".to_owned(), 5)], 5.0);
}
