//! A store that fails at every step: no partial commit, nothing doubled.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_table::{DeltaError, DeltaTable};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore, RandomFaults};
use boathouse_storage::{Operation, Storage, seeded_env};

use crate::rows::{append_each, latest_ids, people, table};

/// A table with rows 0 and 1, seen through a store that fails on demand.
async fn prepared() -> (DeltaTable, FaultStore, DeltaTable) {
    let sound = table();
    append_each(&sound, 0..2).await;
    let (mut fault, storage) = (None, sound.storage().clone());
    let wrapped = storage.with_object_store(|store| {
        let faulty = FaultStore::new(store);
        fault = Some(faulty.clone());
        std::sync::Arc::new(faulty)
    });
    (sound, fault.unwrap(), DeltaTable::at(wrapped, seeded_env(3)))
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_the_write_done_once_or_not_at_all() {
    let faults = [
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::LostReply,
        Fault::DiskFull,
        Fault::Denied,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];
    for fault in faults {
        let mut at = 0;
        loop {
            let (sound, store, faulty) = prepared().await;
            store.inject(FaultRule::new(fault).skip(at));
            let result = faulty.append(people(&[7], "a")).run().await;
            let hit = !store.injected().is_empty();
            let rows = latest_ids(&sound).await;
            let known = matches!(&result, Err(DeltaError::CommitUnknown { .. }));
            match &result {
                Ok(report) => {
                    assert_eq!(rows, [0, 1, 7], "{fault:?} at request {at}: reported as done");
                    assert_eq!(report.version, 2);
                }
                Err(_) if known || store.is_crashed() => {
                    assert!(rows == [0, 1] || rows == [0, 1, 7], "{fault:?} at request {at}: {rows:?}");
                }
                Err(error) => assert_eq!(rows, [0, 1], "{fault:?} at request {at}: reported as failed with {error}"),
            }
            if fault == Fault::DiskFull
                && let Err(error) = &result
                && !store.injected()[0].path.is_empty()
            {
                assert!(matches!(error.kind(), ErrorKind::Exhausted | ErrorKind::Unavailable), "{error}");
            }
            // Whatever happened, the next writer goes on.
            append_each(&sound, 8..9).await;
            if !hit {
                break;
            }
            at += 1;
        }
        assert!(at >= 3, "a write makes several requests");
    }
}

#[tokio::test]
async fn a_lost_reply_to_a_commit_is_recognised_as_our_own() {
    for fault in [Fault::LostReply, Fault::FailAfter] {
        let (sound, store, faulty) = prepared().await;
        store.inject(FaultRule::new(fault).on(Operation::PutIfAbsent));
        let report = faulty.append(people(&[7], "a")).run().await.unwrap();
        assert_eq!((report.version, report.attempts), (2, 1), "{fault:?}");
        assert_eq!(latest_ids(&sound).await, [0, 1, 7], "{fault:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    let (sound, store, faulty) = prepared().await;
    let before = sound.storage().list("").await.unwrap();
    store.inject(FaultRule::new(Fault::DiskFull).on_path_containing("part-").always());
    let error = faulty.append(people(&[7], "a")).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(sound.storage().list("").await.unwrap(), before);
    store.clear();
    store.inject(FaultRule::new(Fault::DiskFull).on(Operation::PutIfAbsent).always());
    let error = faulty.append(people(&[7], "a")).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(sound.storage().list("").await.unwrap(), before, "the data file of the failed commit is deleted again");
}

#[tokio::test]
async fn an_unreachable_store_after_the_commit_is_reported_as_unknown() {
    let (sound, store, faulty) = prepared().await;
    store.inject(FaultRule::new(Fault::FailAfter).on(Operation::PutIfAbsent).always());
    store.inject(FaultRule::new(Fault::FailBefore).on(Operation::Get).on_path_containing("00000000000000000002.json").always());
    let error = faulty.append(people(&[7], "a")).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CommitUnknown { version: 2, .. }), "{error}");
    // It had happened: so its files must be there.
    assert_eq!(latest_ids(&sound).await, [0, 1, 7]);
}

#[tokio::test]
async fn a_commit_that_never_got_an_answer_may_still_arrive_and_is_reported_as_unknown() {
    let (sound, store, faulty) = prepared().await;
    store.inject(FaultRule::new(Fault::FailBefore).on(Operation::PutIfAbsent).always());
    let before = sound.storage().list("").await.unwrap().len();
    let error = faulty.append(people(&[7], "a")).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CommitUnknown { version: 2, .. }), "{error}");
    assert_eq!(latest_ids(&sound).await, [0, 1]);
    // The request may be on its way yet: so its file must stay.
    assert_eq!(sound.storage().list("").await.unwrap().len(), before + 1);
}

#[tokio::test]
async fn a_checkpoint_that_fails_does_not_fail_the_commit() {
    let (sound, store, faulty) = prepared().await;
    append_each(&sound, 2..10).await;
    store.inject(FaultRule::new(Fault::DiskFull).on_path_containing("checkpoint").on_writes().always());
    assert_eq!(faulty.append(people(&[10], "a")).run().await.unwrap().version, 10);
    assert_eq!(latest_ids(&sound).await, (0..11).collect::<Vec<_>>());
    assert!(sound.storage().head("_delta_log/_last_checkpoint").await.unwrap().is_none());
    append_each(&sound, 11..12).await;
}

