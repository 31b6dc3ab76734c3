//! Rows in the order of a curve, and clustered tables.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Fields};
use boathouse_base::{DomainError, ErrorKind, ScanRequest, Value};
use boathouse_delta_core::protocol::stats::ColumnPath;
use boathouse_delta_core::table::DataWriterSettings;
use boathouse_delta_core::{DataFile, DeltaTable, DeltaTableExt, EngineError, OptimizeSettings};
use boathouse_storage::{Storage, seeded_env};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::rows::{read, row, sorted, table_of};

/// Numbers that look like chance: a bijection of the 64-bit words.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Two columns of chance, and one by which rows are told apart.
fn chance(rows: std::ops::Range<u64>) -> RecordBatch {
    let column = |salt: u64| -> ArrayRef {
        let values = rows.clone().map(|n| i64::try_from(mixed(n ^ salt << 40) % 10_000).unwrap());
        Arc::new(values.map(Some).collect::<Int64Array>())
    };
    let ids = rows.clone().map(|n| i64::try_from(n).unwrap()).map(Some).collect::<Int64Array>();
    RecordBatch::try_from_iter([("a", column(1)), ("b", column(2)), ("id", Arc::new(ids) as ArrayRef)]).unwrap()
}

async fn chance_table() -> DeltaTable {
    let table = DeltaTable::at(Storage::memory(), seeded_env(5));
    for part in 0..4 {
        table.append(chance(part * 20_000..(part + 1) * 20_000).into()).create_if_absent().run().await.unwrap();
    }
    table
}

/// Files of one batch.
fn small_files() -> OptimizeSettings {
    let writer = DataWriterSettings { row_group_rows: 500, ..DataWriterSettings::default() };
    OptimizeSettings { target_file_size_bytes: Some(24 << 10), writer, ..OptimizeSettings::default() }
}

