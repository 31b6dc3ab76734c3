//! Every file once, in whatever order it arrives.

use boathouse_autoload::{ExistingFiles, MetadataColumn};
use boathouse_base::{ReadLimit, StreamSource};
use boathouse_storage::{Location, Storage};
use serde_json::json;

use crate::support::{Site, drain, files, names, quarantine, read, rows, step};

#[tokio::test]
async fn a_file_is_read_once_and_an_empty_folder_plans_nothing() {
    let site = Site::new();
    let source = site.open().await;
    assert_eq!(source.plan(None, ReadLimit::default()).await.unwrap(), None);
    site.land("b.json", "{\"id\":2}\n").await;
    site.land("a.json", "{\"id\":1}\n").await;
    let (found, end) = drain(&source, None).await;
    assert_eq!(found, [json!({"id":1}), json!({"id":2})]);
    assert_eq!(source.plan(end.as_ref(), ReadLimit::default()).await.unwrap(), None);
    site.land("a.json", "{\"id\":3}\n").await;
    assert_eq!(source.plan(end.as_ref(), ReadLimit::default()).await.unwrap(), None, "an overwritten file is no new file");
}

#[tokio::test]
async fn a_late_file_with_an_early_name_is_found_after_a_restart() {
    let site = Site::new();
    site.land("2024-02-01.json", "{\"id\":2}").await;
    let (_, end) = drain(&site.open().await, None).await;
    site.land("2024-01-01.json", "{\"id\":1}").await;
    site.land("0/deep/er.json", "{\"id\":0}").await;
    let (found, end) = drain(&site.open().await, end).await;
    assert_eq!(found, [json!({"id":0}), json!({"id":1})]);
    let all = rows(&read(&site.open().await, None, &end.unwrap()).await);
    assert_eq!(all, [json!({"id":2}), json!({"id":0}), json!({"id":1})]);
}

#[tokio::test]
async fn limits_bound_a_batch_and_one_file_is_always_admitted() {
    let site = Site::new();
    for n in 0..5 {
        site.land(&format!("{n}.json"), format!("{{\"id\":{n}}}\n")).await;
    }
    let source = site.open().await;
    let first = source.plan(None, files(2)).await.unwrap().unwrap();
    assert_eq!((first.files, first.bytes, first.more), (2, 18, true));
    let tight = ReadLimit { bytes: Some(1), ..ReadLimit::default() };
    let second = source.plan(Some(&first.end), tight).await.unwrap().unwrap();
    assert_eq!((second.files, second.more), (1, true));
    let bytes = ReadLimit { bytes: Some(18), ..ReadLimit::default() };
    let third = source.plan(Some(&second.end), bytes).await.unwrap().unwrap();
    assert_eq!((third.files, third.more), (2, false));
    assert_eq!(first, source.plan(None, files(2)).await.unwrap().unwrap(), "the same plan again");
}

#[tokio::test]
async fn a_restart_between_plan_and_read_changes_nothing() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}\n{\"id\":").await;
    let planned = site.open().await.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    site.land("0.json", "{\"id\":0.5,\"x\":1}\n").await;
    for _ in 0..3 {
        let source = site.open().await;
        let batches = read(&source, None, &planned.end).await;
        assert_eq!(rows(&batches), [json!({"id":1})]);
        assert_eq!(names(&batches), ["id", "_rescued_data"]);
        assert_eq!(quarantine(&source).await.len(), 1, "reading again writes the same entry again");
    }
}

#[tokio::test]
async fn hidden_files_the_state_and_files_beside_the_pattern_are_not_read() {
    let landing = Storage::memory();
    let site = Site { state: landing.at("state"), landing: landing.clone() };
    for path in ["_SUCCESS", ".a.json", "x/_tmp/a.json", "a.json.tmp", ".a.json.crc", "b.csv", "x/day-1.json", "day-22.json"] {
        site.land(path, format!("{{\"path\":\"{path}\"}}")).await;
    }
    let source = site.describe().path_glob("day-?.json").open().await.unwrap();
    let (found, end) = drain(&source, None).await;
    assert_eq!(found, [json!({"path":"x/day-1.json"})]);
    let (found, _) = drain(&site.open().await, end).await;
    assert_eq!(found, [json!({"path":"b.csv"}), json!({"path":"day-22.json"})], "the state below the folder is no data");
}