#[tokio::test]
async fn random_faults_never_double_or_lose_a_write_that_was_reported() {
    for seed in 0..8 {
        let storage = Storage::memory();
        let sound = DeltaTable::at(storage.clone(), seeded_env(seed));
        append_each(&sound, 0..1).await;
        let mut fault = None;
        let wrapped = storage.with_object_store(|store| {
            let faulty = FaultStore::new(store);
            fault = Some(faulty.clone());
            std::sync::Arc::new(faulty)
        });
        fault.unwrap().inject_at_random(seed, RandomFaults::default());
        let faulty = DeltaTable::at(wrapped, seeded_env(seed + 100));
        let (mut done, mut unknown) = (vec![0], Vec::new());
        for id in 1..25 {
            match faulty.append(people(&[id], "a")).run().await {
                Ok(_) => done.push(id),
                Err(DeltaError::CommitUnknown { .. }) => unknown.push(id),
                Err(_) => {}
            }
        }
        let found = latest_ids(&sound).await;
        let mut once = found.clone();
        once.dedup();
        assert_eq!(found, once, "seed {seed}: a write was doubled");
        assert!(done.iter().all(|id| found.contains(id)), "seed {seed}: {done:?} of {found:?}");
        assert!(found.iter().all(|id| done.contains(id) || unknown.contains(id)), "seed {seed}: {done:?} {unknown:?} {found:?}");
    }
}

#[tokio::test]
async fn a_commit_that_was_cleaned_away_before_its_outcome_was_known_is_unknown_and_not_written_again() {
    let (sound, store, faulty) = prepared().await;
    let commit = "_delta_log/00000000000000000002.json";
    // The put is done and its reply lost; so is the first look-up. Meanwhile others go on, and the log is cleaned.
    store.inject(FaultRule::new(Fault::FailAfter).on(Operation::PutIfAbsent).on_path_containing(commit));
    store.inject(FaultRule::new(Fault::FailBefore).on(Operation::Get).on_path_containing(commit));
    let clock = boathouse_base::ManualClock::default();
    let slow = DeltaTable::at(faulty.storage().clone(), boathouse_base::Env::new(clock.clone(), 1));
    let mut write = Box::pin(slow.append(people(&[7], "a")).run());
    while store.injected().len() < 2 {
        assert!(futures::poll!(write.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    append_each(&sound, 8..9).await;
    sound.checkpoint().await.unwrap();
    for version in 0..3 {
        sound.storage().delete(&format!("_delta_log/{version:020}.json")).await.unwrap();
    }
    let error = boathouse_storage::testing::run_on_clock(&clock, write).await.unwrap_err();
    assert!(matches!(error, DeltaError::CommitUnknown { version: 2, .. }), "{error}");
    assert_eq!(latest_ids(&sound).await, [0, 1, 7, 8], "it had happened, once");
    assert!(sound.storage().head(commit).await.unwrap().is_none(), "it was not written again");
}

#[tokio::test]
async fn a_version_that_was_read_long_ago_is_not_followed_by_one_that_was_cleaned_away() {
    use boathouse_delta_table::Transaction;
    let clock = boathouse_base::ManualClock::default();
    let table = DeltaTable::at(Storage::memory(), boathouse_base::Env::new(clock.clone(), 1));
    append_each(&table, 0..2).await;
    let stale = table.snapshot().await.unwrap();
    let file = stale.files(None).await.unwrap()[0].add().as_ref().clone();
    let append =
        || Transaction::begin(&stale).add(boathouse_delta_table::protocol::action::Add { path: "copy".into(), ..file.clone() });
    append_each(&table, 2..4).await;
    table.checkpoint().await.unwrap();
    for version in 0..3 {
        table.storage().delete(&format!("_delta_log/{version:020}.json")).await.unwrap();
    }
    clock.advance(std::time::Duration::from_secs(3600));
    let error = append().commit().await.unwrap_err();
    assert!(matches!(error, DeltaError::BaseCleaned { version: 1, newest: 3, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_back_right_now_stays_for_whoever_wrote_the_same() {
    const CHECKPOINT: &str = "_delta_log/00000000000000000001.checkpoint.parquet";
    let (sound, store, faulty) = prepared().await;
    assert_eq!(latest_ids(&faulty).await, [0, 1]);
    sound.checkpoint().run().await.unwrap();
    // The first look at it is for what the table was before.
    store.inject(FaultRule::new(Fault::FailAfter).on(Operation::Get).on_path_containing(".checkpoint.parquet").skip(1));
    let error = faulty.checkpoint().run().await.unwrap_err();
    assert_eq!((error.kind(), store.injected().len()), (ErrorKind::Unavailable, 1), "{error}");
    assert!(sound.storage().head(CHECKPOINT).await.unwrap().is_some());
    assert_eq!(latest_ids(&sound).await, [0, 1]);
}
