//! Forms of checkpoints: each reads back equal, with what the table's properties ask for.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field};
use boathouse_base::{Comparison, DomainError, ErrorKind, Predicate};
use boathouse_delta_table::protocol::action::Add;
use boathouse_delta_table::{CheckpointForm, DeltaTable, Snapshot};
use boathouse_storage::Storage;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::rows::{append_each, batch, ids, latest_ids, people, read, reopened, stream, table};

const FORMS: [CheckpointForm; 3] = [CheckpointForm::Classic, CheckpointForm::ClassicV2, CheckpointForm::Uuid];

/// Some commits, with removed files, on a partitioned table that allows every form.
async fn mixed(properties: &[(&str, &str)]) -> DeltaTable {
    let table = table();
    let first = table.append(people(&[1, 2], "b")).create_if_absent().partition_by(["part"]);
    let first = first.property("delta.feature.v2Checkpoint", "supported");
    properties.iter().fold(first, |write, (key, value)| write.property(*key, *value)).run().await.unwrap();
    for (id, part) in [(3, "a"), (4, "c c"), (5, "a"), (6, "b"), (7, "ä/ö")] {
        table.append(people(&[id], part)).run().await.unwrap();
    }
    table.overwrite(people(&[8], "c c")).replace_where(Predicate::eq("part", "c c")).run().await.unwrap();
    table
}

async fn adds(snapshot: &Snapshot) -> Vec<Add> {
    let mut adds: Vec<Add> = snapshot.index_with_stats().await.unwrap().iter().map(|file| file.to_add()).collect();
    adds.iter_mut().for_each(|add| add.data_change = false);
    adds.sort_by(|a, b| a.path.cmp(&b.path));
    adds
}

async fn log(table: &DeltaTable) -> Vec<String> {
    table.storage().list("_delta_log").await.unwrap().into_iter().map(|entry| entry.path).collect()
}

/// Only the checkpoint is left to read from.
async fn without_commits(table: &DeltaTable) -> Snapshot {
    for path in log(table).await {
        if path.ends_with(".json") && !path.contains("checkpoint") && !path.contains("00000000000000000006") {
            table.storage().delete(&path).await.unwrap();
        }
    }
    reopened(table).snapshot().await.unwrap()
}

#[tokio::test]
async fn every_form_holds_what_the_commits_hold() {
    for form in FORMS {
        for stats in ["both", "json", "struct"] {
            let properties = [
                ("delta.checkpoint.writeStatsAsJson", if stats == "struct" { "false" } else { "true" }),
                ("delta.checkpoint.writeStatsAsStruct", if stats == "json" { "false" } else { "true" }),
            ];
            let table = mixed(&properties).await;
            let by_commits = reopened(&table).snapshot().await.unwrap();
            let (before, rows) = (adds(&by_commits).await, ids(&by_commits).await);
            let gone = by_commits.tombstones().await.unwrap();
            let report = table.checkpoint().form(form).await.unwrap();
            assert_eq!((report.version, report.files, report.is_last), (6, 6, true), "{form:?}");
            assert_eq!(report.sidecars, if form == CheckpointForm::Classic { 0 } else { 2 }, "one of files, one of tombstones");
            let sizes: u64 = table
                .storage()
                .list("_delta_log")
                .await
                .unwrap()
                .iter()
                .filter(|e| e.path.contains("checkpoint.") || e.path.contains("_sidecars"))
                .map(|e| e.size_bytes)
                .sum();
            assert_eq!(report.bytes, sizes);
            let by_checkpoint = without_commits(&table).await;
            assert_eq!(ids(&by_checkpoint).await, rows, "{form:?}");
            let after = adds(&by_checkpoint).await;
            if stats == "struct" {
                let plain = |adds: &[Add]| adds.iter().map(|a| Add { stats: None, ..a.clone() }).collect::<Vec<_>>();
                assert_eq!(plain(&after), plain(&before), "{form:?}");
                assert!(after.iter().all(|add| add.stats.as_deref().is_some_and(|s| s.contains("\"numRecords\":"))), "{after:?}");
            } else {
                assert_eq!(after, before, "{form:?} {stats}");
            }
            let left = by_checkpoint.tombstones().await.unwrap();
            let key = |removes: &[boathouse_delta_table::protocol::action::Remove]| {
                removes.iter().map(|r| (r.path.clone(), r.deletion_timestamp, r.size)).collect::<Vec<_>>()
            };
            assert_eq!(key(&left), key(&gone), "{form:?}");
            assert_eq!(by_checkpoint.metadata(), by_commits.metadata());
            assert_eq!(by_checkpoint.protocol(), by_commits.protocol());
            append_each(&reopened(&table), 20..21).await;
            assert_eq!(latest_ids(&table).await.last(), Some(&20));
        }
    }
}

