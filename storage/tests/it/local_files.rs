use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Location, Storage};

fn folder() -> (tempfile::TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&Location::parse(dir.path().to_str().unwrap()).unwrap()).unwrap();
    (dir, storage)
}

#[tokio::test]
async fn the_url_in_an_error_leads_to_the_file() {
    let (dir, storage) = folder();
    let error = storage.get("größe/a b.json").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    let url = text.split(' ').nth(1).unwrap().trim_end_matches(':');
    let path = Location::parse(url).unwrap().local_path().unwrap();
    assert_eq!(path, dir.path().join("größe/a b.json/"));
}

#[tokio::test]
async fn a_file_where_a_folder_is_meant_is_refused_and_nothing_is_written() {
    let (dir, storage) = folder();
    storage.put("a", "1").await.unwrap();
    let error = storage.put("a/b", "2").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::AlreadyExists), "{error:?}");
    assert!(error.to_string().contains("/a/b"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"1");
}

#[tokio::test]
async fn of_many_writers_that_create_one_file_one_wins_and_its_bytes_are_whole() {
    let (_dir, storage) = folder();
    let writers = (0..16_u8).map(|i| {
        let storage = storage.clone();
        tokio::spawn(async move { storage.put_if_absent("log/7.json", vec![i; 100_000]).await.map(|()| i) })
    });
    let mut winners = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            Ok(i) => winners.push(i),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(storage.get("log/7.json").await.unwrap(), vec![winners[0]; 100_000]);
    assert_eq!(storage.list("").await.unwrap().len(), 1, "no left-overs");
}

#[tokio::test]
async fn a_range_behind_the_end_is_an_error_and_one_across_it_is_cut() {
    let (_dir, storage) = folder();
    storage.put("a", "0123").await.unwrap();
    assert_eq!(storage.get_range("a", 2..10).await.unwrap(), "23");
    assert!(storage.get_range("a", 10..12).await.is_err());
}

#[tokio::test]
async fn listings_are_sorted_and_relative_to_who_asked() {
    let (_dir, storage) = folder();
    for path in ["b/2", "b/10", "a/x", "b-1", "c"] {
        storage.put(path, path).await.unwrap();
    }
    let paths = |found: Vec<boathouse_storage::ObjectEntry>| found.into_iter().map(|e| e.path).collect::<Vec<_>>();
    assert_eq!(paths(storage.list("").await.unwrap()), ["a/x", "b-1", "b/10", "b/2", "c"]);
    assert_eq!(paths(storage.list("b").await.unwrap()), ["b/10", "b/2"], "b-1 is not in the folder b");
    assert_eq!(paths(storage.at("b").list("").await.unwrap()), ["10", "2"]);
    assert_eq!(paths(storage.list_after("", "b/10").await.unwrap()), ["b/2", "c"]);
    assert_eq!(paths(storage.at("b").list_after("", "10").await.unwrap()), ["2"]);
}
