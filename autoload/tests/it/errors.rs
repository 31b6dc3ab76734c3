//! What wrong calls and broken surroundings get.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use boathouse_autoload::{AutoLoadError, AutoLoader, Format};
use boathouse_base::{ErrorKind, Offset, ReadLimit, StreamSource};
use boathouse_storage::{Location, Storage};

use crate::support::{Site, files, step};

#[tokio::test]
async fn a_missing_local_folder_is_not_found_and_memory_is_never_missing() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::parse(folder.path().to_str().unwrap()).unwrap().join("nowhere");
    let landing = Storage::open(&location).unwrap();
    let error = AutoLoader::over(landing).state(Storage::memory()).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("create it"), "{error}");
    let error = AutoLoader::over(Storage::memory()).open().await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(AutoLoadError::NoState { .. })), "{error}");
}

#[tokio::test]
async fn a_state_of_another_folder_or_format_is_refused() {
    let site = Site::new();
    drop(site.open().await);
    let other = Site { landing: Storage::memory().at("elsewhere"), state: site.state.clone() };
    let error = other.describe().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("memory:///landing/"), "{error}");
    let error = site.describe().format(Format::Parquet).open().await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(AutoLoadError::ForeignState { .. })), "{error}");
}

#[tokio::test]
async fn foreign_backward_and_unplanned_offsets_are_refused() {
    let site = Site::new();
    site.land("a.json", "{}").await;
    site.land("b.json", "{}").await;
    let source = site.open().await;
    let (_, one) = step(&source, None, files(1)).await.unwrap();
    let (_, two) = step(&source, Some(&one), files(1)).await.unwrap();
    let unplanned = Offset::new(two.as_str().replace("\"files\":2", "\"files\":3"));
    for (start, end) in [(None, &unplanned), (Some(&two), &one), (Some(&Offset::new("{}")), &one), (None, &Offset::new("7"))] {
        let error = source.read(start, end).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{start:?} {end:?}: {error}");
    }
    assert_eq!(source.plan(Some(&unplanned), files(1)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(source.commit(&Offset::new("x")).await.unwrap_err().kind(), ErrorKind::Invalid);
    source.commit(&two).await.unwrap();
}

#[tokio::test]
async fn a_deleted_file_of_the_range_is_named() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}").await;
    let planned = site.open().await.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    site.landing.delete("a.json").await.unwrap();
    let error = site.open().await.read(None, &planned.end).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("landing/a.json"), "{error}");
}

#[tokio::test]
async fn types_that_contradict_the_state_or_the_format_are_refused() {
    let site = Site::new();
    site.land("a.json", "{\"id\":1}").await;
    step(&site.open().await, None, ReadLimit::default()).await.unwrap();
    let error = site.describe().schema_hints([("id", DataType::Utf8)]).open().await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(AutoLoadError::ColumnTypeChanged { column, .. }) if column == "id"), "{error}");
    let error = site.describe().schema_hints([("b", DataType::Binary)]).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let twice = Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("A", DataType::Utf8, true)]);
    let error = site.describe().schema(Arc::new(twice)).open().await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(AutoLoadError::NameTaken { .. })), "{error}");
    let error = site.describe().path_glob("[").open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_broken_log_is_corrupt_and_nothing_is_guessed() {
    let site = Site::new();
    let source = site.open().await;
    let mut position = None;
    for n in 0..3 {
        site.land(&format!("{n}.json"), "{}").await;
        position = Some(step(&source, position.as_ref(), ReadLimit::default()).await.unwrap().1);
    }
    let log = site.state.list("log").await.unwrap();
    let kept = site.state.get(&log[1].path).await.unwrap();
    site.state.delete(&log[1].path).await.unwrap();
    assert_eq!(site.describe().open().await.unwrap_err().kind(), ErrorKind::Corrupt);
    site.state.put(&log[1].path, &b"{\"v\":9"[..]).await.unwrap();
    assert_eq!(site.describe().open().await.unwrap_err().kind(), ErrorKind::Corrupt);
    site.state.put(&log[1].path, kept).await.unwrap();
    site.open().await;
}
