//! Tables whose commits hold their time.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{BoxFuture, Clock, Env, ErrorKind, TableVersion};
use boathouse_delta_table::protocol::features::protocol_upgrade;
use boathouse_delta_table::{DeltaError, DeltaTable, Transaction};
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{append_each, ids, kept, latest_ids, people, reopened, table};

const ENABLE: &str = "delta.enableInCommitTimestamps";
const SINCE: &str = "delta.inCommitTimestampEnablementVersion";
const SINCE_TIME: &str = "delta.inCommitTimestampEnablementTimestamp";

/// A clock that is wrong by so much.
#[derive(Debug)]
struct Skewed {
    env: Env,
    by_us: i64,
}

impl Clock for Skewed {
    fn now_us(&self) -> i64 {
        self.env.now_us() + self.by_us
    }

    fn monotonic_us(&self) -> u64 {
        self.env.monotonic_us()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.env.sleep(duration)
    }
}

/// A handle of a writer whose clock is wrong by so many seconds.
fn writer(storage: &Storage, seed: u64, by_seconds: i64) -> DeltaTable {
    let clock = Skewed { env: seeded_env(seed), by_us: by_seconds * 1_000_000 };
    kept(DeltaTable::at(storage.clone(), Env::new(clock, seed)))
}

/// The times of all versions, as an application asks for them: each opened on its own.
async fn times(table: &DeltaTable) -> Vec<i64> {
    let newest = reopened(table).snapshot().await.unwrap().version();
    let mut times = Vec::new();
    for version in 0..=newest {
        times.push(reopened(table).snapshot_at(TableVersion::Number(version)).await.unwrap().timestamp_us());
    }
    times
}

async fn version_at(table: &DeltaTable, at_us: i64) -> u64 {
    reopened(table).snapshot_at(TableVersion::AtUs(at_us)).await.unwrap().version()
}

async fn property(table: &DeltaTable, key: &str) -> Option<String> {
    reopened(table).snapshot().await.unwrap().metadata().configuration.get(key).cloned()
}