/// Of so many files a value of the column can be in, on average, and how many there are.
fn overlap(files: &[DataFile], column: &str) -> (f64, usize) {
    let ranges: Vec<(i64, i64)> = files
        .iter()
        .map(|file| {
            let stats = file.stats().unwrap();
            let known = &stats.columns[&ColumnPath::from(column)];
            match (&known.min, &known.max) {
                (Some(Value::Int(min)), Some(Value::Int(max))) => (*min, *max),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let hits: usize = (0..10_000).map(|value| ranges.iter().filter(|(min, max)| (*min..=*max).contains(&value)).count()).sum();
    (hits as f64 / 10_000.0, files.len())
}

async fn files(table: &DeltaTable) -> Vec<DataFile> {
    table.snapshot().await.unwrap().files(None).await.unwrap()
}

/// All rows as text, sorted.
async fn texts(table: &DeltaTable) -> Vec<String> {
    let batches = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn after_a_z_order_few_files_hold_a_value_of_either_column() {
    let table = chance_table().await;
    let before = texts(&table).await;
    let report = table.optimize().z_order(["a", "B"]).with_settings(small_files()).run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.rows_copied, report.preserve_insertion_order), (4, 80_000, false));
    assert_eq!(texts(&table).await, before);
    let files = files(&table).await;
    for column in ["a", "b"] {
        let (overlap, count) = overlap(&files, column);
        assert!(count >= 8 && overlap < count as f64 * 0.65, "{column}: {overlap} of {count}");
    }
    let info = crate::optimize::info(&table, report.version).await;
    assert_eq!(info["operationParameters"]["zOrderBy"], r#"["a","b"]"#);
    // The same rows again: about the same files. They end at batches, and batches at parts, whose number is an estimate.
    let again = table.optimize().z_order(["a", "b"]).with_settings(small_files()).run().await.unwrap();
    assert!(again.num_files_added().abs_diff(report.num_files_added()) <= 2, "{again:?}");
}

#[tokio::test]
async fn a_z_order_by_one_column_is_its_order() {
    let table = chance_table().await;
    table.optimize().z_order(["a"]).with_settings(small_files()).run().await.unwrap();
    let (overlap, count) = overlap(&files(&table).await, "a");
    assert!(count >= 8 && overlap < 1.1, "{overlap} of {count}");
}

#[tokio::test]
async fn rows_beyond_the_budget_go_to_disk_and_come_back() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(5));
    table.append(chance(0..200_000).into()).create_if_absent().run().await.unwrap();
    let before = texts(&table).await;
    let settings = OptimizeSettings { memory_bytes: 5 << 20, ..OptimizeSettings::default() };
    let report = table.optimize().z_order(["b", "a"]).with_settings(settings).run().await.unwrap();
    assert_eq!(report.rows_copied, 200_000);
    assert_eq!(texts(&table).await, before);
}

#[tokio::test]
async fn a_key_that_most_rows_have_is_in_order_though_its_rows_do_not_fit_into_memory() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(5));
    for part in 0..2_u64 {
        let rows = part * 100_000..(part + 1) * 100_000;
        let a = rows.clone().map(|n| if mixed(n).is_multiple_of(10) { Some((mixed(n + 9) % 1000) as i64) } else { Some(500) });
        let b = rows.map(|n| Some(format!("a text that takes room, of row {n}")));
        let columns =
            [("a", Arc::new(a.collect::<Int64Array>()) as ArrayRef, true), ("b", Arc::new(b.collect::<StringArray>()), true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        table.append(batch.into()).create_if_absent().run().await.unwrap();
    }
    let before = texts(&table).await;
    let settings = OptimizeSettings { memory_bytes: 6 << 20, ..OptimizeSettings::default() };
    let report = table.optimize().z_order(["a"]).with_settings(settings).run().await.unwrap();
    assert_eq!((report.rows_copied, report.num_files_added()), (200_000, 1));
    assert_eq!(texts(&table).await, before);
    let request = ScanRequest { projection: Some(vec!["a".to_owned()]), ..ScanRequest::default() };
    let batches = table.snapshot().await.unwrap().scan(request).unwrap().collect().await.unwrap();
    let values: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert!(values.is_sorted());
}

#[tokio::test]
async fn columns_of_every_type_that_has_an_order_are_taken_with_their_nulls() {
    fn some<T>(n: u64, value: T) -> Option<T> {
        (!mixed(n).is_multiple_of(5)).then_some(value)
    }
    let numbers = || (0..3000_u64).map(|n| (n, i64::try_from(mixed(n + 77) % 1000).unwrap() - 500));
    let floats = |(n, v): (u64, i64)| some(n, if v % 50 == 0 { f64::NAN } else { v as f64 / 3.0 });
    let text = |(n, v): (u64, i64)| some(n + 1, format!("text ü {v}"));
    let decimals = numbers().map(|(n, v)| some(n + 2, i128::from(v) * 1_000_000_007)).collect::<Decimal128Array>();
    let days = numbers().map(|(n, v)| some(n + 3, i32::try_from(v).unwrap())).collect::<Date32Array>();
    let times = numbers().map(|(n, v)| some(n + 4, v * 1_000_003)).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let inner: ArrayRef = Arc::new(numbers().map(|(n, v)| some(n + 6, v)).collect::<Int64Array>());
    let part = StructArray::new(Fields::from(vec![Field::new("x", DataType::Int64, true)]), vec![inner], None);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("f", Arc::new(numbers().map(floats).collect::<Float64Array>())),
        ("t", Arc::new(numbers().map(text).collect::<StringArray>())),
        ("d", Arc::new(decimals.with_precision_and_scale(20, 4).unwrap())),
        ("day", Arc::new(days)),
        ("at", Arc::new(times)),
        ("yes", Arc::new(numbers().map(|(n, v)| some(n + 5, v > 0)).collect::<BooleanArray>())),
        ("bin", Arc::new(numbers().map(|(n, v)| some(n + 7, v.to_be_bytes())).collect::<BinaryArray>())),
        ("s", Arc::new(part)),
    ];
    let table = DeltaTable::at(Storage::memory(), seeded_env(5));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    table.append(batch.into()).create_if_absent().run().await.unwrap();
    let before = texts(&table).await;
    let all = ["f", "t", "d", "day", "at", "yes", "bin", "S.x"];
    for columns in all.iter().map(|one| vec![*one]).chain([all.to_vec(), vec!["s.x", "t"]]) {
        let report = table.optimize().z_order(columns.clone()).run().await.unwrap();
        assert_eq!(report.rows_copied, 3000);
        assert_eq!(texts(&table).await, before, "{columns:?}");
    }
}

#[tokio::test]
async fn columns_that_cannot_order_anything_are_refused_by_name() {
    let table = table_of(true, &[&[row(1, "a", 1)]]).await;
    let error = table.optimize().z_order(["part"]).run().await.unwrap_err();
    assert!(matches!(&error, EngineError::OrderByPartition { column, .. } if column == "part"), "{error}");
    let error = table.optimize().z_order(["nope"]).run().await.unwrap_err();
    assert!(matches!(&error, EngineError::UnknownColumn { column, .. } if column == "nope"), "{error}");
    table.alter().set_property("delta.dataSkippingStatsColumns", "id").run().await.unwrap();
    let error = table.optimize().z_order(["id", "v"]).run().await.unwrap_err();
    assert!(matches!(&error, EngineError::NoStatistics { column, .. } if column == "v"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = table.optimize().full().run().await.unwrap_err();
    assert!(matches!(error, EngineError::NotClustered { .. }), "{error}");
    table.optimize().z_order(["id"]).filter("part = 'none'").run().await.unwrap();
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1)]));
}

/// A table that is clustered by two columns, with two files.
async fn clustered_table() -> DeltaTable {
    let table = DeltaTable::at(Storage::memory(), seeded_env(5));
    let create = table.create(chance(0..1).schema().as_ref().clone()).cluster_by(["a", "B"]);
    create.property("delta.columnMapping.mode", "name").property("delta.dataSkippingNumIndexedCols", "1").run().await.unwrap();
    for part in 0..2 {
        table.append(chance(part * 40_000..(part + 1) * 40_000).into()).run().await.unwrap();
    }
    table
}

