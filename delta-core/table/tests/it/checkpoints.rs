//! Checkpoints: written on time, read back equal, and never needed.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{AppTransaction, DomainError, ErrorKind, TableVersion};
use boathouse_delta_table::{CheckpointForm, DeltaTable};
use boathouse_storage::Operation;
use boathouse_storage::seeded_env;
use boathouse_storage::testing::CountingStore;

use crate::rows::{append_each, batch, ids, latest_ids, people, reopened, stream, table};

const CHECKPOINT_10: &str = "_delta_log/00000000000000000010.checkpoint.parquet";
const CHECKPOINT_20: &str = "_delta_log/00000000000000000020.checkpoint.parquet";
const LAST: &str = "_delta_log/_last_checkpoint";

#[tokio::test]
async fn a_checkpoint_is_written_every_ten_commits_and_makes_opening_cheap() {
    let table = table();
    append_each(&table, 0..23).await;
    for path in [CHECKPOINT_10, CHECKPOINT_20] {
        assert!(table.storage().head(path).await.unwrap().is_some(), "{path}");
    }
    let hint = table.storage().get(LAST).await.unwrap();
    let hint: serde_json::Value = serde_json::from_slice(&hint).unwrap();
    assert_eq!((hint["version"].as_u64(), hint["numOfAddFiles"].as_u64()), (Some(20), Some(21)));
    let (storage, counts) = CountingStore::wrap(table.storage());
    let snapshot = DeltaTable::at(storage, seeded_env(1)).snapshot().await.unwrap();
    assert_eq!(snapshot.version(), 22);
    let counted = counts.counts();
    assert_eq!((counted.of(Operation::List), counted.gets()), (1, 2), "pointer, checksum: {:?}", counts.log());
    assert_eq!(ids(&snapshot).await, (0..23).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_checkpoint_whose_partition_values_are_all_null_is_read() {
    for form in [CheckpointForm::Classic, CheckpointForm::ClassicV2, CheckpointForm::Uuid] {
        let table = table();
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("part", DataType::Utf8, true)]);
        let create = table.create(schema).partition_by(["part"]);
        create.property("delta.feature.v2Checkpoint", "supported").run().await.unwrap();
        let rows = |id: i64| {
            let part: ArrayRef = Arc::new(StringArray::new_null(1));
            stream(batch(&[("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef), ("part", part)]))
        };
        table.append(rows(1)).run().await.unwrap();
        table.checkpoint().form(form).run().await.unwrap();
        table.append(rows(2)).run().await.unwrap();
        assert_eq!(latest_ids(&table).await, [1, 2], "{form:?}");
        // Nor is it needed that the commits behind it are there.
        table.storage().delete("_delta_log/00000000000000000001.json").await.unwrap();
        assert_eq!(latest_ids(&table).await, [1, 2], "{form:?}");
        assert_eq!(reopened(&table).snapshot().await.unwrap().tombstones().await.unwrap(), []);
    }
}

#[tokio::test]
async fn the_interval_is_a_property_of_the_table() {
    let table = table();
    table.append(people(&[0], "a")).property("delta.checkpointInterval", "2").run().await.unwrap();
    append_each(&table, 1..5).await;
    assert!(table.storage().head("_delta_log/00000000000000000002.checkpoint.parquet").await.unwrap().is_some());
    assert!(table.storage().head("_delta_log/00000000000000000003.checkpoint.parquet").await.unwrap().is_none());
}

#[tokio::test]
async fn a_checkpoint_holds_all_that_the_commits_hold() {
    let table = table();
    let app = AppTransaction { app_id: "a".into(), version: 5, payload: Some("here".into()) };
    table
        .append(people(&[1], "x y"))
        .create_if_absent()
        .partition_by(["part"])
        .property("my.property", "ü")
        .app_transaction(app)
        .run()
        .await
        .unwrap();
    table.append(people(&[2], "z")).run().await.unwrap();
    table.overwrite(people(&[3], "z")).replace_where(boathouse_base::Predicate::eq("part", "z")).run().await.unwrap();
    let by_commits = reopened(&table).snapshot().await.unwrap();
    table.checkpoint().await.unwrap();
    let by_checkpoint = reopened(&table).snapshot().await.unwrap();
    let (a, b) = (by_commits.state(), by_checkpoint.state());
    assert_eq!(a.metadata, b.metadata);
    assert_eq!(a.protocol, b.protocol);
    assert_eq!(a.app_txns["a"].txn, b.app_txns["a"].txn);
    let adds = async |s: &boathouse_delta_table::Snapshot| {
        let index = s.index_with_stats().await.unwrap();
        let mut adds: Vec<_> = index.iter().map(|file| file.to_add()).collect();
        adds.iter_mut().for_each(|add| add.data_change = false);
        adds.sort_by(|a, b| a.path.cmp(&b.path));
        adds
    };
    assert_eq!(adds(&by_commits).await, adds(&by_checkpoint).await);
    let gone = async |s: &boathouse_delta_table::Snapshot| {
        let tombstones = s.tombstones().await.unwrap();
        tombstones.iter().map(|r| (r.path.clone(), r.deletion_timestamp)).collect::<Vec<_>>()
    };
    assert_eq!(gone(&by_commits).await, gone(&by_checkpoint).await);
    assert_eq!(gone(&by_commits).await.len(), 1);
    let found = by_checkpoint.app_transaction("a").await.unwrap().unwrap();
    assert_eq!((found.version, found.payload.as_deref()), (5, Some("here")), "found by walking back from the checkpoint");
}

#[tokio::test]
async fn a_damaged_pointer_or_checkpoint_costs_no_row() {
    let damages: [(&str, Option<&[u8]>); 7] = [
        (LAST, Some(b"{\"version\":")),
        (LAST, Some(b"")),
        (LAST, Some(b"{\"version\":999,\"size\":1}")),
        (LAST, None),
        (CHECKPOINT_20, Some(b"PAR1 cut off")),
        (CHECKPOINT_20, Some(b"")),
        (CHECKPOINT_20, None),
    ];
    for (path, content) in damages {
        let table = table();
        append_each(&table, 0..22).await;
        match content {
            Some(bytes) => table.storage().put(path, bytes.to_vec()).await.unwrap(),
            None => table.storage().delete(path).await.unwrap(),
        }
        assert_eq!(latest_ids(&table).await, (0..22).collect::<Vec<_>>(), "{path} {content:?}");
        append_each(&reopened(&table), 22..23).await;
        assert_eq!(latest_ids(&table).await.len(), 23, "{path} {content:?}");
    }
}

#[tokio::test]
async fn a_truncated_checkpoint_is_replaced_by_an_older_one_and_all_damaged_ones_by_the_commits() {
    let table = table();
    append_each(&table, 0..22).await;
    let whole = table.storage().get(CHECKPOINT_20).await.unwrap();
    table.storage().put(CHECKPOINT_20, whole.slice(0..whole.len() / 2)).await.unwrap();
    assert_eq!(latest_ids(&table).await.len(), 22);
    table.storage().put(CHECKPOINT_10, "x").await.unwrap();
    assert_eq!(latest_ids(&table).await.len(), 22);
    let old = reopened(&table).snapshot_at(TableVersion::Number(15)).await.unwrap();
    assert_eq!(ids(&old).await.len(), 16);
}

#[tokio::test]
async fn versions_before_the_first_commit_that_is_left_are_not_found() {
    let table = table();
    append_each(&table, 0..22).await;
    for version in 0..15 {
        table.storage().delete(&format!("_delta_log/{version:020}.json")).await.unwrap();
    }
    table.storage().delete(CHECKPOINT_10).await.unwrap();
    assert_eq!(latest_ids(&table).await.len(), 22);
    let error = reopened(&table).snapshot_at(TableVersion::Number(16)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("16") && error.to_string().contains("20"), "{error}");
    assert_eq!(table.history(100).await.unwrap().len(), 7);
}
