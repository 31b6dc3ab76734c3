//! Appending, overwriting and replacing rows.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use boathouse_base::{AppTransaction, Comparison, DomainError, ErrorKind, Predicate, ScanRequest, Value};
use boathouse_delta_table::protocol::stats::ColumnPath;
use boathouse_delta_table::{DataWriterSettings, DeltaError, RowOrder};

use crate::rows::{batch, ids, latest_ids, people, read, reopened, stream, table};

#[tokio::test]
async fn every_type_of_delta_comes_back_as_it_was_written() {
    let mut list = ListBuilder::new(Int32Builder::new()).with_field(Field::new("element", DataType::Int32, true));
    list.append_value([Some(1), None]);
    list.append_null();
    let names = arrow_array::builder::MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(5), None])) as ArrayRef,
    )]);
    let rows = batch(&[
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("byte", Arc::new(Int8Array::from(vec![Some(-1), None]))),
        ("short", Arc::new(Int16Array::from(vec![Some(300), None]))),
        ("int", Arc::new(Int32Array::from(vec![Some(70_000), None]))),
        ("long", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX)]))),
        ("float", Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::NAN)]))),
        ("double", Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None]))),
        ("small", Arc::new(Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(7, 2).unwrap())),
        ("big", Arc::new(Decimal128Array::from(vec![Some(i128::MAX / 10), None]).with_precision_and_scale(38, 10).unwrap())),
        ("text", Arc::new(StringArray::from(vec![Some("Zürich 🎈"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(b"\0\xff".as_slice()), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]).with_timezone("UTC"))),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]))),
        ("list", Arc::new(list.finish())),
        ("map", Arc::new(map.finish())),
        ("inner", Arc::new(inner)),
    ]);
    let table = table();
    table.append(stream(rows.clone())).create_if_absent().run().await.unwrap();
    let back = read(&reopened(&table).snapshot().await.unwrap()).await;
    assert_eq!(back.len(), 1);
    for (at, field) in rows.schema().fields().iter().enumerate() {
        assert_eq!(back[0].column(at).to_data(), rows.column(at).to_data(), "column {}", field.name());
    }
}

#[tokio::test]
async fn arrow_types_that_delta_does_not_have_become_the_next_wider_one() {
    let rows = batch(&[
        ("u32", Arc::new(UInt32Array::from(vec![u32::MAX]))),
        ("view", Arc::new(StringViewArray::from(vec!["a string that is longer than twelve bytes"]))),
        ("large", Arc::new(LargeStringArray::from(vec!["x"]))),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::from_iter(["y"]))),
        ("millis", Arc::new(TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00"))),
    ]);
    let table = table();
    table.append(stream(rows)).create_if_absent().run().await.unwrap();
    let back = read(&table.snapshot().await.unwrap()).await;
    let types: Vec<DataType> = back[0].schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(types, [DataType::Int64, DataType::Utf8, DataType::Utf8, DataType::Utf8, utc]);
    assert_eq!(back[0].column(0).as_primitive::<arrow_array::types::Int64Type>().value(0), i64::from(u32::MAX));
    assert_eq!(back[0].column(1).as_string::<i32>().value(0), "a string that is longer than twelve bytes");
    assert_eq!(back[0].column(3).as_string::<i32>().value(0), "y");
    assert_eq!(back[0].column(4).as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(0), 5000);
}