fn cube(file: &DataFile) -> Option<String> {
    let tags = file.add().tags.as_ref()?;
    assert_eq!(tags.get("ZCUBE_ZORDER_BY"), Some(Some(r#"["a","b"]"#)));
    assert_eq!(file.add().clustering_provider.as_deref(), Some("liquid"));
    tags.get("ZCUBE_ID").flatten().map(str::to_owned)
}

#[tokio::test]
async fn a_clustered_table_names_its_columns_as_files_do_and_has_their_statistics() {
    let table = clustered_table().await;
    let snapshot = table.snapshot().await.unwrap();
    let writers = snapshot.protocol().writer_features.clone().unwrap();
    assert!(["clustering", "domainMetadata"].iter().all(|feature| writers.iter().any(|name| name == feature)), "{writers:?}");
    let domain = &snapshot.state().domain_metadata["delta.clustering"];
    let physical = |name: &str| snapshot.delta_schema().field(name).unwrap().physical_name(snapshot.column_mapping()).to_owned();
    let parsed: serde_json::Value = serde_json::from_str(&domain.configuration).unwrap();
    assert_eq!(parsed["clusteringColumns"], serde_json::json!([[physical("a")], [physical("b")]]));
    let stats = snapshot.files(None).await.unwrap()[0].stats().unwrap();
    assert!(stats.columns.contains_key(&ColumnPath::from("b")) && !stats.columns.contains_key(&ColumnPath::from("id")));
}

#[tokio::test]
async fn clustering_is_incremental_and_leaves_large_cubes_alone() {
    let table = clustered_table().await;
    let before = texts(&table).await;
    let report = table.optimize().with_settings(small_files()).run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.rows_copied), (2, 80_000));
    assert_eq!(texts(&table).await, before);
    let first = files(&table).await;
    for column in ["a", "b"] {
        let (overlap, count) = overlap(&first, column);
        assert!(count >= 8 && overlap < count as f64 * 0.65, "{column}: {overlap} of {count}");
    }
    let cubes: Vec<_> = first.iter().map(cube).collect();
    assert!(cubes[0].is_some() && cubes.iter().all(|cube| *cube == cubes[0]));
    let info = crate::optimize::info(&table, report.version).await;
    assert_eq!(
        (&info["operationParameters"]["clusterBy"], &info["operationParameters"]["isFull"]),
        (&r#"["a","b"]"#.into(), &"false".into())
    );
    // One cube is as good as it gets, large or small.
    assert!(!table.optimize().with_settings(small_files()).run().await.unwrap().committed());
    table.append(chance(80_000..81_000).into()).run().await.unwrap();
    let large = || OptimizeSettings { min_cube_size_bytes: 1, ..small_files() };
    let report = table.optimize().with_settings(large()).run().await.unwrap();
    assert_eq!((report.num_files_removed(), report.rows_copied), (1, 1000), "the cube that is there counts as large");
    assert!(!table.optimize().with_settings(large()).run().await.unwrap().committed());
    let report = table.optimize().with_settings(small_files()).run().await.unwrap();
    assert_eq!(report.rows_copied, 81_000, "two small cubes become one");
}

#[tokio::test]
async fn other_clustering_columns_count_for_new_files_and_with_full_for_all() {
    let table = clustered_table().await;
    table.optimize().run().await.unwrap();
    let error = table.cluster_by(["id"]).run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("no statistics of column `id`"), "{error}");
    let report = table.cluster_by(["b"]).run().await.unwrap();
    assert_eq!(report.before, ["a", "b"]);
    assert!(!table.optimize().run().await.unwrap().committed());
    let report = table.optimize().full().run().await.unwrap();
    assert_eq!(report.rows_copied, 80_000);
    table.cluster_by(Vec::<String>::new()).run().await.unwrap();
    let error = table.optimize().full().run().await.unwrap_err();
    assert!(matches!(error, EngineError::NotClustered { .. }), "{error}");
    let error = table.optimize().z_order(["a"]).run().await.unwrap_err();
    assert!(matches!(error, EngineError::Clustered { .. }), "{error}");
}

#[tokio::test]
async fn a_table_that_exists_becomes_clustered_and_a_partitioned_one_does_not() {
    let table = table_of(false, &[&[row(1, "a", 1)], &[row(2, "b", 2)]]).await;
    let report = table.cluster_by(["ID"]).run().await.unwrap();
    assert_eq!(report.before, Vec::<String>::new());
    assert_eq!(crate::optimize::info(&table, report.version).await["operation"], "CLUSTER BY");
    assert_eq!(table.optimize().run().await.unwrap().num_files_removed(), 2);
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 1), row(2, "b", 2)]));
    for (columns, what) in [(["nope"], "column `nope`"), (["part.x"], "column `part.x`")] {
        let error = table.cluster_by(columns).run().await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    let partitioned = table_of(true, &[&[row(1, "a", 1)]]).await;
    let error = partitioned.cluster_by(["id"]).run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("is partitioned by part"), "{error}");
}
