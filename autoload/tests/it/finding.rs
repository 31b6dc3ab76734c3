//! Ways to find files: marks, events of the system, queues, and what is remembered of a listing.

use std::sync::Arc;
use std::time::Duration;

use boathouse_autoload::{
    AutoLoader, DiscoveryMode, ExistingFiles, FolderWatch, MemoryQueue, Overwrites, QueuedFiles, S3Events, parse_s3_event,
};
use boathouse_base::{Env, ManualClock, ReadLimit, StreamSource};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Location, Operation, Storage, system_env};
use serde_json::json;

use crate::support::{Site, drain, files, rows, step};

fn s3_event(path: &str) -> String {
    json!({"Records": [{
        "eventName": "ObjectCreated:Put", "eventTime": "2024-01-02T03:04:05.000Z",
        "s3": {"bucket": {"name": "lake"}, "object": {"key": format!("in/{path}"), "size": 1}},
    }]})
    .to_string()
}

fn queued(queue: &Arc<MemoryQueue>) -> Arc<QueuedFiles> {
    let events = S3Events { bucket: "lake".to_owned(), prefix: "in".to_owned() };
    Arc::new(QueuedFiles::new(Arc::clone(queue) as _, move |body| parse_s3_event(&events, body)))
}

#[tokio::test]
async fn a_queue_tells_of_files_and_its_messages_go_when_the_files_are_durable() {
    let site = Site::new();
    site.land("before.json", "{\"id\":0}").await;
    let queue = Arc::new(MemoryQueue::new());
    let (landing, counts) = CountingStore::wrap(&site.landing);
    let counted = Site { landing, state: site.state.clone() };
    let source = counted.describe().events(queued(&queue)).open().await.unwrap();
    let (found, end) = drain(&source, None).await;
    assert_eq!(found, [json!({"id":0})], "the first start lists");
    counts.reset();
    for n in 1..4 {
        site.land(&format!("{n}.json"), format!("{{\"id\":{n}}}")).await;
        queue.send(s3_event(&format!("{n}.json")));
        queue.send(s3_event(&format!("{n}.json")));
    }
    queue.send(s3_event("never/came.json"));
    queue.send(s3_event("before.json"));
    // A batch of one file: two wait in memory alone, so the messages stay.
    let (batches, end) = step(&source, end.as_ref(), files(1)).await.unwrap();
    assert_eq!((rows(&batches), queue.messages()), (vec![json!({"id":1})], 8));
    drop(source);
    queue.time_out();
    let source = counted.describe().events(queued(&queue)).open().await.unwrap();
    let (found, end) = drain(&source, Some(end)).await;
    assert_eq!(found, [json!({"id":2}), json!({"id":3})]);
    assert_eq!((queue.messages(), counts.counts().of(Operation::List)), (0, 0), "{:?}", counts.log());
    // What no message told of is found when a message cannot be understood.
    site.land("untold.json", "{\"id\":4}").await;
    assert_eq!(drain(&source, end.clone()).await.0, [] as [serde_json::Value; 0]);
    queue.send("gibberish");
    let (found, _) = drain(&source, end).await;
    assert_eq!((found, queue.messages()), (vec![json!({"id":4})], 0));
}

#[tokio::test]
async fn a_backfill_finds_what_no_event_told_of() {
    let site = Site::new();
    let clock = ManualClock::starting_at_us(1);
    let queue = Arc::new(MemoryQueue::new());
    let source = site
        .describe()
        .env(Env::new(clock.clone(), 1))
        .events(queued(&queue))
        .backfill_interval(Duration::from_secs(60))
        .open()
        .await
        .unwrap();
    assert!(drain(&source, None).await.0.is_empty());
    site.land("untold.json", "{\"id\":1}").await;
    clock.advance(Duration::from_secs(59));
    assert!(drain(&source, None).await.0.is_empty());
    clock.advance(Duration::from_secs(1));
    assert_eq!(drain(&source, None).await.0, [json!({"id":1})]);
}

