//! Crashes, lost replies and full disks at every request: nothing lost, nothing twice.

use std::sync::Arc;

use boathouse_base::{ErrorKind, Offset, ReadLimit, StreamSource};
use boathouse_storage::testing::{CountingStore, Fault, FaultRule, FaultStore, RandomFaults};
use boathouse_storage::{Operation, Storage};
use serde_json::{Value, json};

use crate::support::{Site, files, quarantine, rows, step};

fn faulty(storage: &Storage) -> (Storage, FaultStore) {
    let mut faults = None;
    let wrapped = storage.with_object_store(|inner| {
        let store = FaultStore::new(inner);
        faults = Some(store.clone());
        Arc::new(store)
    });
    (wrapped, faults.unwrap())
}

/// Three days land one after the other; whoever fails opens anew and goes on from the last position that
/// was kept downstream together with its rows.
async fn three_days(site: &Site, faults: &FaultStore) -> (Vec<Value>, usize) {
    let (mut found, mut position, mut failures) = (Vec::new(), None::<Offset>, 0);
    for day in 0..3 {
        // Whoever lands files has no part in the faults of the reader.
        for part in 0..2 {
            let text = format!("{{\"id\":1{day}{part}}}\n{{\"d{day}\":true}}\nbroken\n");
            site.landing.put(&format!("{}-{part}.json", 9 - day), text).await.unwrap();
        }
        loop {
            match try_drain(site, &mut position, &mut found).await {
                Ok(()) => break,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Exhausted), "{error}");
                    failures += 1;
                    assert!(failures < 500, "no way forward: {error}");
                    if faults.is_crashed() {
                        faults.revive();
                    }
                }
            }
        }
    }
    (found, failures)
}

async fn try_drain(site: &Site, position: &mut Option<Offset>, found: &mut Vec<Value>) -> boathouse_base::Result<()> {
    let source = site.describe().open().await?;
    while let Some(planned) = source.plan(position.as_ref(), files(3)).await? {
        let batches = source.read(position.as_ref(), &planned.end).await?.collect().await?;
        found.extend(rows(&batches));
        *position = Some(planned.end);
    }
    Ok(())
}

/// Every row once, every bad line once, and a new process reads the same again.
async fn check(site: &Site, found: &[Value]) {
    let mut ids: Vec<i64> = found.iter().filter_map(|row| row["id"].as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [100, 101, 110, 111, 120, 121]);
    for day in 0..3 {
        let column = format!("d{day}");
        assert_eq!(found.iter().filter(|row| row[&column] == json!(true)).count(), 2, "{found:?}");
    }
    assert_eq!(found.len(), 12);
    let source = site.open().await;
    let (batches, end) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(rows(&batches), found);
    assert_eq!(source.plan(Some(&end), ReadLimit::default()).await.unwrap(), None);
    assert_eq!(quarantine(&source).await.len(), 6);
}

#[tokio::test]
async fn a_crash_or_a_full_disk_at_any_write_of_the_state_loses_and_doubles_nothing() {
    let healthy = Site::new();
    let (state, counted) = faulty(&healthy.state);
    let (found, failures) = three_days(&Site { landing: healthy.landing.clone(), state }, &counted).await;
    assert_eq!(failures, 0);
    check(&healthy, &found).await;
    assert!(counted.writes() >= 10, "{}", counted.writes());
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostReply, Fault::FailAfter, Fault::DiskFull] {
        for write in 0..counted.writes() {
            let site = Site::new();
            let (state, faults) = faulty(&site.state);
            faults.inject(FaultRule::new(fault).on_writes().skip(write));
            let (found, _) = three_days(&Site { landing: site.landing.clone(), state }, &faults).await;
            assert_eq!(faults.injected().len(), 1, "{fault:?} at write {write}");
            check(&site, &found).await;
        }
    }
}

#[tokio::test]
async fn random_faults_of_the_state_lose_and_double_nothing() {
    for seed in 0..40 {
        let site = Site::new();
        let (state, faults) = faulty(&site.state);
        faults.inject_at_random(seed, RandomFaults::default());
        let (found, failures) = three_days(&Site { landing: site.landing.clone(), state }, &faults).await;
        println!("seed {seed}: {} faults, {failures} failures", faults.injected().len());
        check(&site, &found).await;
    }
}

#[tokio::test]
async fn a_landing_folder_that_does_not_answer_is_unavailable_and_the_next_try_succeeds() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}\n").await;
    let (landing, faults) = faulty(&site.landing);
    let flaky = Site { landing, state: site.state.clone() };
    let source = flaky.describe().open().await.unwrap();
    for operation in [Operation::List, Operation::Get] {
        faults.inject(FaultRule::new(Fault::FailBefore).on(operation));
        let error = source.plan(None, ReadLimit::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    // What planning fetched is still there: the first read asks nobody.
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::Get));
    assert_eq!(source.read(None, &planned.end).await.unwrap().collect().await.unwrap()[0].num_rows(), 1);
    let error = source.read(None, &planned.end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(source.read(None, &planned.end).await.unwrap().collect().await.unwrap()[0].num_rows(), 1);
}

#[tokio::test]
async fn a_plan_costs_one_list_of_the_folder_and_a_backlog_none() {
    let site = Site::new();
    for n in 0..10 {
        site.land(&format!("{n}.json"), "{\"id\":1}\n").await;
    }
    let (landing, counts) = CountingStore::wrap(&site.landing);
    let source = Site { landing, state: site.state.clone() }.open().await;
    let (_, end) = step(&source, None, files(4)).await.unwrap();
    assert_eq!((counts.counts().of(Operation::List), counts.counts().of(Operation::Get)), (1, 10), "{:?}", counts.log());
    counts.reset();
    let (_, end) = step(&source, Some(&end), files(4)).await.unwrap();
    assert_eq!(counts.counts().total(), 0, "the files are known, and their bytes still here: {:?}", counts.log());
    step(&source, Some(&end), files(4)).await.unwrap();
    assert_eq!((counts.counts().of(Operation::List), counts.counts().of(Operation::Get)), (1, 0), "{:?}", counts.log());
}