#[tokio::test]
async fn two_writers_one_with_a_clock_that_is_behind_give_times_that_grow() {
    let storage = Storage::memory();
    let (ahead, behind) = (writer(&storage, 1, 500), writer(&storage, 2, -500));
    ahead.append(people(&[0], "a")).property(ENABLE, "true").property("delta.checkpointInterval", "5").run().await.unwrap();
    for id in 1..12 {
        let table = if id % 2 == 0 { &ahead } else { &behind };
        table.append(people(&[id], "a")).run().await.unwrap();
    }
    let protocol = ahead.snapshot().await.unwrap().protocol().clone();
    assert_eq!((protocol.min_reader_version, protocol.min_writer_version), (1, 7));
    assert_eq!((property(&ahead, SINCE).await, property(&ahead, SINCE_TIME).await), (None, None), "it always had them");

    let times = times(&ahead).await;
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    // The writer that is behind goes a millisecond after the one that is ahead.
    assert_eq!(times[1] - times[0], 1000);
    // The history tells the same times, newest first; so does the handle that wrote.
    let history: Vec<i64> = ahead.history(100).await.unwrap().iter().rev().map(|commit| commit.timestamp_us).collect();
    assert_eq!(history, times);
    assert_eq!(ahead.snapshot().await.unwrap().timestamp_us(), times[11]);
    for (version, at) in times.iter().enumerate() {
        assert_eq!(version_at(&ahead, *at).await, version as u64);
        assert_eq!(version_at(&ahead, at + 999).await, version as u64, "to the millisecond");
    }
    for late in [times[11] + 1000, i64::MAX] {
        let error = reopened(&ahead).snapshot_at(TableVersion::AtUs(late)).await.unwrap_err();
        assert!(
            matches!(error, DeltaError::AfterNewestVersion { newest_version: 11, newest_us, .. } if newest_us == times[11]),
            "{error}"
        );
    }
    let error = ahead.snapshot_at(TableVersion::AtUs(times[0] - 1)).await.unwrap_err();
    assert!(
        matches!(error, DeltaError::BeforeOldestVersion { oldest_version: 0, oldest_us, .. } if oldest_us == times[0]),
        "{error}"
    );
    // The first action of each commit is the one that holds the time.
    let commit = storage.get("_delta_log/00000000000000000011.json").await.unwrap();
    let first: serde_json::Value = serde_json::from_slice(commit.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!(first["commitInfo"]["inCommitTimestamp"].as_i64().unwrap() * 1000, times[11]);
    assert!(ahead.snapshot().await.unwrap().validate_checksum().await.unwrap().differences.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_with_all_kinds_of_clocks_at_once_give_times_that_grow() {
    let storage = Storage::memory();
    writer(&storage, 1, 0).append(people(&[0], "a")).property(ENABLE, "true").run().await.unwrap();
    let writers: Vec<_> = (1..=5_i64)
        .map(|id| {
            let table = writer(&storage, id.unsigned_abs(), (id - 3) * 1000);
            tokio::spawn(async move {
                for nth in 0..3 {
                    table.append(people(&[id * 10 + nth], "a")).run().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let table = writer(&storage, 9, 0);
    let times = times(&table).await;
    assert_eq!(times.len(), 16);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert_eq!(latest_ids(&table).await.len(), 16);
}

#[tokio::test]
async fn a_table_that_gets_times_later_says_since_when_and_is_asked_by_the_right_clock() {
    let storage = Storage::memory();
    let behind = writer(&storage, 1, -100_000);
    append_each(&behind, 0..3).await;
    let before = times(&behind).await;
    assert_eq!(behind.alter().set_property(ENABLE, "true").run().await.unwrap().version, 3);
    append_each(&behind, 3..5).await;
    let times = times(&behind).await;
    assert_eq!(times[..3], before, "what was before is as it was");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "files are older than the first time in a commit: {times:?}");
    assert_eq!(property(&behind, SINCE).await.as_deref(), Some("3"));
    assert_eq!(property(&behind, SINCE_TIME).await, Some((times[3] / 1000).to_string()));
    for (version, at) in times.iter().enumerate() {
        assert_eq!(version_at(&behind, *at).await, version as u64, "{times:?}");
    }
    assert_eq!(version_at(&behind, times[3] - 1).await, 2);
    for key in [SINCE, SINCE_TIME] {
        assert!(behind.alter().set_property(key, "7").run().await.is_err(), "{key} belongs to writers");
    }
}

#[tokio::test]
async fn whoever_gives_a_table_times_behind_an_append_comes_after_the_file_of_that_append() {
    let storage = Storage::memory();
    let behind = writer(&storage, 1, -100_000);
    append_each(&behind, 0..1).await;
    let stale = behind.snapshot().await.unwrap();
    append_each(&writer(&storage, 2, 0), 1..2).await;
    let mut metadata = stale.metadata().clone();
    metadata.configuration.insert(ENABLE.to_owned(), "true".to_owned());
    let protocol = protocol_upgrade(stale.protocol(), stale.delta_schema(), &metadata.configuration).unwrap().unwrap();
    let report = Transaction::begin(&stale).set_protocol(protocol).set_metadata(metadata).commit().await.unwrap();
    assert_eq!(report.version, 2);
    let times = times(&behind).await;
    assert_eq!(times[2] - times[1], 1000, "{times:?}");
    assert_eq!(property(&behind, SINCE).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn times_that_were_off_for_a_while_count_from_when_they_came_back() {
    let table = table();
    table.append(people(&[0], "a")).property(ENABLE, "true").run().await.unwrap();
    table.alter().set_property(ENABLE, "false").run().await.unwrap();
    append_each(&table, 1..2).await;
    assert_eq!(property(&table, SINCE).await, None);
    let stored = table.storage().get("_delta_log/00000000000000000002.json").await.unwrap();
    assert!(!std::str::from_utf8(&stored).unwrap().contains("inCommitTimestamp"));
    table.alter().set_property(ENABLE, "true").run().await.unwrap();
    assert_eq!(property(&table, SINCE).await.as_deref(), Some("3"));
    // A version from before comes back: its rows, and not what it knew of times.
    for version in [0, 2] {
        table.restore(TableVersion::Number(version)).run().await.unwrap();
        assert_eq!(property(&table, SINCE).await.as_deref(), Some("3"));
        assert_eq!(property(&table, ENABLE).await.as_deref(), Some("true"));
    }
    assert_eq!(latest_ids(&table).await, [0, 1]);
    let newest = reopened(&table).snapshot().await.unwrap();
    assert_eq!(version_at(&table, newest.timestamp_us()).await, 5);
    assert_eq!(ids(&newest).await, [0, 1]);
}

#[tokio::test]
async fn a_schema_that_is_overwritten_leaves_the_times_alone() {
    let table = table();
    append_each(&table, 0..1).await;
    table.alter().set_property(ENABLE, "true").run().await.unwrap();
    let other = crate::rows::batch(&[("x", Arc::new(arrow_array::Int32Array::from(vec![1])))]);
    table.overwrite(crate::rows::stream(other)).overwrite_schema().run().await.unwrap();
    assert_eq!(property(&table, SINCE).await.as_deref(), Some("1"));
    let error = table.alter().set_property(ENABLE, "perhaps").run().await.unwrap_err();
    assert_eq!(boathouse_base::DomainError::kind(&error), ErrorKind::Invalid);
}