#[tokio::test]
async fn the_table_chooses_the_form_by_feature_and_policy() {
    let plain = table();
    append_each(&plain, 0..2).await;
    for form in [CheckpointForm::ClassicV2, CheckpointForm::Uuid] {
        let error = plain.checkpoint().form(form).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("v2Checkpoint"), "{error}");
    }
    assert_eq!(plain.checkpoint().await.unwrap().sidecars, 0);
    let classic = mixed(&[]).await;
    assert_eq!(classic.checkpoint().await.unwrap().sidecars, 0, "the policy is classic by default");
    let v2 = mixed(&[("delta.checkpointPolicy", "v2")]).await;
    assert_eq!(v2.checkpoint().await.unwrap().sidecars, 2);
    let names = log(&v2).await;
    assert!(names.iter().any(|name| name.contains(".checkpoint.") && name.ends_with(".json")), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("_delta_log/_sidecars/")).count(), 2);
}

#[tokio::test]
async fn files_stand_sorted_by_partition_then_path() {
    let table = mixed(&[]).await;
    table.checkpoint().await.unwrap();
    let snapshot = without_commits(&table).await;
    let index = snapshot.index().await.unwrap();
    let order: Vec<_> =
        index.iter().map(|f| (f.partition_value("part").flatten().map(str::to_owned), f.path().to_owned())).collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(order, sorted);
    assert_eq!(order.len(), 6);
}

