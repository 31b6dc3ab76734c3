//! The contract of committers, and tables whose commits a catalog decides.

use std::sync::Arc;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_table::{
    CatalogCommitter, Committer, CommitterError, DeltaError, DeltaTable, MemoryCatalog, MemoryCommitter, PutIfAbsent,
};
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_storage::{Operation, Storage, seeded_env};
use bytes::Bytes;

use crate::rows::{append_each, ids, people};

fn path(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

fn taken(result: Result<(), CommitterError>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
}

/// What every committer keeps.
async fn contract(committer: Arc<dyn Committer>, storage: Storage) {
    // Nothing was decided: nothing is published.
    committer.publish(&storage).await.unwrap();
    assert!(storage.list("").await.unwrap().is_empty());
    for version in 0..3_u64 {
        // Of many who want a version one gets it.
        let tries = (0..8).map(|writer| {
            let (committer, storage) = (Arc::clone(&committer), storage.clone());
            async move { (writer, committer.commit(&storage, version, Bytes::from(format!("{version} by {writer}"))).await) }
        });
        let results = futures::future::join_all(tries).await;
        let won: Vec<i32> = results.iter().filter(|(_, result)| result.is_ok()).map(|(writer, _)| *writer).collect();
        assert_eq!(won.len(), 1, "{committer:?}");
        assert_eq!(results.into_iter().filter(|_| true).map(|(_, result)| taken(result)).filter(|taken| *taken).count(), 7);
        // After it was published, everybody reads it, and it stays.
        for _ in 0..2 {
            committer.publish(&storage).await.unwrap();
            assert_eq!(storage.get(&path(version)).await.unwrap(), format!("{version} by {}", won[0]));
        }
        assert!(taken(committer.commit(&storage, version, "late".into()).await), "{committer:?}");
    }
    assert!(taken(committer.commit(&storage, 0, "late".into()).await), "{committer:?}");
    // Nothing is left but the versions.
    let left: Vec<String> =
        storage.list("").await.unwrap().into_iter().map(|entry| entry.path).filter(|p| !p.contains("_staged_commits")).collect();
    assert_eq!(left, [path(0), path(1), path(2)]);
}

#[tokio::test]
async fn every_committer_keeps_the_contract() {
    contract(Arc::new(PutIfAbsent), Storage::memory()).await;
    contract(Arc::new(MemoryCommitter::default()), Storage::memory()).await;
    let catalog = CatalogCommitter::new(Arc::new(MemoryCatalog::default()), seeded_env(1));
    contract(Arc::new(catalog), Storage::memory()).await;
}

#[tokio::test]
async fn committers_that_manage_versions_refuse_gaps() {
    let catalog: Arc<dyn Committer> = Arc::new(CatalogCommitter::new(Arc::new(MemoryCatalog::default()), seeded_env(1)));
    for committer in [catalog, Arc::new(MemoryCommitter::default())] {
        let storage = Storage::memory();
        let error = committer.commit(&storage, 1, "x".into()).await.unwrap_err();
        assert!(matches!(error, CommitterError::OutOfOrder { version: 1 }), "{error}");
        assert!(storage.list("").await.unwrap().is_empty(), "what was not ratified is not left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_under_every_committer_lose_and_double_nothing() {
    let committers: [Arc<dyn Committer>; 3] = [
        Arc::new(PutIfAbsent),
        Arc::new(MemoryCommitter::default()),
        Arc::new(CatalogCommitter::new(Arc::new(MemoryCatalog::default()), seeded_env(1))),
    ];
    for committer in committers {
        let storage = Storage::memory();
        let handle = |seed| DeltaTable::at(storage.clone(), seeded_env(seed)).with_committer(Arc::clone(&committer));
        append_each(&handle(0), 0..1).await;
        let writers: Vec<_> = (1..=6_u64)
            .map(|id| {
                let table = handle(id);
                tokio::spawn(async move {
                    for nth in 0..3 {
                        table.append(people(&[i64::try_from(id * 10 + nth).unwrap()], "a")).run().await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let expected: Vec<i64> = [0].into_iter().chain((1..=6).flat_map(|id| (0..3).map(move |nth| id * 10 + nth))).collect();
        let snapshot = handle(9).snapshot().await.unwrap();
        assert_eq!((snapshot.version(), ids(&snapshot).await), (18, expected), "{committer:?}");
    }
}

#[tokio::test]
async fn a_commit_that_was_ratified_and_not_published_is_read_by_the_next_who_opens_the_table() {
    let (catalog, sound) = (Arc::new(MemoryCatalog::default()), Storage::memory());
    let mut faults = None;
    let broken = sound.with_object_store(|store| {
        let faulty = FaultStore::new(store);
        faults = Some(faulty.clone());
        Arc::new(faulty)
    });
    let handle = |storage: &Storage, seed| {
        let committer = CatalogCommitter::new(Arc::clone(&catalog) as _, seeded_env(seed + 50));
        DeltaTable::at(storage.clone(), seeded_env(seed)).with_committer(Arc::new(committer))
    };
    let first = handle(&sound, 1);
    append_each(&first, 0..2).await;
    first.settle().await;
    let writer = handle(&broken, 2);
    writer.snapshot().await.unwrap();
    faults
        .unwrap()
        .inject(FaultRule::new(Fault::FailBefore).on(Operation::PutIfAbsent).on_path_containing(path(2).as_str()).always());
    let report = writer.append(people(&[7], "a")).run().await.unwrap();
    assert_eq!(report.version, 2, "the catalog has decided");
    assert!(sound.head(&path(2)).await.unwrap().is_none(), "and nobody could publish it");
    let reader = handle(&sound, 3).snapshot().await.unwrap();
    assert_eq!((reader.version(), ids(&reader).await), (2, vec![0, 1, 7]));
    assert!(sound.head(&path(2)).await.unwrap().is_none(), "a reader writes nothing");
    let next = handle(&sound, 4);
    append_each(&next, 8..9).await;
    next.settle().await;
    assert!(sound.head(&path(2)).await.unwrap().is_some(), "the next writer publishes it, and its own");
    assert!(sound.head(&path(3)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_catalog_that_cannot_be_reached_is_told_as_such() {
    #[derive(Debug)]
    struct Unreachable;
    impl boathouse_delta_table::CommitCatalog for Unreachable {
        fn ratify<'a>(&'a self, _: u64, _: &'a str) -> boathouse_base::BoxFuture<'a, boathouse_base::Result<()>> {
            Box::pin(async { Err(boathouse_base::Error::new(ErrorKind::Denied, "no key")) })
        }
        fn ratified(&self) -> boathouse_base::BoxFuture<'_, boathouse_base::Result<boathouse_delta_table::DecidedCommits>> {
            Box::pin(async { Ok(boathouse_delta_table::DecidedCommits::default()) })
        }
        fn published(&self, _: u64) -> boathouse_base::BoxFuture<'_, boathouse_base::Result<()>> {
            Box::pin(async { Ok(()) })
        }
    }
    let committer = CatalogCommitter::new(Arc::new(Unreachable), seeded_env(1));
    let table = DeltaTable::at(Storage::memory(), seeded_env(2)).with_committer(Arc::new(committer));
    let error = table.append(people(&[1], "a")).create_if_absent().run().await.unwrap_err();
    assert!(matches!(&error, DeltaError::Committer { version: 0, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("no key"), "{error}");
}
