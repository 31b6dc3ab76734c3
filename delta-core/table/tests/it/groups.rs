//! Appends that wait for one handle become one version.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_base::{AppTransaction, DomainError, Env, ErrorKind, ManualClock, WriteReport};
use boathouse_delta_table::{DataWriter, DataWriterSettings, DeltaError, DeltaTable, Snapshot, Transaction};
use boathouse_storage::Storage;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore, LatencyProfile, LatencyStore, run_on_clock};
use boathouse_storage::{Operation, seeded_env};

use crate::rows::{append_each, latest_ids, people, reopened, table};

/// A transaction that adds these rows to a version.
async fn adding(snapshot: &Snapshot, ids: &[i64]) -> Transaction {
    let mut writer = DataWriter::new(snapshot, DataWriterSettings::default()).unwrap();
    let mut rows = people(ids, "a");
    while let Some(batch) = rows.next().await {
        writer.write(&batch.unwrap()).await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    Transaction::begin(snapshot).add_all(written.adds).operation("WRITE", []).metrics([("numOutputRows", written.rows)])
}

/// The same table behind a store whose requests take time on a clock of its own, and fail when it is asked for.
fn slow(table: &DeltaTable) -> (DeltaTable, ManualClock, FaultStore) {
    let clock = ManualClock::default();
    let env = Env::new(clock.clone(), 5);
    let mut faults = None;
    let storage = table.storage().with_object_store(|store| {
        let faulty = FaultStore::new(store);
        faults = Some(faulty.clone());
        Arc::new(faulty)
    });
    let storage = LatencyStore::wrap(&storage, env.clone(), LatencyProfile::default());
    (DeltaTable::at(storage, env), clock, faults.unwrap())
}

#[tokio::test]
async fn those_that_arrive_during_a_put_go_together_and_each_gets_its_report() {
    let sound = table();
    append_each(&sound, 0..1).await;
    let (table, clock, faults) = slow(&sound);
    let snapshot = run_on_clock(&clock, table.snapshot()).await.unwrap();
    let mut members = Vec::new();
    for id in 1..=5 {
        members.push(run_on_clock(&clock, adding(&snapshot, &[id, id + 100])).await);
    }
    let before = faults.writes();
    let commits = futures::future::join_all(members.into_iter().map(Transaction::commit));
    let reports: Vec<_> = run_on_clock(&clock, commits).await.into_iter().map(Result::unwrap).collect();
    let placed: Vec<_> = reports.iter().map(|report| (report.version, report.members)).collect();
    assert_eq!(placed, [(1, 1), (2, 4), (2, 4), (2, 4), (2, 4)]);
    assert_eq!(faults.writes() - before, 2, "two puts for five appends");
    let mut ids = latest_ids(&sound).await;
    ids.retain(|id| *id < 100);
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    let history = sound.history(2).await.unwrap();
    let group = &history[0];
    assert_eq!((group.group.len(), group.files_added, group.metrics["numOutputRows"].as_str()), (4, 4, "8"));
    assert!(group.group.iter().all(|member| member.metrics["numOutputRows"] == "2" && member.read_version == Some(0)));
    assert_eq!(group.group.iter().map(|member| &member.txn_id).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!((group.is_blind_append, history[1].group.len()), (Some(true), 0));
}

#[tokio::test]
async fn one_that_conflicts_or_is_invalid_does_not_stop_the_others() {
    let sound = table();
    append_each(&sound, 0..1).await;
    let (table, clock, _) = slow(&sound);
    let stale = run_on_clock(&clock, table.snapshot()).await.unwrap();
    let app = |version| AppTransaction { app_id: "job".into(), version, payload: Some(version.to_string()) };
    let first = run_on_clock(&clock, adding(&stale, &[1])).await;
    let good = run_on_clock(&clock, adding(&stale, &[2])).await.app_transaction(&app(7)).unwrap();
    let twice = run_on_clock(&clock, adding(&stale, &[3])).await.app_transaction(&app(7)).unwrap();
    let other = run_on_clock(&clock, adding(&stale, &[4])).await;
    let invalid = other.clone().set_metadata(stale.metadata().clone()).set_metadata(stale.metadata().clone());
    let commits = [first, good, twice, invalid, other].map(Transaction::commit);
    let reports = run_on_clock(&clock, futures::future::join_all(commits)).await;
    let found: Vec<_> = reports.iter().map(|r| r.as_ref().map(|r| r.version).map_err(DomainError::kind)).collect();
    assert_eq!(found, [Ok(1), Ok(2), Err(ErrorKind::Conflict), Err(ErrorKind::Invalid), Ok(2)]);
    assert_eq!(latest_ids(&sound).await, [0, 1, 2, 4]);
    let known = sound.snapshot().await.unwrap().app_transaction("job").await.unwrap().unwrap();
    assert_eq!((known.version, known.payload.as_deref()), (7, Some("7")), "the payload of a member is found");
}

#[tokio::test]
async fn a_lost_reply_to_a_group_doubles_nothing_and_an_unknown_outcome_is_told_to_all() {
    for fault in [Fault::LostReply, Fault::FailAfter] {
        let sound = table();
        append_each(&sound, 0..1).await;
        let (table, clock, faults) = slow(&sound);
        let snapshot = run_on_clock(&clock, table.snapshot()).await.unwrap();
        let mut members = Vec::new();
        for id in 1..=4 {
            members.push(run_on_clock(&clock, adding(&snapshot, &[id])).await);
        }
        faults.inject(FaultRule::new(fault).on(Operation::PutIfAbsent).skip(1));
        let commits = futures::future::join_all(members.into_iter().map(Transaction::commit));
        let reports = run_on_clock(&clock, commits).await;
        assert!(reports.iter().all(Result::is_ok), "{fault:?}: {reports:?}");
        assert_eq!(latest_ids(&sound).await, [0, 1, 2, 3, 4], "{fault:?}");
    }
    let sound = table();
    append_each(&sound, 0..1).await;
    let (table, clock, faults) = slow(&sound);
    let snapshot = run_on_clock(&clock, table.snapshot()).await.unwrap();
    let mut members = Vec::new();
    for id in 1..=3 {
        members.push(run_on_clock(&clock, adding(&snapshot, &[id])).await);
    }
    let second = "00000000000000000002.json";
    faults.inject(FaultRule::new(Fault::FailAfter).on(Operation::PutIfAbsent).on_path_containing(second).always());
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::Get).on_path_containing(second).always());
    let commits = futures::future::join_all(members.into_iter().map(Transaction::commit));
    let reports = run_on_clock(&clock, commits).await;
    let unknown = |r: &Result<_, DeltaError>| matches!(r, Err(DeltaError::CommitUnknown { version: 2, .. }));
    assert!(reports[0].is_ok() && reports[1..].iter().all(unknown), "{reports:?}");
    assert_eq!(latest_ids(&sound).await, [0, 1, 2, 3], "it had happened");
}

