//! A checkpoint whose store fails.

use std::sync::Arc;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::Storage;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};

use crate::support::{Rig, at, drain};

const PUSHES: [&[i64]; 5] = [&[10, 12, 3], &[25, 26], &[9, 14], &[41, 70], &[120]];

fn rig_over(store: &FaultStore) -> Rig {
    Rig { checkpoint: store.storage(), ..Rig::new() }
}

fn fresh() -> FaultStore {
    FaultStore::new(Arc::clone(Storage::memory().object_store()))
}

/// Steps again after a failure, as a supervisor would; every second time with a new run.
async fn run(rig: &Rig) -> u64 {
    let mut failures = 0_u64;
    let mut query = None;
    for push in PUSHES {
        rig.push(at(push));
        loop {
            assert!(failures < 10, "it does not recover");
            let mut running = match query.take() {
                Some(running) => running,
                None => match rig.windowed().open().await {
                    Ok(running) => running,
                    Err(_) => {
                        failures += 1;
                        continue;
                    }
                },
            };
            match drain(&mut running).await {
                Ok(_) => {
                    query = Some(running);
                    break;
                }
                Err(_) => {
                    failures += 1;
                    query = failures.is_multiple_of(2).then_some(running);
                }
            }
        }
    }
    failures
}

#[tokio::test]
async fn any_write_of_the_checkpoint_may_fail_and_no_row_is_lost_or_doubled() {
    let calm = fresh();
    let expected = rig_over(&calm);
    assert_eq!(run(&expected).await, 0);
    assert!(expected.windows().len() >= 4);
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        for n in 0..calm.writes() {
            let store = fresh();
            store.inject(FaultRule::new(fault).on_writes().skip(n));
            let rig = rig_over(&store);
            run(&rig).await;
            assert_eq!(store.injected().len(), 1, "{fault:?} of write {n}");
            assert_eq!(rig.windows(), expected.windows(), "{fault:?} of write {n}");
            assert_eq!(rig.sink.epochs().len(), expected.sink.epochs().len(), "{fault:?} of write {n}");
        }
    }
}

#[tokio::test]
async fn what_comes_after_the_commit_is_advice_and_its_failure_no_error() {
    let store = fresh();
    let rig = rig_over(&store);
    let mut query = rig.windowed().open().await.unwrap();
    store.inject(FaultRule::new(Fault::FailBefore).on_path_containing("position.json").always());
    for n in 0..3 {
        rig.push(at(&[n]));
        drain(&mut query).await.unwrap();
    }
    assert_eq!(query.last_epoch(), Some(5), "each moves the watermark, so that an epoch without rows follows");
    store.clear();
    drop(query);
    assert_eq!(rig.windowed().open().await.unwrap().last_epoch(), Some(5), "the sink knows");
}

#[tokio::test]
async fn a_full_disk_stops_the_epoch_before_its_commit_with_its_kind() {
    let store = fresh();
    let rig = rig_over(&store);
    let mut query = rig.windowed().open().await.unwrap();
    store.inject(FaultRule::new(Fault::DiskFull).on_path_containing("state/").always());
    rig.push(at(&[1]));
    let error = query.step().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(error.to_string().contains("write the state of the query `test`"), "{error}");
    assert!(rig.sink.epochs().is_empty());
    store.clear();
    assert_eq!(drain(&mut query).await.unwrap(), 2, "the rows, and the watermark");
}