#[tokio::test]
async fn statistics_of_a_file_are_those_of_its_rows() {
    let rows = batch(&[
        ("n", Arc::new(Int64Array::from(vec![Some(3), None, Some(-7)]))),
        ("s", Arc::new(StringArray::from(vec![Some("b"), Some("a"), Some("c")]))),
        ("nan", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0]))),
        ("f", Arc::new(Float64Array::from(vec![1.5, 0.5, 2.5]))),
        ("d", Arc::new(Decimal128Array::from(vec![-150, 0, 99]).with_precision_and_scale(25, 2).unwrap())),
        ("none", Arc::new(Int32Array::from(vec![None, None, None]))),
    ]);
    let table = table();
    // Several row groups: their statistics come together.
    let settings = DataWriterSettings { row_group_rows: 2, ..DataWriterSettings::default() };
    table.append(stream(rows)).create_if_absent().with_writer_settings(settings).run().await.unwrap();
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    let stats = files[0].stats().unwrap();
    assert_eq!(stats.num_records, Some(3));
    let column = |name: &str| stats.columns.get(&ColumnPath::from(name)).cloned().unwrap_or_default();
    assert_eq!((column("n").min, column("n").max, column("n").null_count), (Some(Value::Int(-7)), Some(Value::Int(3)), Some(1)));
    assert_eq!((column("s").min, column("s").max), (Some("a".into()), Some("c".into())));
    assert_eq!(
        (column("nan").min, column("nan").max, column("nan").null_count),
        (None, None, Some(0)),
        "a NaN has no place between bounds"
    );
    assert_eq!((column("f").min, column("f").max), (Some(Value::Float(0.5)), Some(Value::Float(2.5))));
    let d = |unscaled| Some(Value::Decimal { unscaled, scale: 2 });
    assert_eq!((column("d").min, column("d").max), (d(-150), d(99)));
    assert_eq!((column("none").min, column("none").max, column("none").null_count), (None, None, Some(3)));
}

#[tokio::test]
async fn many_batches_and_small_row_groups_lose_no_row() {
    let table = table();
    let batches: Vec<RecordBatch> = (0..40_i64)
        .map(|i| {
            let ids: Vec<i64> = (i * 2000..(i + 1) * 2000).collect();
            let text: Vec<String> = ids.iter().map(|id| format!("row {id}")).collect();
            batch(&[("id", Arc::new(Int64Array::from(ids))), ("text", Arc::new(StringArray::from(text)))])
        })
        .collect();
    let data = boathouse_base::BatchStream::from_batches(batches[0].schema(), batches);
    let settings = DataWriterSettings {
        row_group_rows: 7_001,
        target_file_size_bytes: Some(20_000),
        workers: std::num::NonZeroUsize::new(3),
        ..DataWriterSettings::default()
    };
    let report = table.append(data).create_if_absent().with_writer_settings(settings).run().await.unwrap();
    assert_eq!(report.rows, 80_000);
    assert!(report.files_added > 1, "files end at their target size: {report:?}");
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.row_count().await.unwrap(), Some(80_000));
    assert_eq!(ids(&snapshot).await, (0..80_000).collect::<Vec<i64>>());
    let last = Predicate::compare("id", Comparison::GtEq, 79_999);
    let found = snapshot.scan(ScanRequest::default().filter(last)).unwrap().collect().await.unwrap();
    let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
    assert!(rows <= 7_001, "other row groups are skipped, {rows} rows were read");
}

#[tokio::test]
async fn partitions_get_folders_and_values_with_odd_characters_come_back() {
    let table = table();
    let odd = ["a b", "x/y", "50%", "ü=ö", "", "C:\\d"];
    let rows = batch(&[
        ("id", Arc::new(Int64Array::from((0..6).collect::<Vec<i64>>()))),
        ("p", Arc::new(StringArray::from(odd.to_vec()))),
        ("q", Arc::new(Date32Array::from(vec![Some(0), Some(1), None, Some(2), Some(3), Some(19_000)]))),
    ]);
    table.append(stream(rows.clone())).create_if_absent().partition_by(["p", "q"]).run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let mut found: Vec<(i64, Option<String>, Option<i32>)> = Vec::new();
    for b in read(&snapshot).await {
        assert_eq!(b.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "p", "q"]);
        let (p, q) = (b.column(1).as_string::<i32>(), b.column(2).as_primitive::<arrow_array::types::Date32Type>());
        for row in 0..b.num_rows() {
            let id = b.column(0).as_primitive::<arrow_array::types::Int64Type>().value(row);
            let p = p.is_valid(row).then(|| p.value(row).to_owned());
            found.push((id, p, q.is_valid(row).then(|| q.value(row))));
        }
    }
    found.sort();
    // The empty text is null in this format.
    let text = |t: &str| Some(t.to_owned());
    let expected = [
        (0, text("a b"), Some(0)),
        (1, text("x/y"), Some(1)),
        (2, text("50%"), None),
        (3, text("ü=ö"), Some(2)),
        (4, None, Some(3)),
        (5, text("C:\\d"), Some(19_000)),
    ];
    assert_eq!(found, expected);
    let paths: Vec<String> = snapshot.files(None).await.unwrap().iter().map(|f| f.path().into_owned()).collect();
    assert!(paths.iter().any(|p| p.starts_with("p=x%2Fy/q=1970-01-02/part-")), "{paths:?}");
    assert!(paths.iter().any(|p| p.contains("p=50%25/q=__HIVE_DEFAULT_PARTITION__/")), "{paths:?}");
    assert_eq!(snapshot.files(Some(&Predicate::eq("p", "50%"))).await.unwrap().len(), 1);
    assert_eq!(snapshot.files(Some(&Predicate::IsNull("p".into()))).await.unwrap().len(), 1);
}