#[tokio::test]
async fn highest_names_are_looked_after_and_a_backfill_finds_the_others() {
    let site = Site::new();
    let clock = ManualClock::starting_at_us(1);
    for path in ["day=1/a.json", "day=1/c.json", "day=2/a.json"] {
        site.land(path, format!("{{\"path\":\"{path}\"}}")).await;
    }
    let describe = || {
        site.describe()
            .env(Env::new(clock.clone(), 1))
            .discovery(DiscoveryMode::HighestNames)
            .backfill_interval(Duration::from_secs(60))
    };
    let (found, end) = drain(&describe().open().await.unwrap(), None).await;
    assert_eq!(found.len(), 3);
    // After the highest of all, after the highest of a leaf folder, and before both.
    for path in ["day=3/a.json", "day=1/d.json", "day=1/b.json"] {
        site.land(path, format!("{{\"path\":\"{path}\"}}")).await;
    }
    let source = describe().open().await.unwrap();
    let (found, end) = drain(&source, end).await;
    assert_eq!(found, [json!({"path":"day=1/d.json"}), json!({"path":"day=3/a.json"})]);
    assert!(drain(&source, end.clone()).await.0.is_empty());
    clock.advance(Duration::from_secs(60));
    assert_eq!(drain(&source, end).await.0, [json!({"path":"day=1/b.json"})]);
}

fn local(folder: &tempfile::TempDir) -> Storage {
    Storage::open(&Location::parse(folder.path().to_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_folder_tells_of_files_that_are_closed_or_moved_there() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.json"), "{\"id\":0}").unwrap();
    let source = AutoLoader::over(local(&folder))
        .state(Storage::memory())
        .discovery(DiscoveryMode::Watch)
        .env(system_env())
        .open()
        .await
        .unwrap();
    let (found, mut end) = drain(&source, None).await;
    assert_eq!(found.len(), 1);
    std::fs::write(folder.path().join("new.json"), "{\"id\":1}").unwrap();
    std::fs::write(elsewhere.path().join("moved.json"), "{\"id\":2}").unwrap();
    std::fs::rename(elsewhere.path().join("moved.json"), folder.path().join("moved.json")).unwrap();
    std::fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    std::fs::write(folder.path().join("deep/er/x.json"), "{\"id\":3}").unwrap();
    let mut all = Vec::new();
    for _ in 0..500 {
        let (found, now) = drain(&source, end).await;
        all.extend(found);
        end = now;
        if all.len() >= 3 {
            break;
        }
        system_env().sleep(Duration::from_millis(10)).await;
    }
    all.sort_by_key(|row| row["id"].to_string());
    assert_eq!(all, [json!({"id":"1"}), json!({"id":"2"}), json!({"id":"3"})]);
    assert!(drain(&source, end).await.0.is_empty());
}

#[tokio::test]
async fn only_a_local_folder_can_be_watched() {
    let error = FolderWatch::over(&Storage::memory()).unwrap_err();
    assert_eq!(error.kind(), boathouse_base::ErrorKind::Unsupported);
    let site = Site::new();
    let error = site.describe().discovery(DiscoveryMode::Watch).open().await.unwrap_err();
    assert_eq!(error.kind(), boathouse_base::ErrorKind::Unsupported, "{error}");
}

/// Sets back the clock of a folder, so that its time is a while past.
fn age(path: &std::path::Path) {
    let past = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    std::fs::File::open(path).unwrap().set_modified(past).unwrap();
}

#[tokio::test]
async fn a_folder_that_did_not_change_is_not_read_by_the_next_process_either() {
    let folder = tempfile::tempdir().unwrap();
    let landing = local(&folder);
    let site = Site { landing, state: Storage::memory() };
    let describe = || site.describe().env(system_env());
    for n in 0..3 {
        std::fs::write(folder.path().join(format!("{n}.json")), format!("{{\"id\":{n}}}")).unwrap();
    }
    age(folder.path());
    let (found, end) = drain(&describe().open().await.unwrap(), None).await;
    assert_eq!(found.len(), 3);
    assert!(site.state.get_optional("listing.json").await.unwrap().is_some());
    // A change that leaves the time of the directory as it was is not seen: the directory was not read.
    std::fs::write(folder.path().join("hidden.json"), "{\"id\":3}").unwrap();
    age(folder.path());
    assert!(drain(&describe().open().await.unwrap(), end.clone()).await.0.is_empty());
    // Other settings may mean other files.
    let wider = describe().path_glob("*.json").open().await.unwrap();
    let (found, end) = drain(&wider, end).await;
    assert_eq!(found, [json!({"id":3})]);
    std::fs::write(folder.path().join("late.json"), "{\"id\":4}").unwrap();
    assert_eq!(drain(&describe().open().await.unwrap(), end).await.0, [json!({"id":4})]);
}

#[tokio::test]
async fn a_listing_that_was_cut_short_by_a_crash_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site { landing: local(&folder), state: Storage::memory() };
    for n in 0..3 {
        std::fs::write(folder.path().join(format!("{n}.json")), format!("{{\"id\":{n}}}")).unwrap();
    }
    age(folder.path());
    let source = site.describe().env(system_env()).open().await.unwrap();
    // Two files wait in memory alone when the process ends.
    let (batches, end) = step(&source, None, files(1)).await.unwrap();
    assert_eq!(rows(&batches).len(), 1);
    drop(source);
    let (found, _) = drain(&site.describe().env(system_env()).open().await.unwrap(), Some(end)).await;
    assert_eq!(found, [json!({"id":1}), json!({"id":2})]);
}

#[tokio::test]
async fn times_and_ages_choose_files() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}").await;
    let modified_us = site.landing.head("a.json").await.unwrap().unwrap().modified_us;
    let now = |now_us| Env::new(ManualClock::starting_at_us(now_us), 1);
    for (source, expected) in [
        (site.describe().modified_after_us(modified_us), 0),
        (site.describe().modified_after_us(modified_us - 1).modified_before_us(modified_us + 1), 1),
        (site.describe().modified_before_us(modified_us), 0),
        (site.describe().env(now(modified_us + 5)).max_file_age(Duration::from_micros(5)), 1),
        (site.describe().env(now(modified_us + 6)).max_file_age(Duration::from_micros(5)), 0),
    ] {
        let source = source.state(Storage::memory()).open().await.unwrap();
        assert_eq!(drain(&source, None).await.0.len(), expected, "{source:?}");
    }
}