#[tokio::test]
async fn parsed_columns_have_the_types_of_the_table() {
    let table = table();
    let place = StructArray::from(vec![
        (Arc::new(Field::new("city", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["Bern", "Basel"])) as ArrayRef),
        (Arc::new(Field::new("open", DataType::Boolean, true)), Arc::new(arrow_array::BooleanArray::from(vec![true, false]))),
    ]);
    let rows = batch(&[
        ("id", Arc::new(Int64Array::from(vec![5, 7]))),
        ("x", Arc::new(Float64Array::from(vec![0.5, 1.5]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000]).with_timezone("UTC"))),
        ("place", Arc::new(place)),
        ("day", Arc::new(Date32Array::from(vec![19_723, 19_723]))),
    ]);
    let write = table.append(stream(rows)).create_if_absent().partition_by(["day"]);
    write.property("delta.checkpoint.writeStatsAsStruct", "true").run().await.unwrap();
    table.checkpoint().await.unwrap();
    let bytes = table.storage().get("_delta_log/00000000000000000000.checkpoint.parquet").await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let schema = Arc::clone(reader.schema());
    let rows: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let add = schema.field_with_name("add").unwrap();
    let DataType::Struct(fields) = add.data_type() else { panic!("{add}") };
    let inner = |name: &str| fields.iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("{name} in {fields:?}")).clone();
    let DataType::Struct(values) = inner("partitionValues_parsed").data_type().clone() else { panic!() };
    assert_eq!(values[0].data_type(), &DataType::Date32);
    let DataType::Struct(stats) = inner("stats_parsed").data_type().clone() else { panic!() };
    assert_eq!(
        stats.iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
        ["numRecords", "minValues", "maxValues", "nullCount", "tightBounds"]
    );
    let text = rows.iter().map(|b| format!("{:?}", b.column_by_name("add").unwrap())).collect::<String>();
    assert!(text.contains("Bern") && text.contains("Basel") && text.contains("2024-01-01"), "{text}");
    let DataType::Struct(minima) = stats[1].data_type() else { panic!() };
    assert_eq!(minima.iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "x", "at", "place"]);
    let DataType::Struct(city) = minima[3].data_type() else { panic!() };
    assert_eq!(city.len(), 1, "a boolean has no bounds");
    let snapshot = reopened(&table).snapshot().await.unwrap();
    let far = Predicate::compare("id", Comparison::Gt, 7);
    assert!(snapshot.files(Some(&far)).await.unwrap().is_empty(), "statistics skip the file");
    assert_eq!(read(&snapshot).await.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn odd_statistics_of_one_file_cost_only_its_parsed_columns() {
    let table = table();
    table.append(people(&[1], "a")).property("delta.checkpoint.writeStatsAsStruct", "true").run().await.unwrap();
    let add = |path: &str, stats: &str| {
        let stats = serde_json::Value::from(stats);
        format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":1,"modificationTime":1,"dataChange":true,"stats":{stats}}}}}"#
        )
    };
    let odd = [
        add("o1.parquet", "not json"),
        add("o2.parquet", r#"{"numRecords":"many"}"#),
        add("o3.parquet", r#"{"numRecords":1}{"numRecords":2}"#),
        add("o4.parquet", r#"{"numRecords":4,"minValues":{"id":4,"elsewhere":[1]}}"#),
        add("o5.parquet", r#"{"numRecords":1,"minValues":{"id":"text"}}"#),
    ];
    table.storage().put("_delta_log/00000000000000000001.json", odd.join("\n")).await.unwrap();
    let before = adds(&reopened(&table).snapshot().await.unwrap()).await;
    table.checkpoint().await.unwrap();
    assert_eq!(adds(&reopened(&table).snapshot().await.unwrap()).await, before, "texts are kept as they are");
}

#[tokio::test]
async fn expired_tombstones_and_transactions_are_left_out() {
    let table = table();
    let app = boathouse_base::AppTransaction { app_id: "old".into(), version: 1, payload: None };
    let first = table.append(people(&[1], "a")).create_if_absent().app_transaction(app);
    let first = first.property("delta.deletedFileRetentionDuration", "interval 0 days");
    first.property("delta.setTransactionRetentionDuration", "interval 0 days").run().await.unwrap();
    table.overwrite(people(&[2], "a")).run().await.unwrap();
    assert_eq!(reopened(&table).snapshot().await.unwrap().tombstones().await.unwrap().len(), 1);
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    table.checkpoint().await.unwrap();
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(snapshot.tombstones().await.unwrap().len(), 0);
    assert!(snapshot.state().app_txns.is_empty());
}

#[tokio::test]
async fn the_pointer_moves_forward_only_and_carries_its_checksum() {
    let table = table();
    append_each(&table, 0..3).await;
    assert!(table.checkpoint().await.unwrap().is_last);
    let pointer = table.storage().get("_delta_log/_last_checkpoint").await.unwrap();
    let said: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
    assert_eq!(said["checksum"].as_str().map(str::len), Some(32), "{said}");
    table.storage().put("_delta_log/_last_checkpoint", r#"{"version":7,"size":1}"#).await.unwrap();
    assert!(!table.checkpoint().await.unwrap().is_last);
    assert_eq!(table.storage().get("_delta_log/_last_checkpoint").await.unwrap(), r#"{"version":7,"size":1}"#);
    table.storage().put("_delta_log/_last_checkpoint", "garbage").await.unwrap();
    assert!(table.checkpoint().await.unwrap().is_last, "a damaged pointer is no pointer");
}

#[tokio::test]
async fn a_fault_at_any_request_of_a_checkpoint_costs_no_row_and_points_to_nothing_damaged() {
    for form in FORMS {
        for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull, Fault::CrashAfter] {
            for at in 0..40 {
                let sound = mixed(&[]).await;
                let mut store = None;
                let storage: Storage = sound.storage().with_object_store(|inner| {
                    let faulty = FaultStore::new(inner);
                    store = Some(faulty.clone());
                    Arc::new(faulty)
                });
                let store = store.unwrap();
                store.inject(FaultRule::new(fault).skip(at));
                let faulty = DeltaTable::at(storage, boathouse_storage::seeded_env(3));
                let written = faulty.checkpoint().form(form).await;
                assert_eq!(latest_ids(&sound).await.len(), 7, "{form:?} {fault:?} at {at}: {written:?}");
                let hit = !store.injected().is_empty();
                if !hit {
                    written.unwrap();
                    break;
                }
                assert!(at < 39, "a checkpoint of a small table makes few requests");
            }
        }
    }
}