#[tokio::test]
async fn more_partitions_than_may_be_open_lose_no_row() {
    let table = table();
    let settings = DataWriterSettings { open_partitions: 3, ..DataWriterSettings::default() };
    let rows: Vec<i64> = (0..500).collect();
    let parts: Vec<String> = rows.iter().map(|r| (r % 10).to_string()).collect();
    let data = batch(&[("id", Arc::new(Int64Array::from(rows.clone()))), ("part", Arc::new(StringArray::from(parts)))]);
    let slices: Vec<RecordBatch> = (0..10).map(|i| data.slice(i * 50, 50)).collect();
    let data = boathouse_base::BatchStream::from_batches(data.schema(), slices);
    table.append(data).create_if_absent().partition_by(["part"]).with_writer_settings(settings).run().await.unwrap();
    assert_eq!(latest_ids(&table).await, rows);
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_refused_with_the_column_and_both_types() {
    let table = table();
    table.append(people(&[1], "a")).create_if_absent().run().await.unwrap();
    let wrong = batch(&[("id", Arc::new(StringArray::from(vec!["one"])))]);
    let error = table.append(stream(wrong)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("`id`") && text.contains("string") && text.contains("long"), "{text}");
    let more = batch(&[("id", Arc::new(Int64Array::from(vec![2]))), ("extra", Arc::new(Int32Array::from(vec![3])))]);
    let error = table.append(stream(more.clone())).run().await.unwrap_err();
    assert!(error.to_string().contains("`extra`"), "{error}");
    assert_eq!(table.snapshot().await.unwrap().version(), 0, "nothing was committed");

    let report = table.append(stream(more)).merge_schema().run().await.unwrap();
    assert_eq!(report.version, 1);
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.delta_schema().names().collect::<Vec<_>>(), ["id", "part", "extra"]);
    let rows = read(&snapshot).await;
    let nulls: usize = rows.iter().map(|b| b.column(2).null_count()).sum();
    assert_eq!((ids(&snapshot).await, nulls), (vec![1, 2], 1), "old rows have no value in the new column");
}

