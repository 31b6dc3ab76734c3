//! What is remembered of files, and what becomes of them.

use std::time::Duration;

use boathouse_autoload::{CleanSource, CorruptFiles, Format, MissingFiles};
use boathouse_base::{Env, ErrorKind, ManualClock, Offset, ReadLimit, StreamSource};
use boathouse_storage::Storage;
use serde_json::{Value, json};

use crate::support::{Site, drain, files, quarantine, rows, step};

async fn state(source: &boathouse_autoload::AutoLoader) -> Vec<Value> {
    rows(&source.files_state().collect().await.unwrap())
}

#[tokio::test]
async fn files_have_times_of_discovery_and_commit() {
    let site = Site::new();
    let clock = ManualClock::starting_at_us(1_000_000);
    let open = async || site.describe().env(Env::new(clock.clone(), 1)).open().await.unwrap();
    site.land("a.json", "{\"id\":1}").await;
    site.land("b.json", "{\"id\":2}").await;
    let source = open().await;
    let (_, one) = step(&source, None, files(1)).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let (_, two) = step(&source, Some(&one), files(1)).await.unwrap();
    let found = state(&source).await;
    assert_eq!(found[0]["discovery_time"], json!("1970-01-01T00:00:01Z"));
    assert_eq!(found[0]["commit_time"], json!("1970-01-01T00:00:02Z"), "going on says that what is before is safe");
    assert_eq!((found[1]["file_sequence"].clone(), found[1].get("commit_time")), (json!(1), None));
    clock.advance(Duration::from_secs(1));
    source.commit(&two).await.unwrap();
    // An idle plan makes it durable.
    assert_eq!(source.plan(Some(&two), ReadLimit::default()).await.unwrap(), None);
    let found = state(&open().await).await;
    assert_eq!(found[1]["commit_time"], json!("1970-01-01T00:00:03Z"));
    let before = site.state.list("log").await.unwrap().len();
    assert_eq!(source.plan(Some(&two), ReadLimit::default()).await.unwrap(), None);
    assert_eq!(site.state.list("log").await.unwrap().len(), before, "nothing new is nothing to write");
}

#[tokio::test]
async fn files_are_deleted_or_moved_when_their_time_has_come() {
    for moves in [false, true] {
        let site = Site::new();
        let archive = Storage::memory();
        let clock = ManualClock::starting_at_us(1);
        let retention = Duration::from_secs(10);
        let rule = match moves {
            true => CleanSource::Move { destination: archive.clone(), retention },
            false => CleanSource::Delete { retention },
        };
        let open = async || site.describe().env(Env::new(clock.clone(), 1)).clean_source(rule.clone()).open().await.unwrap();
        site.land("a.json", "{\"id\":1}").await;
        site.land("d/b.json", "{\"id\":2}").await;
        site.land("c.json", "{\"id\":3}").await;
        let source = open().await;
        let (_, end) = step(&source, None, ReadLimit::default()).await.unwrap();
        source.commit(&end).await.unwrap();
        clock.advance(Duration::from_secs(9));
        source.commit(&end).await.unwrap();
        assert_eq!(site.landing.list("").await.unwrap().len(), 3, "too early");
        // A file that changed meanwhile is not what was read.
        site.land("c.json", "{\"id\":33}").await;
        assert_eq!(source.plan(Some(&end), ReadLimit::default()).await.unwrap(), None);
        clock.advance(Duration::from_secs(1));
        let source = open().await;
        source.commit(&end).await.unwrap();
        let left: Vec<String> = site.landing.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(left, ["c.json"]);
        let archived: Vec<String> = archive.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(archived, if moves { vec!["a.json", "d/b.json"] } else { vec![] });
        let found = state(&open().await).await;
        let modes: Vec<&Value> = found.iter().map(|file| &file["archive_mode"]).collect();
        let mode = json!(if moves { "MOVE" } else { "DELETE" });
        assert_eq!(modes, [&mode, &Value::Null, &mode]);
        // A path that was read is not read again, and cleaning goes on behind.
        site.land("a.json", "{\"id\":4}").await;
        site.land("z.json", "{\"id\":5}").await;
        let (found, end) = drain(&source, Some(end)).await;
        assert_eq!(found, [json!({"id":5})]);
        let end = end.unwrap();
        source.commit(&end).await.unwrap();
        clock.advance(Duration::from_secs(20));
        source.commit(&end).await.unwrap();
        let left: Vec<String> = site.landing.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(left, ["a.json", "c.json"]);
    }
}

#[tokio::test]
async fn a_planned_file_that_is_gone_fails_or_gives_no_rows() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}").await;
    site.land("b.json", "{\"id\":2}").await;
    let planned = site.open().await.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    site.landing.delete("a.json").await.unwrap();
    let error = site.open().await.read(None, &planned.end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let source = site.describe().missing_files(MissingFiles::Ignore).open().await.unwrap();
    assert_eq!(rows(&source.read(None, &planned.end).await.unwrap().collect().await.unwrap()), [json!({"id":2})]);
}

#[tokio::test]
async fn a_corrupt_file_is_kept_aside_ignored_or_refused() {
    for (corrupt, kept) in [(CorruptFiles::Quarantine, 1), (CorruptFiles::Ignore, 0)] {
        let site = Site::new();
        site.land("a.json.gz", "no gzip").await;
        site.land("b.json", "{\"id\":2}").await;
        let source = site.describe().corrupt_files(corrupt).open().await.unwrap();
        let (found, _) = drain(&source, None).await;
        assert_eq!((found, quarantine(&source).await.len()), (vec![json!({"id":2})], kept), "{corrupt:?}");
    }
    let site = Site::new();
    site.land("a.parquet", "no parquet").await;
    let source = site.describe().format(Format::Parquet).corrupt_files(CorruptFiles::Fail).open().await.unwrap();
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    let error = source.read(None, &planned.end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("a.parquet"), "{error}");
}

#[tokio::test]
async fn many_files_leave_the_log_and_every_range_stays_readable() {
    let site = Site::new();
    let (mut position, mut ends) = (None::<Offset>, Vec::new());
    let source = site.open().await;
    // Three hundred records: segments are written, merged and retired several times.
    for n in 0..300 {
        site.land(&format!("{:03}.json", (n * 7) % 300), format!("{{\"id\":{n}}}")).await;
        let (_, end) = step(&source, position.as_ref(), ReadLimit::default()).await.unwrap();
        position = Some(end.clone());
        ends.push(end);
    }
    let log = site.state.list("log").await.unwrap().len();
    let segments = site.state.list("files").await.unwrap().len();
    assert!(log < 70 && segments <= 8, "{log} records, {segments} objects of segments");
    let again = site.open().await;
    for at in [0_usize, 63, 64, 127, 128, 200, 299] {
        let start = at.checked_sub(1).map(|before| &ends[before]);
        let batches = again.read(start, &ends[at]).await.unwrap().collect().await.unwrap();
        assert_eq!(rows(&batches), [json!({"id": at})]);
    }
    let found = state(&again).await;
    let sequences: Vec<u64> = found.iter().map(|file| file["file_sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..300).collect::<Vec<_>>());
    assert!(drain(&again, position).await.0.is_empty());
}