#[tokio::test]
async fn a_state_in_the_landing_folder_itself_is_no_data() {
    let folder = Storage::memory();
    let site = Site { landing: folder.clone(), state: folder };
    site.land("a.json", "{\"id\":1}").await;
    let (found, end) = drain(&site.open().await, None).await;
    assert_eq!(found.len(), 1);
    assert!(drain(&site.open().await, end).await.0.is_empty());
}

#[tokio::test]
async fn existing_files_are_skipped_at_the_first_start_only() {
    let site = Site::new();
    site.land("old.json", "{\"id\":1}").await;
    let skip = || site.describe().include_existing(ExistingFiles::Skip);
    drop(skip().open().await.unwrap());
    site.land("new.json", "{\"id\":2}").await;
    let (found, _) = drain(&skip().open().await.unwrap(), None).await;
    assert_eq!(found, [json!({"id":2})]);
}

#[tokio::test]
async fn two_sources_over_one_state_agree_on_the_order() {
    let site = Site::new();
    let (a, b) = (site.open().await, site.open().await);
    site.land("b.json", "{\"id\":2}").await;
    let (_, after_b) = step(&a, None, ReadLimit::default()).await.unwrap();
    site.land("a.json", "{\"id\":1}").await;
    let (found, end) = drain(&b, None).await;
    assert_eq!(found, [json!({"id":2}), json!({"id":1})]);
    let (found, end_a) = drain(&a, Some(after_b)).await;
    assert_eq!((found, end_a), (vec![json!({"id":1})], end));
}

#[tokio::test]
async fn a_long_log_is_put_together_and_stays_the_same() {
    let site = Site::new();
    let stale = site.open().await;
    let source = site.open().await;
    let mut position = None;
    for n in 0..150 {
        site.land(&format!("{:03}.json", 999 - n), format!("{{\"id\":{n}}}")).await;
        position = Some(step(&source, position.as_ref(), ReadLimit::default()).await.unwrap().1);
    }
    let log = site.state.list("log").await.unwrap();
    assert!(log.len() < 70, "{} objects", log.len());
    let expected: Vec<_> = (0..150).map(|n| json!({"id": n})).collect();
    assert_eq!(rows(&read(&site.open().await, None, &position.clone().unwrap()).await), expected);
    // A process that slept through all of it must not write into the gap.
    site.land("late.json", "{\"id\":150}").await;
    let (found, _) = drain(&stale, None).await;
    assert_eq!(found.len(), 151);
    assert_eq!(found[..150], expected);
    assert_eq!(drain(&site.open().await, position).await.0, [json!({"id":150})]);
}

#[tokio::test]
async fn rows_say_where_they_come_from_and_local_folders_work() {
    let folder = tempfile::tempdir().unwrap();
    let landing = Storage::open(&Location::parse(folder.path().to_str().unwrap()).unwrap().join("in box")).unwrap();
    let site = Site { landing, state: Storage::memory() };
    site.land("day 1/ä.json", "{\"id\":1}\n{\"id\":2}\n").await;
    let source = site.describe().metadata_column(MetadataColumn::Present).open().await.unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["id", "_rescued_data", "_metadata"]);
    let found = rows(&batches);
    let metadata = &found[1]["_metadata"];
    assert_eq!(metadata["file_name"], json!("ä.json"));
    assert_eq!(metadata["file_size"], json!(18));
    assert!(metadata["file_path"].as_str().unwrap().ends_with("/in%20box/day%201/%C3%A4.json"), "{metadata}");
    let listed = rows(&source.files_state().collect().await.unwrap());
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["path"], metadata["file_path"]);
}