#[tokio::test]
async fn every_version_of_an_overwritten_file_is_read_once() {
    let site = Site::new();
    let describe = || site.describe().overwrites(Overwrites::Read);
    site.land("a.json", "{\"id\":1}").await;
    let (found, end) = drain(&describe().open().await.unwrap(), None).await;
    assert_eq!(found, [json!({"id":1})]);
    site.land("a.json", "{\"id\":2}").await;
    let source = describe().open().await.unwrap();
    let (found, end) = drain(&source, end).await;
    assert_eq!(found, [json!({"id":2})]);
    // A version that is replaced after it was planned gives way to the one that replaced it.
    site.land("a.json", "{\"id\":3}").await;
    let planned = describe().open().await.unwrap().plan(end.as_ref(), ReadLimit::default()).await.unwrap().unwrap();
    site.land("a.json", "{\"id\":4}").await;
    let source = describe().open().await.unwrap();
    assert!(source.read(end.as_ref(), &planned.end).await.unwrap().collect().await.unwrap().is_empty());
    let (found, _) = drain(&source, Some(planned.end)).await;
    assert_eq!(found, [json!({"id":4})]);
    let error = site.describe().open().await.unwrap_err();
    assert!(error.to_string().contains("tells files apart by version"), "{error}");
}

#[tokio::test]
async fn skipped_files_are_never_read_and_cost_no_path() {
    let site = Site::new();
    for n in 0..100 {
        site.land(&format!("old/{n}.json"), "{\"id\":0}").await;
    }
    let skip = || site.describe().include_existing(ExistingFiles::Skip);
    drop(skip().open().await.unwrap());
    site.land("new.json", "{\"id\":1}").await;
    let (found, end) = drain(&skip().open().await.unwrap(), None).await;
    assert_eq!(found, [json!({"id":1})]);
    let mut position = end;
    // Compactions keep them.
    for n in 0..70 {
        site.land(&format!("{n}.json"), "{\"id\":2}").await;
        let (found, end) = drain(&skip().open().await.unwrap(), position).await;
        assert_eq!(found.len(), 1, "{n}");
        position = end;
    }
}
