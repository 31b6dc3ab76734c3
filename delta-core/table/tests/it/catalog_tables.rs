//! Tables whose versions a catalog decides.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{AppTransaction, BoxFuture, DomainError, ErrorKind, TableVersion};
use boathouse_delta_table::protocol::features::has;
use boathouse_delta_table::{
    CatalogCommitter, CommitCatalog, CommitContent, DecidedCommit, DecidedCommits, DeltaError, DeltaTable, MemoryCatalog,
    Transaction,
};
use boathouse_storage::testing::{CountingStore, Fault, FaultRule, FaultStore};
use boathouse_storage::{Operation, Storage, seeded_env};

use crate::rows::{append_each, ids, kept, latest_ids, people};

const MANAGED: &str = "delta.feature.catalogManaged";

fn path(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// A handle of a table of this catalog.
fn handle(storage: &Storage, catalog: &Arc<impl CommitCatalog + 'static>, seed: u64) -> DeltaTable {
    let committer = CatalogCommitter::new(Arc::clone(catalog) as Arc<dyn CommitCatalog>, seeded_env(seed + 1000));
    kept(DeltaTable::at(storage.clone(), seeded_env(seed)).with_committer(Arc::new(committer)))
}

async fn create(table: &DeltaTable) {
    table
        .append(people(&[0], "a"))
        .property(MANAGED, "supported")
        .property("delta.checkpointInterval", "100")
        .run()
        .await
        .unwrap();
}

/// The same store, where nobody can publish a commit.
fn unpublishing(storage: &Storage) -> (Storage, FaultStore) {
    let mut faults = None;
    let broken = storage.with_object_store(|store| {
        let faulty = FaultStore::new(store);
        faults = Some(faulty.clone());
        Arc::new(faulty)
    });
    let faults = faults.unwrap();
    faults.inject(FaultRule::new(Fault::FailBefore).on(Operation::PutIfAbsent).on_path(is_published_commit).always());
    (broken, faults)
}

fn is_published_commit(path: &str) -> bool {
    path.contains("_delta_log/0") && path.ends_with(".json")
}

#[tokio::test]
async fn a_table_of_a_catalog_demands_it_holds_times_and_is_not_opened_without_the_catalog() {
    let (storage, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    let plain = DeltaTable::at(storage.clone(), seeded_env(1));
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let error = plain.create(schema).property(MANAGED, "supported").run().await.unwrap_err();
    assert!(matches!(&error, DeltaError::NeedsCatalog { feature: "catalogManaged", .. }), "{error}");
    assert!(storage.list("").await.unwrap().is_empty(), "nothing is written");

    let table = handle(&storage, &catalog, 2);
    create(&table).await;
    append_each(&table, 1..3).await;
    let snapshot = table.snapshot().await.unwrap();
    let protocol = snapshot.protocol();
    assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (3, 7));
    assert_eq!(protocol.reader_features.as_deref(), Some(&["catalogManaged".to_owned()][..]));
    assert!(has(protocol, "inCommitTimestamp"));
    assert_eq!(snapshot.metadata().configuration["delta.enableInCommitTimestamps"], "true");
    assert_eq!(ids(&snapshot).await, [0, 1, 2]);

    for error in [plain.snapshot().await.unwrap_err(), plain.append(people(&[9], "a")).run().await.unwrap_err()] {
        assert!(matches!(&error, DeltaError::NeedsCatalog { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("catalogManaged") && error.to_string().contains("with_committer"), "{error}");
    }
    let error = table.alter().set_property("delta.enableInCommitTimestamps", "false").run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("catalogManaged"), "{error}");
}

#[tokio::test]
async fn commits_that_nobody_published_are_read_where_they_are_staged_and_a_reader_writes_nothing() {
    let (sound, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    create(&handle(&sound, &catalog, 1)).await;
    let (broken, faults) = unpublishing(&sound);
    let writer = handle(&broken, &catalog, 2);
    append_each(&writer, 1..6).await;
    let once = AppTransaction { app_id: "app".into(), version: 3, payload: Some("here".into()) };
    writer.append(people(&[6], "a")).app_transaction(once).run().await.unwrap();
    for version in 1..7 {
        assert!(sound.head(&path(version)).await.unwrap().is_none(), "version {version} is not published");
    }
    let (counted, counts) = CountingStore::wrap(&sound);
    let reader = handle(&counted, &catalog, 3);
    let snapshot = reader.snapshot().await.unwrap();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (6, (0..7).collect()));
    let mut times = Vec::new();
    for version in 0..7 {
        let then = reader.snapshot_at(TableVersion::Number(version)).await.unwrap();
        assert_eq!(ids(&then).await, (0..=i64::try_from(version).unwrap()).collect::<Vec<_>>());
        times.push(then.timestamp_us());
    }
    let at = reader.snapshot_at(TableVersion::AtUs(times[4])).await.unwrap();
    assert_eq!(at.version(), 4);
    let history = reader.history(100).await.unwrap();
    assert_eq!(history.iter().map(|commit| commit.timestamp_us).rev().collect::<Vec<_>>(), times);
    let found = snapshot.app_transaction("app").await.unwrap().unwrap();
    assert_eq!((found.version, found.payload.as_deref()), (3, Some("here")));
    assert!(snapshot.tombstones().await.unwrap().is_empty());
    let puts = counts.log().into_iter().filter(|(operation, _)| matches!(operation, Operation::Put | Operation::PutIfAbsent));
    assert_eq!(puts.count(), 0);

    // A handle that follows sees what comes, published or not, and keeps on seeing it when it is published.
    append_each(&writer, 10..12).await;
    assert_eq!(ids(&reader.snapshot().await.unwrap()).await, [0, 1, 2, 3, 4, 5, 6, 10, 11]);
    faults.clear();
    append_each(&writer, 12..13).await;
    assert!(sound.head(&path(9)).await.unwrap().is_some());
    assert_eq!(ids(&reader.snapshot().await.unwrap()).await, [0, 1, 2, 3, 4, 5, 6, 10, 11, 12]);
    assert_eq!(ids(&snapshot).await, (0..7).collect::<Vec<_>>(), "an older version stays what it was");
    // Without anything of the catalog's own left, the log's folder tells the same.
    assert_eq!(ids(&handle(&sound, &catalog, 4).snapshot().await.unwrap()).await.len(), 10);
}

#[tokio::test]
async fn what_the_catalog_does_not_know_does_not_exist_and_what_it_names_goes_before_what_is_published() {
    let (storage, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    create(&handle(&storage, &catalog, 1)).await;
    let (broken, _faults) = unpublishing(&storage);
    append_each(&handle(&broken, &catalog, 2), 1..2).await;
    // Somebody who does not ask the catalog writes over a version that it decided, and one beyond it.
    storage.put(&path(1), r#"{"commitInfo":{"operation":"WRONG"}}"#).await.unwrap();
    storage.put(&path(2), r#"{"commitInfo":{"operation":"WRONG"}}"#).await.unwrap();
    let table = handle(&storage, &catalog, 3);
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (1, vec![0, 1]));
    let error = table.snapshot_at(TableVersion::Number(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let operations: Vec<_> = table.history(10).await.unwrap().into_iter().filter_map(|commit| commit.operation).collect();
    assert_eq!(operations, ["WRITE", "WRITE"]);
}

/// A catalog that keeps the content of commits itself.
#[derive(Debug, Default)]
struct Keeping {
    staged: Mutex<Vec<String>>,
    content: Mutex<Vec<bytes::Bytes>>,
    storage: Mutex<Option<Storage>>,
}

impl CommitCatalog for Keeping {
    fn ratify<'a>(&'a self, version: u64, staged: &'a str) -> BoxFuture<'a, boathouse_base::Result<()>> {
        Box::pin(async move {
            let storage = self.storage.lock().unwrap().clone().unwrap();
            let staged_path = format!("_delta_log/_staged_commits/{staged}");
            let bytes = storage.get(&staged_path).await?;
            let mut content = self.content.lock().unwrap();
            if content.len() as u64 != version {
                return Err(boathouse_base::Error::new(ErrorKind::AlreadyExists, "taken"));
            }
            content.push(bytes);
            self.staged.lock().unwrap().push(staged_path);
            Ok(())
        })
    }

    fn ratified(&self) -> BoxFuture<'_, boathouse_base::Result<DecidedCommits>> {
        let content = self.content.lock().unwrap();
        let commit = |(version, bytes): (usize, &bytes::Bytes)| DecidedCommit {
            version: version as u64,
            content: CommitContent::Inline(bytes.clone()),
        };
        let latest_version = (content.len() as u64).checked_sub(1);
        let commits = content.iter().enumerate().skip(1).map(commit).collect();
        Box::pin(std::future::ready(Ok(DecidedCommits { latest_version, commits })))
    }

    fn published(&self, _: u64) -> BoxFuture<'_, boathouse_base::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn commits_whose_content_the_catalog_keeps_are_read_from_it() {
    let storage = Storage::memory();
    let catalog = Arc::new(Keeping::default());
    *catalog.storage.lock().unwrap() = Some(storage.clone());
    create(&handle(&storage, &catalog, 1)).await;
    // The first version is published: this catalog does not tell it.
    let first = catalog.content.lock().unwrap()[0].clone();
    storage.put(&path(0), first).await.unwrap();
    let (broken, _faults) = unpublishing(&storage);
    append_each(&handle(&broken, &catalog, 2), 1..5).await;
    let staged = std::mem::take(&mut *catalog.staged.lock().unwrap());
    for staged in staged {
        storage.delete(&staged).await.unwrap();
    }
    let (counted, _) = CountingStore::wrap(&storage);
    let snapshot = handle(&counted, &catalog, 3).snapshot().await.unwrap();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (4, vec![0, 1, 2, 3, 4]));
    assert!(storage.head(&path(4)).await.unwrap().is_none());
    // Whoever may write publishes them, byte by byte.
    handle(&storage, &catalog, 4).checkpoint().run().await.unwrap();
    let last = catalog.content.lock().unwrap()[4].clone();
    assert_eq!(storage.get(&path(4)).await.unwrap(), last);
}

#[tokio::test]
async fn a_checkpoint_is_of_published_versions_alone() {
    let (sound, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    create(&handle(&sound, &catalog, 1)).await;
    let (broken, _faults) = unpublishing(&sound);
    let writer = handle(&broken, &catalog, 2);
    append_each(&writer, 1..3).await;
    let error = writer.checkpoint().run().await.unwrap_err();
    assert!(matches!(error, DeltaError::Publish { .. }), "{error}");
    assert!(sound.list("_delta_log").await.unwrap().iter().all(|entry| !entry.path.contains("checkpoint")));
    let report = handle(&sound, &catalog, 3).checkpoint().run().await.unwrap();
    assert_eq!(report.version, 2);
    assert!(sound.head(&path(2)).await.unwrap().is_some());
    let snapshot = handle(&sound, &catalog, 4).snapshot().await.unwrap();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (2, vec![0, 1, 2]));
    assert!(snapshot.validate_checksum().await.unwrap().differences.is_empty());
}

#[tokio::test]
async fn maintenance_is_left_to_the_catalog() {
    let (storage, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    let table = handle(&storage, &catalog, 1);
    create(&table).await;
    append_each(&table, 1..3).await;
    let snapshot = table.snapshot().await.unwrap();
    let files = snapshot.files(None).await.unwrap();
    let add = boathouse_delta_table::protocol::action::Add {
        path: "together".into(),
        stats: Some(r#"{"numRecords":3}"#.into()),
        ..Default::default()
    };
    for error in [
        table.vacuum().run().await.unwrap_err(),
        table.clean_log().run().await.unwrap_err(),
        Transaction::begin(&snapshot).concatenate(&files, add).unwrap().commit().await.unwrap_err(),
        Transaction::begin(&snapshot).remove_action(files[0].add().to_remove(0, false)).commit().await.unwrap_err(),
    ] {
        assert!(matches!(error, DeltaError::MaintenanceByCatalog { feature: "catalogManaged", .. }), "{error}");
    }
    assert_eq!(latest_of(&table).await, [0, 1, 2]);
}

async fn latest_of(table: &DeltaTable) -> Vec<i64> {
    ids(&table.snapshot().await.unwrap()).await
}

#[tokio::test]
async fn a_table_that_exists_is_handed_over_to_a_catalog_that_knows_its_version() {
    let storage = Storage::memory();
    let plain = DeltaTable::at(storage.clone(), seeded_env(1));
    append_each(&plain, 0..3).await;
    let unaware = handle(&storage, &Arc::new(MemoryCatalog::default()), 2);
    assert!(unaware.alter().set_property(MANAGED, "supported").run().await.is_err(), "it would be version 0 for this one");
    let catalog = Arc::new(MemoryCatalog::from_version(2));
    let table = handle(&storage, &catalog, 3);
    table.alter().set_property(MANAGED, "supported").run().await.unwrap();
    append_each(&table, 3..5).await;
    assert_eq!(latest_of(&handle(&storage, &catalog, 4)).await, [0, 1, 2, 3, 4]);
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!(snapshot.metadata().configuration["delta.inCommitTimestampEnablementVersion"], "3");
    table.restore(TableVersion::Number(1)).run().await.unwrap();
    assert_eq!(latest_of(&handle(&storage, &catalog, 5)).await, [0, 1]);
    let error = plain.append(people(&[9], "a")).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::NeedsCatalog { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_a_catalog_some_of_whom_cannot_publish_lose_and_double_nothing() {
    let (sound, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    create(&handle(&sound, &catalog, 1)).await;
    let (broken, _faults) = unpublishing(&sound);
    let writers: Vec<_> = (1..=6_u64)
        .map(|id| {
            let storage = if id % 2 == 0 { &sound } else { &broken };
            let table = handle(storage, &catalog, id + 10);
            tokio::spawn(async move {
                for nth in 0..4 {
                    table.append(people(&[i64::try_from(id * 10 + nth).unwrap()], "a")).run().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let expected: BTreeSet<i64> = [0].into_iter().chain((1..=6).flat_map(|id| (0..4).map(move |nth| id * 10 + nth))).collect();
    let reader = handle(&sound, &catalog, 9);
    let snapshot = reader.snapshot().await.unwrap();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (24, expected.into_iter().collect::<Vec<_>>()));
    let history = reader.history(100).await.unwrap();
    assert!(history.windows(2).all(|pair| pair[0].timestamp_us > pair[1].timestamp_us), "times grow");
}

#[tokio::test]
async fn a_plain_table_with_a_committer_of_its_own_is_opened_with_and_without_it() {
    let (storage, catalog) = (Storage::memory(), Arc::new(MemoryCatalog::default()));
    let table = handle(&storage, &catalog, 1);
    append_each(&table, 0..2).await;
    assert_eq!(latest_ids(&table).await, [0, 1]);
    table.vacuum().dry_run().await.unwrap();
}

/// A catalog whose answers to some ratifications get lost, before or after it has recorded them.
#[derive(Debug, Default)]
struct Forgetful {
    catalog: MemoryCatalog,
    asked: Mutex<u64>,
}

impl CommitCatalog for Forgetful {
    fn ratify<'a>(&'a self, version: u64, staged: &'a str) -> BoxFuture<'a, boathouse_base::Result<()>> {
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        Box::pin(async move {
            let lost = || Err(boathouse_base::Error::new(ErrorKind::Unavailable, "no answer"));
            match asked % 3 {
                1 => lost(),
                2 => self.catalog.ratify(version, staged).await.and_then(|()| lost()),
                _ => self.catalog.ratify(version, staged).await,
            }
        })
    }

    fn ratified(&self) -> BoxFuture<'_, boathouse_base::Result<DecidedCommits>> {
        self.catalog.ratified()
    }

    fn published(&self, version: u64) -> BoxFuture<'_, boathouse_base::Result<()>> {
        self.catalog.published(version)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_the_catalog_neither_loses_nor_doubles_a_commit() {
    let (storage, catalog) = (Storage::memory(), Arc::new(Forgetful::default()));
    create(&handle(&storage, &catalog, 1)).await;
    let writers: Vec<_> = (1..=3_u64)
        .map(|id| {
            let table = handle(&storage, &catalog, id + 10);
            tokio::spawn(async move {
                for nth in 0..5 {
                    table.append(people(&[i64::try_from(id * 10 + nth).unwrap()], "a")).run().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let snapshot = handle(&storage, &catalog, 2).snapshot().await.unwrap();
    let expected: Vec<i64> = [0].into_iter().chain((1..=3).flat_map(|id| (0..5).map(move |nth| id * 10 + nth))).collect();
    assert_eq!((snapshot.version(), ids(&snapshot).await), (15, expected));
}