#[tokio::test]
async fn a_member_that_is_dropped_does_not_hold_up_the_others() {
    let sound = table();
    append_each(&sound, 0..1).await;
    let (table, clock, _) = slow(&sound);
    let snapshot = run_on_clock(&clock, table.snapshot()).await.unwrap();
    let first = run_on_clock(&clock, adding(&snapshot, &[1])).await;
    let second = run_on_clock(&clock, adding(&snapshot, &[2])).await;
    let mut leading = Box::pin(first.commit());
    assert!(futures::poll!(leading.as_mut()).is_pending());
    let mut waiting = Box::pin(second.commit());
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    drop(leading);
    let report = run_on_clock(&clock, waiting).await.unwrap();
    assert_eq!(report.version, 1);
    assert_eq!(latest_ids(&sound).await, [0, 2]);
    // The handle is free again.
    let third = run_on_clock(&clock, adding(&snapshot, &[3])).await;
    assert_eq!(run_on_clock(&clock, third.commit()).await.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_append_through_one_handle_lose_and_double_nothing() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(1));
    append_each(&table, 0..1).await;
    let tasks: Vec<_> = (0..8_i64)
        .map(|task| {
            let table = table.clone();
            tokio::spawn(async move {
                let mut reports: Vec<WriteReport> = Vec::new();
                for nth in 0..20 {
                    reports.push(table.append(people(&[1 + task * 20 + nth], "a")).run().await.unwrap());
                }
                reports
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        let reports = task.await.unwrap();
        let own: Vec<u64> = reports.iter().map(|report| report.version).collect();
        assert!(own.windows(2).all(|w| w[0] < w[1]), "each task sees its own order: {own:?}");
        versions.extend(own);
    }
    assert_eq!(latest_ids(&table).await, (0..=160).collect::<Vec<_>>());
    let newest = reopened(&table).snapshot().await.unwrap().version();
    assert_eq!(versions.iter().copied().max(), Some(newest));
    assert!(newest <= 160);
}

#[tokio::test]
async fn an_append_that_wants_to_be_alone_is() {
    let sound = table();
    append_each(&sound, 0..1).await;
    let (table, clock, _) = slow(&sound);
    let snapshot = run_on_clock(&clock, table.snapshot()).await.unwrap();
    let mut members = Vec::new();
    for id in 1..=3 {
        members.push(run_on_clock(&clock, adding(&snapshot, &[id])).await.alone());
    }
    let commits = futures::future::join_all(members.into_iter().map(Transaction::commit));
    let reports: Vec<_> = run_on_clock(&clock, commits).await.into_iter().map(Result::unwrap).collect();
    assert!(reports.iter().all(|report| report.members == 1));
    assert_eq!(reports.iter().map(|report| report.version).collect::<BTreeSet<_>>(), [1, 2, 3].into());
}
