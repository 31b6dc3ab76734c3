//! What comes after a commit: checksums, compacted commits, checkpoints that were missed, and none of it in the way.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use boathouse_base::TableVersion;
use boathouse_delta_table::protocol::checksum::{ChecksumDifference, VersionChecksum};
use boathouse_delta_table::{DeltaTable, UpkeepSettings, UpkeepTime};
use boathouse_storage::testing::{CountingStore, Fault, FaultRule, FaultStore};
use boathouse_storage::{Operation, Storage, seeded_env};

use crate::rows::{append_each, batch, ids, kept, latest_ids, people, reopened, stream, table};

fn crc(version: u64) -> String {
    format!("_delta_log/{version:020}.crc")
}

async fn checksum(table: &DeltaTable, version: u64) -> Option<VersionChecksum> {
    let bytes = table.storage().get_optional(&crc(version)).await.unwrap()?;
    Some(VersionChecksum::parse(version, &bytes).unwrap())
}

/// Another handle whose files have names of their own.
fn other(table: &DeltaTable, seed: u64) -> DeltaTable {
    kept(DeltaTable::at(table.storage().clone(), seeded_env(seed)))
}

async fn sound(table: &DeltaTable, version: u64) {
    let snapshot = reopened(table).snapshot_at(TableVersion::Number(version)).await.unwrap();
    let report = snapshot.validate_checksum().await.unwrap();
    assert!(report.found, "version {version}");
    assert_eq!(report.differences, [], "version {version}");
}

