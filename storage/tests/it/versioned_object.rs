use std::sync::Arc;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::testing::{CountingStore, Fault, FaultRule, FaultStore, RandomFaults};
use boathouse_storage::{Location, Operation, Storage, StorageError, VersionedObject};
use bytes::Bytes;
use proptest::prelude::*;

#[tokio::test]
async fn each_version_has_one_writer_and_readers_see_the_newest() {
    let object = VersionedObject::new(&Storage::memory(), "state");
    assert_eq!(object.read().await.unwrap(), None);
    assert_eq!(object.compare_and_set(None, "a").await.unwrap(), 0);
    assert_eq!(object.compare_and_set(Some(0), "b").await.unwrap(), 1);
    let error = object.compare_and_set(Some(0), "c").await.unwrap_err();
    assert!(matches!(error, StorageError::Conflict { expected: Some(0), found: Some(1), .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(object.read().await.unwrap(), Some((1, Bytes::from("b"))));
}

#[tokio::test]
async fn a_version_that_was_never_there_is_a_conflict_and_leaves_nothing() {
    let storage = Storage::memory();
    let object = VersionedObject::new(&storage, "state");
    assert_eq!(object.compare_and_set(Some(7), "a").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(object.compare_and_set(Some(u64::MAX), "a").await.unwrap_err().kind(), ErrorKind::Exhausted);
    assert!(storage.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_far_behind_gets_a_conflict_and_old_versions_go() {
    let storage = Storage::memory();
    let object = VersionedObject::new(&storage, "state").keep_versions(4);
    let mut version = None;
    for i in 0..20 {
        version = Some(object.compare_and_set(version, format!("{i}")).await.unwrap());
    }
    assert_eq!(object.compare_and_set(Some(3), "late").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(object.compare_and_set(None, "later").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(object.read().await.unwrap(), Some((19, Bytes::from("19"))));
    assert_eq!(storage.list("state").await.unwrap().len(), 4);
}

#[tokio::test]
async fn after_a_lost_reply_the_same_call_finds_that_it_succeeded() {
    let faults = FaultStore::new(Arc::clone(Storage::memory().object_store()));
    let object = VersionedObject::new(&faults.storage(), "state");
    faults.inject(FaultRule::new(Fault::LostReply).on(Operation::PutIfAbsent));
    assert_eq!(object.compare_and_set(None, "a").await.unwrap(), 0, "the client asked again by itself");
    faults.inject(FaultRule::new(Fault::FailAfter).on(Operation::PutIfAbsent));
    assert_eq!(object.compare_and_set(Some(0), "b").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(object.compare_and_set(Some(0), "b").await.unwrap(), 1, "the caller asked again");
    assert_eq!(object.compare_and_set(Some(0), "c").await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_set_succeeds_although_trimming_fails() {
    let faults = FaultStore::new(Arc::clone(Storage::memory().object_store()));
    let object = VersionedObject::new(&faults.storage(), "state").keep_versions(2);
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::Delete).times(2));
    let mut version = None;
    for i in 0..6 {
        version = Some(object.compare_and_set(version, format!("{i}")).await.unwrap());
    }
    assert_eq!(faults.injected().len(), 2);
    assert_eq!(faults.storage().list("").await.unwrap().len(), 2, "later sets trimmed what was left");
}

#[tokio::test]
async fn the_requests_are_those_of_the_documentation() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    let object = VersionedObject::new(&storage, "state");
    object.compare_and_set(None, "a").await.unwrap();
    assert_eq!(counting.log().iter().map(|(o, _)| *o).collect::<Vec<_>>(), [Operation::PutIfAbsent, Operation::List]);
    counting.reset();
    object.read().await.unwrap();
    assert_eq!(counting.log().iter().map(|(o, _)| *o).collect::<Vec<_>>(), [Operation::List, Operation::Get]);
}

/// Adds 1 until it worked; the value is `count` and who wrote it, so that equal bytes mean the same write.
async fn increment(object: &VersionedObject, who: &str) {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Ok(current) = object.read().await else { continue };
        let (version, count) = match &current {
            None => (None, 0),
            Some((version, bytes)) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                (Some(*version), text.split(' ').next().unwrap().parse::<u64>().unwrap())
            }
        };
        let bytes = format!("{} {who} {attempt}", count + 1);
        // Unknown outcome: the same call again, until the store answers.
        loop {
            match object.compare_and_set(version, bytes.clone()).await {
                Ok(_) => return,
                Err(error) if error.kind() == ErrorKind::Conflict => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_one_local_folder_lose_no_increment() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&Location::parse(dir.path().to_str().unwrap()).unwrap()).unwrap();
    // More versions than the writers can get ahead of a slow one: no outcome is unknown.
    let object = VersionedObject::new(&storage, "state").keep_versions(200);
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let object = object.clone();
            tokio::spawn(async move {
                for i in 0..20 {
                    increment(&object, &format!("{task}/{i}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (_, bytes) = object.read().await.unwrap().unwrap();
    assert!(bytes.starts_with(b"80 "), "{bytes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One writer under random faults: it may be told that an outcome is unknown, but asking again always settles it.
    #[test]
    fn no_increment_is_lost_or_doubled_under_random_faults(seed in any::<u64>(), keep in 2_u64..6) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let faults = FaultStore::new(Arc::clone(Storage::memory().object_store()));
            let object = VersionedObject::new(&faults.storage(), "state").keep_versions(keep);
            faults.inject_at_random(seed, RandomFaults::default());
            for i in 0..30 {
                increment(&object, &format!("{i}")).await;
            }
            faults.clear();
            let (version, bytes) = object.read().await.unwrap().unwrap();
            assert_eq!(version, 29, "seed {seed}");
            assert!(bytes.starts_with(b"30 "), "seed {seed}: {bytes:?}");
        });
    }
}
