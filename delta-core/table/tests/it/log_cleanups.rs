//! Cleaning the log: what is retained still reads, what is not is gone.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{DomainError, Env, ErrorKind, ManualClock, TableVersion};
use boathouse_delta_table::{CheckpointForm, DeltaTable};
use boathouse_storage::Storage;

use crate::rows::{append_each, ids, kept, latest_ids, people, reopened, table};

/// Files of a memory store are as old as the store says: real time. So retention is counted back from a clock that is
/// ahead by these days.
fn later(table: &DeltaTable, days: i64) -> DeltaTable {
    let now_us = table.env().now_us() + days * 86_400_000_000;
    kept(DeltaTable::at(table.storage().clone(), Env::new(ManualClock::starting_at_us(now_us), 9)))
}

async fn log(table: &DeltaTable) -> Vec<String> {
    let all = table.storage().list("_delta_log").await.unwrap();
    all.into_iter().map(|entry| entry.path.trim_start_matches("_delta_log/").to_owned()).collect()
}

async fn reads(table: &DeltaTable, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        let snapshot = reopened(table).snapshot_at(TableVersion::Number(version)).await.unwrap();
        assert_eq!(ids(&snapshot).await, (0..=i64::try_from(version).unwrap()).collect::<Vec<_>>(), "version {version}");
    }
}

#[tokio::test]
async fn within_the_retention_nothing_goes() {
    let table = table();
    append_each(&table, 0..25).await;
    let before = log(&table).await;
    let report = table.clean_log().run().await.unwrap();
    assert_eq!((report.files.len(), report.oldest_version), (0, None));
    assert_eq!(log(&table).await, before);
    reads(&table, 0..=24).await;
}