#[tokio::test]
async fn every_commit_gets_a_checksum_that_a_replay_bears_out() {
    let table = table();
    append_each(&table, 0..12).await;
    table.overwrite(people(&[50], "b")).run().await.unwrap();
    let app = boathouse_base::AppTransaction { app_id: "a".into(), version: 5, payload: None };
    table.append(people(&[51], "b")).app_transaction(app).run().await.unwrap();
    table.restore(TableVersion::Number(3)).run().await.unwrap();
    let wide = batch(&[("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("more", Arc::new(Int64Array::from(vec![1])))]);
    table.overwrite(stream(wide)).overwrite_schema().run().await.unwrap();
    for version in 0..=15 {
        sound(&table, version).await;
    }
    let last = checksum(&table, 15).await.unwrap();
    assert_eq!((last.num_files, last.metadata.schema_string.contains("more")), (1, true));
    assert_eq!(last.set_transactions.unwrap().len(), 1);
    assert_eq!(checksum(&table, 12).await.unwrap().num_files, 1);
}

#[tokio::test]
async fn a_handle_that_knows_nothing_goes_on_from_the_file_of_the_version_before() {
    let table = table();
    append_each(&table, 0..2).await;
    append_each(&other(&table, 21), 2..3).await;
    sound(&table, 2).await;
    // Without that file too, nothing is known before the next checkpoint.
    table.storage().delete(&crc(2)).await.unwrap();
    append_each(&other(&table, 22), 3..4).await;
    assert!(checksum(&table, 3).await.is_none());
    // The first handle still knows version 1, and reads what came since.
    append_each(&table, 4..5).await;
    sound(&table, 4).await;
    for version in 0..=4 {
        table.storage().delete(&crc(version)).await.unwrap();
    }
    append_each(&other(&table, 23), 5..11).await;
    sound(&table, 10).await;
    append_each(&other(&table, 24), 11..12).await;
    sound(&table, 11).await;
}

#[tokio::test]
async fn checksums_of_others_are_never_overwritten_and_bad_ones_not_carried_on() {
    let table = table();
    append_each(&table, 0..3).await;
    table.storage().put(&crc(3), "another writer's").await.unwrap();
    append_each(&table, 3..4).await;
    assert_eq!(table.storage().get(&crc(3)).await.unwrap(), "another writer's");
    let snapshot = reopened(&table).snapshot().await.unwrap();
    assert_eq!(ids(&snapshot).await.len(), 4, "the log counts");
    assert!(snapshot.validate_checksum().await.is_err(), "it cannot even be read");
    append_each(&reopened(&table), 4..5).await;
    assert!(checksum(&table, 4).await.is_none());
}

#[tokio::test]
async fn a_table_that_was_changed_behind_the_log_is_found_by_its_checksum() {
    let table = table();
    append_each(&table, 0..4).await;
    let path = "_delta_log/00000000000000000002.json";
    let text = String::from_utf8(table.storage().get(path).await.unwrap().to_vec()).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("{\"add\"")).collect();
    table.storage().put(path, without.join("\n")).await.unwrap();
    let report = reopened(&table).snapshot().await.unwrap().validate_checksum().await.unwrap();
    assert!(report.differences.contains(&ChecksumDifference::FileCount { expected: 4, found: 3 }), "{report:?}");
    assert!(report.differences.len() >= 3, "{report:?}");
}

#[tokio::test]
async fn opening_with_a_checksum_does_not_read_the_checkpoint() {
    let table = table();
    append_each(&table, 0..25).await;
    let (storage, counts) = CountingStore::wrap(table.storage());
    let snapshot = DeltaTable::at(storage, seeded_env(1)).snapshot().await.unwrap();
    assert_eq!(snapshot.version(), 24);
    let read: Vec<String> = counts.log().into_iter().filter(|(o, _)| *o == Operation::Get).map(|(_, path)| path).collect();
    assert!(read.iter().all(|path| !path.contains(".checkpoint.")), "{read:?}");
    assert!(read.len() <= 2, "{read:?}");
}

#[tokio::test]
async fn compacted_commits_are_read_in_place_of_the_commits() {
    let base = table();
    let settings =
        UpkeepSettings { when: UpkeepTime::BeforeReturn, compact_every: Some(4), checkpoints: false, ..UpkeepSettings::none() };
    let table = base.with_upkeep(settings);
    append_each(&table, 0..6).await;
    table.overwrite(people(&[90], "b")).run().await.unwrap();
    append_each(&table, 7..11).await;
    let names: Vec<String> = table.storage().list("_delta_log").await.unwrap().into_iter().map(|e| e.path).collect();
    let compacted: Vec<&String> = names.iter().filter(|name| name.ends_with(".compacted.json")).collect();
    assert_eq!(compacted.len(), 2, "{names:?}");
    let expected = [&[90][..], &(7..11).collect::<Vec<_>>()].concat();
    let mut sorted = expected.clone();
    sorted.sort_unstable();
    assert_eq!(latest_ids(&table).await, sorted);
    let (storage, counts) = CountingStore::wrap(table.storage());
    let snapshot = DeltaTable::at(storage, seeded_env(1)).snapshot().await.unwrap();
    assert_eq!(ids(&snapshot).await, sorted);
    let gets = counts.log().into_iter().filter(|(_, path)| path.ends_with(".json")).count();
    assert!(gets < 11, "{:?}", counts.log());
    for version in [3, 5, 6, 7, 9] {
        let old = reopened(&table).snapshot_at(TableVersion::Number(version)).await.unwrap();
        assert_eq!(old.version(), version);
        assert_eq!(
            old.index().await.unwrap().len(),
            if version < 6 { usize::try_from(version).unwrap() + 1 } else { usize::try_from(version).unwrap() - 5 }
        );
    }
    assert_eq!(reopened(&table).snapshot().await.unwrap().tombstones().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_checkpoint_that_was_missed_is_made_up_for() {
    let table = table();
    append_each(&table, 0..10).await;
    let silent = table.with_upkeep(UpkeepSettings::none());
    append_each(&silent, 10..13).await;
    assert!(table.storage().head("_delta_log/00000000000000000010.checkpoint.parquet").await.unwrap().is_none());
    append_each(&reopened(&table), 13..14).await;
    assert!(table.storage().head("_delta_log/00000000000000000013.checkpoint.parquet").await.unwrap().is_some());
    append_each(&reopened(&table), 14..15).await;
    assert!(table.storage().head("_delta_log/00000000000000000014.checkpoint.parquet").await.unwrap().is_none());
}

#[tokio::test]
async fn in_the_background_a_commit_does_not_wait_and_settling_does() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(3));
    append_each(&table, 0..11).await;
    table.settle().await;
    assert!(table.storage().head("_delta_log/_last_checkpoint").await.unwrap().is_some());
    sound(&table, 10).await;
    table.settle().await;
}

#[tokio::test]
async fn no_upkeep_writes_nothing_but_commits() {
    let table = table().with_upkeep(UpkeepSettings::none());
    append_each(&table, 0..21).await;
    table.settle().await;
    let log = table.storage().list("_delta_log").await.unwrap();
    assert_eq!(log.len(), 21, "{log:?}");
}

#[tokio::test]
async fn upkeep_that_fails_fails_no_commit_and_is_made_up_for() {
    let sound_table = table();
    append_each(&sound_table, 0..1).await;
    let mut store = None;
    let storage = sound_table.storage().with_object_store(|inner| {
        let faulty = FaultStore::new(inner);
        store = Some(faulty.clone());
        Arc::new(faulty)
    });
    let store = store.unwrap();
    let faulty = kept(DeltaTable::at(storage, seeded_env(4)));
    for part in [".crc", "checkpoint"] {
        store.inject(FaultRule::new(Fault::DiskFull).on_path_containing(part).on_writes().always());
    }
    append_each(&faulty, 1..13).await;
    assert_eq!(latest_ids(&sound_table).await, (0..13).collect::<Vec<_>>());
    assert!(checksum(&sound_table, 12).await.is_none());
    store.clear();
    append_each(&faulty, 13..14).await;
    sound(&sound_table, 13).await;
    assert!(sound_table.storage().head("_delta_log/00000000000000000013.checkpoint.parquet").await.unwrap().is_some());
}
