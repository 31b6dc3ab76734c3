//! Folders of Parquet files that become tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field};
use boathouse_base::{Comparison, DomainError, ErrorKind, Predicate, Value};
use boathouse_delta_table::{ConvertProblem, ConvertStatistics, DeltaError, DeltaTable};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Storage, seeded_env};
use parquet::arrow::ArrowWriter;

use crate::rows::{batch, ids, kept, latest_ids, people, read, reopened};

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// A folder with one file of ids for each path.
async fn folder(files: &[(&str, &[i64])]) -> DeltaTable {
    let storage = Storage::memory().at("lake/raw");
    for (path, values) in files {
        storage.put(path, parquet(&batch(&[("id", numbers(values))]))).await.unwrap();
    }
    kept(DeltaTable::at(storage, seeded_env(3)))
}

fn problem(error: DeltaError) -> ConvertProblem {
    match error {
        DeltaError::CannotConvert { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_folder_becomes_a_table_and_no_file_is_touched() {
    let table = folder(&[("a.parquet", &[1, 2]), ("deeper/b b%.parquet", &[3])]).await;
    for hidden in ["_SUCCESS", ".part.crc", "_temporary/0/x.parquet", "deeper/_metadata"] {
        table.storage().put(hidden, "not Parquet").await.unwrap();
    }
    table.storage().put("empty", "").await.unwrap();
    let before = table.storage().list("").await.unwrap();
    let report = table.convert_parquet().name("raw").property("team", "blue").run().await.unwrap();
    assert_eq!((report.version, report.files, report.rows), (0, 2, 3));
    assert_eq!(latest_ids(&table).await, [1, 2, 3]);
    for entry in before {
        assert_eq!(table.storage().head(&entry.path).await.unwrap().unwrap().modified_us, entry.modified_us);
    }
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.row_count().await.unwrap(), Some(3));
    assert_eq!(snapshot.files(Some(&Predicate::compare("id", Comparison::Gt, 2))).await.unwrap().len(), 1);
    let history = table.history(1).await.unwrap().remove(0);
    assert_eq!((history.operation.as_deref(), history.metrics["numConvertedFiles"].as_str()), (Some("CONVERT"), "2"));
    // It is a table like any other.
    table.append(crate::rows::stream(batch(&[("id", numbers(&[4]))]))).run().await.unwrap();
    assert_eq!(latest_ids(&table).await, [1, 2, 3, 4]);
    let error = table.convert_parquet().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn folders_of_values_become_partition_columns_of_the_types_that_all_values_have() {
    let paths = ["day=2024-01-01/n=1/who=a%2Fb/f.parquet", "day=2024-01-02/n=-5/who=x y/f.parquet"];
    let null = "day=__HIVE_DEFAULT_PARTITION__/n=3/who=50%25/f.parquet";
    let table = folder(&[(paths[0], &[1]), (paths[1], &[2]), (null, &[3])]).await;
    table.convert_parquet().run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(snapshot.partition_columns(), ["day", "n", "who"]);
    let types: Vec<_> = snapshot.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Date32, DataType::Int32, DataType::Utf8]);
    assert_eq!(latest_ids(&table).await, [1, 2, 3]);
    let values: BTreeMap<i64, Vec<Value>> = {
        let mut values = BTreeMap::new();
        for file in snapshot.files(None).await.unwrap() {
            let rows = snapshot.read_file(&file, Default::default()).unwrap().collect().await.unwrap();
            values.insert(crate::rows::ids_of(&rows)[0], file.partition_values().to_vec());
        }
        values
    };
    let text = |text: &str| Value::String(text.to_owned());
    assert_eq!(values[&1], [Value::Date(19723), Value::Int(1), text("a/b")]);
    assert_eq!(values[&2], [Value::Date(19724), Value::Int(-5), text("x y")]);
    assert_eq!(values[&3], [Value::Null, Value::Int(3), text("50%")]);
}

#[tokio::test]
async fn declared_partition_columns_have_their_types_and_values_that_do_not_fit_are_refused() {
    let declared = |data_type: DataType| [Field::new("n", data_type, true)];
    let table = folder(&[("n=1/f", &[1]), ("n=07/f", &[2])]).await;
    let wrong = [Field::new("m", DataType::Int64, true)];
    let error = table.convert_parquet().partitioned_by(wrong).run().await.unwrap_err();
    assert!(matches!(problem(error), ConvertProblem::OtherPartitions { .. }));
    let error = table.convert_parquet().partitioned_by(declared(DataType::Date32)).run().await.unwrap_err();
    assert!(error.to_string().contains("`1`") || error.to_string().contains("07"), "{error}");
    assert!(!table.exists().await.unwrap());
    table.convert_parquet().partitioned_by(declared(DataType::Int64)).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(ids(&snapshot).await, [1, 2]);
    assert_eq!(snapshot.files(Some(&Predicate::eq("n", 7))).await.unwrap().len(), 1);
}

#[tokio::test]
async fn schemas_are_merged_and_a_file_that_does_not_fit_is_named() {
    let storage = Storage::memory();
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    storage.put("a.parquet", parquet(&batch(&[("id", Arc::clone(&narrow))]))).await.unwrap();
    storage.put("b.parquet", parquet(&batch(&[("id", numbers(&[1 << 40])), ("note", Arc::clone(&text))]))).await.unwrap();
    storage.put("c.parquet", parquet(&batch(&[("NOTE", text), ("id", narrow)]))).await.unwrap();
    let table = kept(DeltaTable::at(storage.clone(), seeded_env(3)));
    table.convert_parquet().run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(snapshot.schema().field_with_name("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(ids(&snapshot).await, [7, 7, 1 << 40]);
    assert_eq!(read(&snapshot).await.iter().map(|b| b.column_by_name("note").unwrap().null_count()).sum::<usize>(), 1);
    let large = Predicate::compare("id", Comparison::Gt, 7);
    assert_eq!(snapshot.files(Some(&large)).await.unwrap().len(), 1, "bounds of narrower numbers count");
    let noted = Predicate::eq("note", "y");
    assert_eq!(snapshot.files(Some(&noted)).await.unwrap().iter().filter(|f| f.path() != "a.parquet").count(), 0);

    let other = Storage::memory();
    other.put("a.parquet", parquet(&batch(&[("id", numbers(&[1]))]))).await.unwrap();
    other.put("b.parquet", parquet(&batch(&[("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]))).await.unwrap();
    let table = DeltaTable::at(other, seeded_env(3));
    match problem(table.convert_parquet().run().await.unwrap_err()) {
        ConvertProblem::OtherSchema { path, source } => assert_eq!((path.as_str(), source.column()), ("b.parquet", "id")),
        other => panic!("{other}"),
    }
    assert!(!table.exists().await.unwrap());
}

#[tokio::test]
async fn what_cannot_be_a_table_is_refused_and_nothing_is_written() {
    let table = folder(&[("a=1/f.parquet", &[1]), ("b=1/f.parquet", &[2])]).await;
    let error = problem(table.convert_parquet().run().await.unwrap_err());
    assert!(matches!(&error, ConvertProblem::OtherFolders { path, .. } if path == "b=1/f.parquet"), "{error}");
    let empty = folder(&[]).await;
    assert_eq!(problem(empty.convert_parquet().run().await.unwrap_err()), ConvertProblem::NoFiles);
    let text = folder(&[("a.parquet", &[1])]).await;
    text.storage().put("b.csv", "id\n1\n").await.unwrap();
    let error = text.convert_parquet().run().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("b.csv"), "{error}");
    let mapped = folder(&[("a.parquet", &[1])]).await;
    let error = mapped.convert_parquet().property("delta.columnMapping.mode", "name").run().await.unwrap_err();
    assert_eq!(problem(error), ConvertProblem::ColumnMapping);
    for table in [table, empty, text, mapped] {
        assert!(table.storage().list("_delta_log").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn statistics_say_nothing_that_a_footer_does_not() {
    let storage = Storage::memory();
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_000, 2_000]).with_timezone("UTC"));
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 2_000_000_000]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
    let columns = [("id", numbers(&[1, 2])), ("ms", millis), ("ns", nanos), ("x", floats)];
    storage.put("a.parquet", parquet(&batch(&columns))).await.unwrap();
    let table = kept(DeltaTable::at(storage, seeded_env(3)));
    table.convert_parquet().run().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let found = |predicate: Predicate| {
        let snapshot = snapshot.clone();
        async move { snapshot.files(Some(&predicate)).await.unwrap().len() }
    };
    assert_eq!(found(Predicate::compare("x", Comparison::Gt, 5.0)).await, 1, "a NaN is above every bound");
    assert_eq!(found(Predicate::eq("ms", Value::Timestamp(2_000_000))).await, 1);
    assert_eq!(found(Predicate::eq("ns", Value::TimestampNtz(2_000_000))).await, 1);
    assert_eq!(found(Predicate::eq("id", 3)).await, 0);
    let rows = read(&snapshot).await;
    let micros = |name: &str| rows[0].column_by_name(name).unwrap().data_type().clone();
    assert_eq!(micros("ms"), DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into())));
    assert_eq!(micros("ns"), DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None));
}

#[tokio::test]
async fn without_statistics_every_file_may_match() {
    let table = folder(&[("a.parquet", &[1]), ("b.parquet", &[2])]).await;
    table.convert_parquet().statistics(ConvertStatistics::None).run().await.unwrap();
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.files(Some(&Predicate::eq("id", 9))).await.unwrap().len(), 2);
    assert_eq!((snapshot.row_count().await.unwrap(), ids(&snapshot).await), (None, vec![1, 2]));
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_a_table_or_the_folder_as_it_was() {
    for fault in [Fault::FailBefore, Fault::LostReply, Fault::CrashAfter] {
        let mut at = 0;
        loop {
            let table = folder(&[("p=1/a.parquet", &[1]), ("p=2/b.parquet", &[2])]).await;
            let mut store = None;
            let wrapped = table.storage().with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                Arc::new(faulty)
            });
            let store = store.unwrap();
            store.inject(FaultRule::new(fault).skip(at));
            let result = DeltaTable::at(wrapped, seeded_env(5)).convert_parquet().run().await;
            let hit = !store.injected().is_empty();
            let converted = reopened(&table).exists().await.unwrap();
            match result {
                Ok(_) => assert!(converted, "{fault:?} at request {at}"),
                Err(error) if !converted => {
                    assert_eq!(table.storage().list("").await.unwrap().len(), 2, "{fault:?} at request {at}: {error}");
                    reopened(&table).convert_parquet().run().await.unwrap();
                }
                Err(error) => assert!(store.is_crashed() || matches!(error, DeltaError::CommitUnknown { .. }), "{error}"),
            }
            assert_eq!(latest_ids(&table).await, [1, 2]);
            if !hit {
                break;
            }
            at += 1;
        }
        assert!(at >= 4, "a conversion makes several requests");
    }
}

#[tokio::test]
async fn a_converted_folder_takes_rows_of_new_partitions() {
    let table = folder(&[("part=a/f.parquet", &[1])]).await;
    table.convert_parquet().run().await.unwrap();
    table.append(people(&[2], "b")).run().await.unwrap();
    assert_eq!(latest_ids(&table).await, [1, 2]);
    assert_eq!(table.snapshot().await.unwrap().files(Some(&Predicate::eq("part", "b"))).await.unwrap().len(), 1);
}
