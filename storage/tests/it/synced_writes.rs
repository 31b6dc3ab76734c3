use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Location, Storage, Stores};
use object_store::{ObjectStoreExt, WriteMultipart};

fn folder() -> (tempfile::TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::parse(dir.path().join("deep/down").to_str().unwrap()).unwrap();
    let storage = Stores::new().with_synced_writes().open(&location).unwrap();
    (dir, storage)
}

#[tokio::test]
async fn objects_are_written_replaced_and_created_once() {
    let (_dir, storage) = folder();
    storage.put("a/b/c.json", "1").await.unwrap();
    storage.put("a/b/c.json", "22").await.unwrap();
    assert_eq!(storage.get("a/b/c.json").await.unwrap(), "22");
    storage.put_if_absent("a/d.json", "3").await.unwrap();
    let error = storage.put_if_absent("a/d.json", "4").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(storage.get("a/d.json").await.unwrap(), "3");
    let paths: Vec<String> = storage.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["a/b/c.json", "a/d.json"], "no left-overs");
}

#[tokio::test]
async fn of_many_writers_that_create_one_file_one_wins_and_its_bytes_are_whole() {
    let (dir, storage) = folder();
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
    assert_eq!(std::fs::read_dir(dir.path().join("deep/down/log")).unwrap().count(), 1, "no left-overs");
}

#[tokio::test]
async fn an_upload_in_parts_is_there_when_it_is_complete_and_not_before() {
    let (dir, storage) = folder();
    let (store, path) = (storage.object_store(), storage.path_of("big").unwrap());
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await.unwrap(), 1000);
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    upload.write(&content);
    assert_eq!(storage.get_optional("big").await.unwrap(), None);
    assert!(storage.list("").await.unwrap().is_empty());
    upload.finish().await.unwrap();
    assert_eq!(storage.get("big").await.unwrap(), content);

    let mut given_up = store.put_multipart(&path).await.unwrap();
    given_up.put_part("other".into()).await.unwrap();
    given_up.abort().await.unwrap();
    assert!(given_up.complete().await.is_err());
    assert_eq!(storage.get("big").await.unwrap(), content);
    let mut dropped = store.put_multipart(&path).await.unwrap();
    dropped.put_part("other".into()).await.unwrap();
    drop(dropped);
    assert_eq!(std::fs::read_dir(dir.path().join("deep/down")).unwrap().count(), 1, "no left-overs");
}

#[tokio::test]
async fn copies_are_whole_and_a_file_where_a_folder_is_meant_is_refused() {
    let (_dir, storage) = folder();
    storage.put("a", "1").await.unwrap();
    let path = |name| storage.path_of(name).unwrap();
    storage.object_store().copy(&path("a"), &path("b")).await.unwrap();
    assert_eq!(storage.get("b").await.unwrap(), "1");
    assert!(storage.object_store().copy(&path("none"), &path("c")).await.is_err());
    let error = storage.put("a/b", "2").await.unwrap_err();
    assert!(error.to_string().contains("/a/b"), "{error}");
    assert_eq!(storage.get("a").await.unwrap(), "1");
}

#[tokio::test]
async fn an_entity_tag_is_that_of_the_file() {
    let (_dir, storage) = folder();
    let path = storage.path_of("a").unwrap();
    let written = storage.object_store().put(&path, "1".into()).await.unwrap();
    assert_eq!(written.e_tag, storage.object_store().head(&path).await.unwrap().e_tag);
}