#[tokio::test]
async fn a_null_in_a_required_column_is_refused_and_leaves_no_file() {
    let table = table();
    table.create(Schema::new(vec![Field::new("id", DataType::Int64, false)])).run().await.unwrap();
    let rows = batch(&[("id", Arc::new(Int64Array::from(vec![Some(1), None])))]);
    let error = table.append(stream(rows)).run().await.unwrap_err();
    assert!(matches!(&error, DeltaError::NullInRequiredColumn { column, row: 1, .. } if column == "id"), "{error}");
    let left = table.storage().list("").await.unwrap();
    assert!(left.iter().all(|e| e.path.starts_with("_delta_log/")), "{left:?}");
    // A column that is missing is null in every row.
    let other = batch(&[("n", Arc::new(Int64Array::from(vec![1])))]);
    let error = table.append(stream(other)).merge_schema().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn overwriting_replaces_all_rows_and_the_schema_only_when_asked() {
    let table = table();
    table.append(people(&[1, 2], "a")).create_if_absent().run().await.unwrap();
    let report = table.overwrite(people(&[3], "b")).run().await.unwrap();
    assert_eq!((report.version, report.files_added, report.files_removed), (1, 1, 1));
    assert_eq!(latest_ids(&table).await, [3]);
    let other = batch(&[("name", Arc::new(StringArray::from(vec!["x"])))]);
    assert_eq!(table.overwrite(stream(other.clone())).run().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(table.append(stream(other.clone())).overwrite_schema().run().await.unwrap_err().kind(), ErrorKind::Invalid);
    table.overwrite(stream(other)).overwrite_schema().run().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().delta_schema().names().collect::<Vec<_>>(), ["name"]);
    let first = table.snapshot_at(boathouse_base::TableVersion::Number(0)).await.unwrap();
    assert_eq!(ids(&first).await, [1, 2], "an old version keeps its schema and its rows");
}

#[tokio::test]
async fn replacing_where_rewrites_only_files_that_hold_both_kinds_of_rows() {
    let table = table();
    for ids in [&[1, 2, 3][..], &[4, 5], &[6, 7]] {
        table.append(people(ids, "a")).create_if_absent().run().await.unwrap();
    }
    let middle = Predicate::compare("id", Comparison::GtEq, 3).and(Predicate::compare("id", Comparison::LtEq, 5));
    let report = table.overwrite(people(&[5, 4], "new")).replace_where(middle.clone()).run().await.unwrap();
    assert_eq!((report.rows, report.files_removed), (2, 2), "the file with 6 and 7 is not touched");
    assert_eq!(latest_ids(&table).await, [1, 2, 4, 5, 6, 7]);
    let error = table.overwrite(people(&[9], "x")).replace_where(middle).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::ReplacedRowOutside { row: 0, .. }), "{error}");
    assert_eq!(latest_ids(&table).await, [1, 2, 4, 5, 6, 7]);
}

#[tokio::test]
async fn replacing_a_partition_reads_no_row() {
    let table = table();
    for part in ["a", "b"] {
        table.append(people(&[1, 2], part)).create_if_absent().partition_by(["part"]).run().await.unwrap();
    }
    let b = Predicate::eq("part", "b");
    let report = table.overwrite(people(&[9], "b")).replace_where(b).run().await.unwrap();
    assert_eq!((report.files_removed, report.rows), (1, 1));
    assert_eq!(latest_ids(&table).await, [1, 2, 9]);
}

#[tokio::test]
async fn an_append_only_table_keeps_its_rows() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.appendOnly", "true").run().await.unwrap();
    table.append(people(&[2], "a")).run().await.unwrap();
    let error = table.overwrite(people(&[3], "a")).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("appendOnly"), "{error}");
    assert_eq!(latest_ids(&table).await, [1, 2]);
}

#[tokio::test]
async fn a_write_of_the_same_application_and_version_happens_once() {
    let table = table();
    let app = |version, payload: &str| AppTransaction { app_id: "job".into(), version, payload: Some(payload.into()) };
    for (version, ids) in [(3, [1]), (3, [1]), (2, [0]), (4, [2])] {
        let report = table
            .append(people(&ids, "a"))
            .create_if_absent()
            .app_transaction(app(version, &format!("p{version}")))
            .run()
            .await
            .unwrap();
        assert_eq!(report.skipped, version == 2 || (version == 3 && report.rows == 0), "{report:?}");
    }
    assert_eq!(latest_ids(&table).await, [1, 2]);
    let found = reopened(&table).snapshot().await.unwrap().app_transaction("job").await.unwrap().unwrap();
    assert_eq!((found.version, found.payload.as_deref()), (4, Some("p4")));
    assert_eq!(table.snapshot().await.unwrap().app_transaction("other").await.unwrap(), None);
}