#[tokio::test]
async fn after_the_retention_the_last_checkpoint_and_all_after_it_stay() {
    let table = table();
    append_each(&table, 0..25).await;
    let old = later(&table, 40);
    let dry = old.clean_log().dry_run().await.unwrap();
    assert_eq!((dry.oldest_version, dry.deleted), (Some(20), false));
    assert!(log(&table).await.contains(&"00000000000000000000.json".to_owned()), "a dry run deletes nothing");
    let report = old.clean_log().run().await.unwrap();
    assert_eq!((&report.files, report.bytes, report.deleted), (&dry.files, dry.bytes, true));
    // 20 commits, 20 checksums, one checkpoint.
    assert_eq!(report.files.len(), 41, "{:?}", report.files);
    let left = log(&table).await;
    for gone in ["00000000000000000019.json", "00000000000000000019.crc", "00000000000000000010.checkpoint.parquet"] {
        assert!(!left.contains(&gone.to_owned()), "{gone}");
    }
    assert!(left.contains(&"00000000000000000020.json".to_owned()));
    reads(&table, 20..=24).await;
    let error = reopened(&table).snapshot_at(TableVersion::Number(19)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(latest_ids(&table).await.len(), 25);
    assert_eq!(old.clean_log().run().await.unwrap().files.len(), 0, "nothing is left to do");
    append_each(&reopened(&table), 25..27).await;
    reads(&table, 20..=26).await;
}

#[tokio::test]
async fn writers_clean_after_a_checkpoint_unless_the_table_says_no() {
    for (enabled, cleaned) in [("true", true), ("false", false)] {
        let table = table();
        table.append(people(&[0], "a")).property("delta.enableExpiredLogCleanup", enabled).run().await.unwrap();
        append_each(&table, 1..19).await;
        append_each(&later(&table, 40), 19..21).await;
        let left = log(&table).await;
        assert_eq!(left.contains(&"00000000000000000000.json".to_owned()), !cleaned, "{enabled}");
        reads(&table, 20..=20).await;
        assert_eq!(later(&table, 40).clean_log().run().await.unwrap().files.is_empty(), cleaned, "by hand it is cleaned anyway");
    }
}

#[tokio::test]
async fn the_log_before_a_damaged_checkpoint_is_kept() {
    let table = table();
    append_each(&table, 0..25).await;
    let path = "_delta_log/00000000000000000020.checkpoint.parquet";
    let whole = table.storage().get(path).await.unwrap();
    table.storage().put(path, whole.slice(..whole.len() / 2)).await.unwrap();
    let report = later(&table, 40).clean_log().run().await.unwrap();
    assert_eq!(report.oldest_version, Some(10));
    reads(&table, 10..=24).await;
}

#[tokio::test]
async fn sidecars_and_uuid_checkpoints_go_when_nobody_names_them() {
    let table = table();
    let first = table.append(people(&[0], "a")).create_if_absent().property("delta.feature.v2Checkpoint", "supported");
    first.property("delta.checkpointPolicy", "v2").run().await.unwrap();
    append_each(&table, 1..25).await;
    let sidecars = |names: &[String]| names.iter().filter(|name| name.starts_with("_sidecars/")).count();
    let before = log(&table).await;
    assert_eq!(sidecars(&before), 2, "{before:?}");
    assert_eq!(before.iter().filter(|name| name.contains(".checkpoint.")).count(), 2);
    table.storage().put("_delta_log/_sidecars/orphan.parquet", "of a checkpoint that was never finished").await.unwrap();
    let report = later(&table, 40).clean_log().run().await.unwrap();
    assert_eq!(report.oldest_version, Some(20));
    let left = log(&table).await;
    assert_eq!(sidecars(&left), 1, "{left:?}");
    assert!(left.iter().all(|name| !name.starts_with("00000000000000000010.")), "{left:?}");
    reads(&table, 20..=24).await;
    // The checkpoint that is left is sound on its own.
    table.storage().delete("_delta_log/00000000000000000020.json").await.unwrap();
    table.storage().delete("_delta_log/00000000000000000020.crc").await.unwrap();
    reads(&table, 20..=24).await;
}

#[tokio::test]
async fn a_writer_that_cleans_leaves_a_classic_file_for_clients_without_v2() {
    let table = table();
    let first = table.append(people(&[0], "a")).create_if_absent().property("delta.feature.v2Checkpoint", "supported");
    first.property("delta.checkpointPolicy", "v2").run().await.unwrap();
    append_each(&table, 1..19).await;
    append_each(&later(&table, 40), 19..21).await;
    let left = log(&table).await;
    assert!(left.contains(&"00000000000000000020.checkpoint.parquet".to_owned()), "{left:?}");
    reads(&table, 20..=20).await;
}

#[tokio::test]
async fn a_shorter_retention_is_the_callers_decision() {
    let table = table();
    append_each(&table, 0..5).await;
    table.checkpoint().form(CheckpointForm::Classic).await.unwrap();
    append_each(&table, 5..7).await;
    let tomorrow = later(&table, 1);
    assert_eq!(tomorrow.clean_log().run().await.unwrap().files.len(), 0);
    let report = tomorrow.clean_log().retention(Duration::ZERO).run().await.unwrap();
    assert_eq!(report.oldest_version, Some(4));
    reads(&table, 4..=6).await;
    assert_eq!(table.clean_log().retention(Duration::ZERO).run().await.unwrap().files.len(), 0, "today is not over");
}

#[tokio::test]
async fn a_crash_at_any_request_of_the_cleaning_leaves_what_is_retained() {
    use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::CrashBefore, Fault::CrashAfter] {
        for at in 0..80 {
            let table = table();
            append_each(&table, 0..12).await;
            let mut store = None;
            let storage: Storage = table.storage().with_object_store(|inner| {
                let faulty = FaultStore::new(inner);
                store = Some(faulty.clone());
                Arc::new(faulty)
            });
            let store = store.unwrap();
            store.inject(FaultRule::new(fault).skip(at));
            let now_us = table.env().now_us() + 40 * 86_400_000_000;
            let faulty = DeltaTable::at(storage, Env::new(ManualClock::starting_at_us(now_us), 9));
            let cleaned = faulty.clean_log().run().await;
            reads(&table, 10..=11).await;
            if store.injected().is_empty() {
                cleaned.unwrap();
                break;
            }
            assert!(at < 79);
        }
    }
}

#[tokio::test]
async fn what_is_protected_goes_as_a_whole_or_not_at_all() {
    for (before, cleaned) in [("15", true), ("20", true), ("21", false), ("a number", false)] {
        let table = table();
        let rows = table.append(people(&[0], "a")).property("delta.feature.checkpointProtection", "supported");
        rows.property("delta.requireCheckpointProtectionBeforeVersion", before).run().await.unwrap();
        append_each(&table, 1..25).await;
        let listed = log(&table).await;
        let report = later(&table, 40).clean_log().run().await.unwrap();
        assert_eq!(report.oldest_version, cleaned.then_some(20), "before version {before}");
        assert_eq!(log(&table).await == listed, !cleaned, "before version {before}");
        reads(&table, if cleaned { 20..=24 } else { 0..=24 }).await;
    }
}
