use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{DomainError, Env, ErrorKind, ManualClock};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore, RandomFaults, run_on_clock};
use boathouse_storage::{Operation, Storage};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

fn store() -> (FaultStore, Storage, Storage) {
    let below = Storage::memory();
    let faults = FaultStore::new(Arc::clone(below.object_store()));
    let storage = faults.storage();
    (faults, storage, below)
}

#[tokio::test]
async fn a_request_that_fails_before_leaves_nothing_and_one_that_fails_after_is_done() {
    let (faults, storage, below) = store();
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::Put));
    assert_eq!(storage.put("a", "1").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(below.get_optional("a").await.unwrap(), None);
    faults.inject(FaultRule::new(Fault::FailAfter).on(Operation::Put));
    assert_eq!(storage.put("a", "1").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(below.get("a").await.unwrap(), "1");
    storage.put("a", "2").await.unwrap();
    assert_eq!(
        faults.injected().iter().map(|f| (f.request, f.fault)).collect::<Vec<_>>(),
        [(0, Fault::FailBefore), (1, Fault::FailAfter)]
    );
}

#[tokio::test]
async fn a_lost_reply_makes_a_writer_meet_its_own_object() {
    let (faults, storage, below) = store();
    faults.inject(FaultRule::new(Fault::LostReply).on(Operation::PutIfAbsent));
    assert_eq!(storage.put_if_absent("a", "1").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(below.get("a").await.unwrap(), "1");
}

#[tokio::test]
async fn a_full_disk_and_missing_permissions_have_their_kinds() {
    let (faults, storage, below) = store();
    faults.inject(FaultRule::new(Fault::DiskFull).on_writes().on_path_containing("log/").always());
    faults.inject(FaultRule::new(Fault::Denied).on(Operation::Get).always());
    let full = storage.put("log/1", "1").await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Exhausted);
    assert!(full.to_string().contains("the disk is full"), "{full}");
    storage.put("data/1", "1").await.unwrap();
    assert_eq!(storage.get("data/1").await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(below.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_crash_nothing_works_until_it_is_revived() {
    let (faults, storage, below) = store();
    faults.inject(FaultRule::new(Fault::CrashAfter).on_writes().skip(1));
    storage.put("a", "1").await.unwrap();
    assert!(storage.put("b", "2").await.is_err());
    assert!(storage.put("c", "3").await.is_err());
    assert!(storage.get("a").await.is_err());
    assert!(storage.list("").await.is_err());
    assert!(storage.delete("a").await.is_err());
    assert!(faults.is_crashed());
    assert_eq!(below.list("").await.unwrap().len(), 2, "b was done, c was not");
    faults.revive();
    assert_eq!(storage.get("b").await.unwrap(), "2");
    assert_eq!(faults.writes(), 2);
}

#[tokio::test]
async fn a_listing_fails_before_the_first_or_after_the_last_object() {
    let (faults, storage, _) = store();
    storage.put("a", "1").await.unwrap();
    let list = || storage.object_store().list(None).map_ok(|meta| meta.location.to_string()).try_collect::<Vec<_>>();
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::List));
    assert!(list().await.is_err());
    faults.inject(FaultRule::new(Fault::FailAfter).on(Operation::List));
    let mut listing = storage.object_store().list(None);
    assert!(listing.try_next().await.unwrap().is_some());
    assert!(listing.try_next().await.is_err());
    assert_eq!(list().await.unwrap(), ["a"]);
}

#[tokio::test]
async fn an_upload_in_parts_appears_only_when_it_is_completed() {
    let (faults, storage, below) = store();
    let path = Path::from("big");
    for (fault, appears) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        faults.inject(FaultRule::new(fault).on(Operation::CompleteUpload));
        let mut upload = storage.object_store().put_multipart(&path).await.unwrap();
        upload.put_part(PutPayload::from("12")).await.unwrap();
        assert!(upload.complete().await.is_err());
        assert_eq!(below.get_optional("big").await.unwrap().is_some(), appears);
        faults.revive();
    }
    faults.inject(FaultRule::new(Fault::DiskFull).on(Operation::UploadPart));
    let mut upload = storage.object_store().put_multipart(&path).await.unwrap();
    assert!(upload.put_part(PutPayload::from("12")).await.is_err());
}

#[tokio::test]
async fn a_delay_passes_on_the_clock_of_the_test() {
    let clock = ManualClock::default();
    let env = Env::new(clock.clone(), 1);
    let faults = FaultStore::new(Arc::clone(Storage::memory().object_store())).with_env(env.clone());
    faults.inject(FaultRule::new(Fault::Delay(Duration::from_secs(3))).on(Operation::Put));
    let storage = faults.storage();
    run_on_clock(&clock, async {
        storage.put("a", "1").await.unwrap();
        storage.put("b", "2").await.unwrap();
    })
    .await;
    assert_eq!(env.monotonic_us(), 3_000_000);
}

#[tokio::test]
async fn a_seed_repeats_its_faults_and_every_failure_is_listed() {
    let run = |seed| async move {
        let (faults, storage, _) = store();
        faults.inject_at_random(seed, RandomFaults::default());
        let mut failures = 0;
        for i in 0..300 {
            failures += usize::from(storage.put(&format!("{i}"), "1").await.is_err());
        }
        (failures, faults.injected())
    };
    let (failures, injected) = run(11).await;
    assert_eq!(run(11).await, (failures, injected.clone()));
    // A lost reply to an overwriting put does no harm: the second one succeeds.
    let harmless = injected.iter().filter(|f| f.fault == Fault::LostReply).count();
    assert!(failures > 0 && harmless > 0);
    assert_eq!(failures, injected.len() - harmless);
}