#[tokio::test]
async fn history_shows_who_did_what_newest_first() {
    let table = table();
    table
        .create(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("part", DataType::Utf8, true)]))
        .run()
        .await
        .unwrap();
    table.append(people(&[1, 2], "a")).commit_metadata("job", "nightly").run().await.unwrap();
    table.overwrite(people(&[3], "a")).run().await.unwrap();
    let history = table.history(10).await.unwrap();
    let brief: Vec<_> =
        history.iter().map(|c| (c.version, c.operation.as_deref().unwrap(), c.is_blind_append.unwrap())).collect();
    assert_eq!(brief, [(2, "WRITE", false), (1, "WRITE", true), (0, "CREATE TABLE", true)]);
    assert_eq!(history[1].metrics["numOutputRows"], "2");
    assert_eq!(history[1].parameters["mode"], "Append");
    assert_eq!(history[1].commit_metadata["job"], "nightly");
    assert_eq!(history[1].user_metadata.as_deref(), Some("{\"job\":\"nightly\"}"));
    assert_eq!(history[1].read_version, Some(0));
    assert_eq!((history[0].files_added, history[0].files_removed), (1, 1));
    assert!(history.windows(2).all(|w| w[0].timestamp_us > w[1].timestamp_us));
    assert_eq!(table.history(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn rows_that_come_partition_by_partition_are_one_file_each_with_one_open_at_a_time() {
    let table = table();
    let settings = DataWriterSettings { open_partitions: 1, row_order: RowOrder::ByPartition, ..DataWriterSettings::default() };
    let rows: Vec<i64> = (0..500).collect();
    let parts: Vec<String> = rows.iter().map(|r| format!("{:03}", r / 7)).collect();
    let data = batch(&[("id", Arc::new(Int64Array::from(rows.clone()))), ("part", Arc::new(StringArray::from(parts)))]);
    let slices: Vec<RecordBatch> = (0..10).map(|i| data.slice(i * 50, 50)).collect();
    let data = boathouse_base::BatchStream::from_batches(data.schema(), slices);
    let report = table.append(data).create_if_absent().partition_by(["part"]).with_writer_settings(settings).run().await;
    assert_eq!(report.unwrap().files_added, 72);
    assert_eq!(latest_ids(&table).await, rows);
}

#[tokio::test]
async fn a_table_made_anew_is_what_is_asked_for_and_keeps_its_id_and_its_history() {
    let table = table();
    let create = table.create(Schema::new(vec![Field::new("old", DataType::Int64, false)]));
    create.property("delta.columnMapping.mode", "name").property("owner", "ops").description("before").run().await.unwrap();
    table.append(stream(batch(&[("old", Arc::new(Int64Array::from(vec![1])))]))).run().await.unwrap();
    let before = table.snapshot().await.unwrap();

    let rows = people(&[7, 8], "a");
    let schema = rows.schema().as_ref().clone();
    let create = table.create(schema.clone()).or_replace().cluster_by(["id"]);
    let create = create.with_rows(rows, DataWriterSettings::default());
    let report = create.property("team", "x").run().await.unwrap();
    assert_eq!((report.version, report.created, report.rows), (2, false, 2));
    let after = table.snapshot().await.unwrap();
    assert_eq!((after.metadata().id.as_str(), after.metadata().description.as_deref()), (before.metadata().id.as_str(), None));
    let properties = &after.metadata().configuration;
    assert_eq!((properties.get("team").map(String::as_str), properties.get("owner")), (Some("x"), None));
    // How columns are mapped stays, and their ids go on: earlier versions are read as well.
    assert!(after.properties().column_mapping_max_column_id > before.properties().column_mapping_max_column_id);
    assert_eq!(latest_ids(&table).await, [7, 8]);
    assert_eq!(read(&before).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let operation = table.history(1).await.unwrap().remove(0).operation;
    assert_eq!(operation.as_deref(), Some("CREATE OR REPLACE TABLE AS SELECT"));

    let error = table.create(schema).or_replace().property("delta.columnMapping.mode", "none");
    let error = error.run().await.unwrap_err();
    assert!(error.to_string().contains("cannot change from `name` to `none`"), "{error}");
}

#[tokio::test]
async fn a_table_made_anew_loses_against_rows_that_came_meanwhile_and_appends_lose_against_it() {
    let table = table();
    table.append(people(&[1], "a")).create_if_absent().run().await.unwrap();
    let (late, base) = (reopened(&table), table.snapshot().await.unwrap());
    table.create(Schema::new(vec![Field::new("other", DataType::Utf8, true)])).or_replace().run().await.unwrap();
    let error = late.append(people(&[2], "a")).based_on(&base).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let names: Vec<String> = table.snapshot().await.unwrap().delta_schema().names().map(str::to_owned).collect();
    assert_eq!(names, ["other"]);
}
