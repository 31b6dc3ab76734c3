use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Operation, Storage};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

#[tokio::test]
async fn every_kind_of_request_is_counted_once() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    storage.put("a", "123").await.unwrap();
    storage.put_if_absent("b", "45").await.unwrap();
    storage.get("a").await.unwrap();
    storage.get_range("a", 1..3).await.unwrap();
    storage.head("a").await.unwrap();
    storage.list("").await.unwrap();
    storage.list_after("", "a").await.unwrap();
    storage.delete("b").await.unwrap();
    let counts = counting.counts();
    for (operation, expected) in [
        (Operation::Put, 1),
        (Operation::PutIfAbsent, 1),
        (Operation::Get, 1),
        (Operation::GetRange, 1),
        (Operation::Head, 1),
        (Operation::List, 2),
        (Operation::Delete, 1),
    ] {
        assert_eq!(counts.of(operation), expected, "{operation}");
    }
    assert_eq!((counts.total(), counts.gets(), counts.read_bytes, counts.written_bytes), (8, 2, 5, 5));
    assert_eq!(counting.log()[0], (Operation::Put, "a".to_owned()));
}

#[tokio::test]
async fn a_request_that_finds_nothing_counts_as_well() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    assert_eq!(storage.get_optional("a").await.unwrap(), None);
    assert_eq!((counting.counts().total(), counting.counts().read_bytes), (1, 0));
}

#[tokio::test]
async fn neighbouring_ranges_are_one_request_as_on_a_cloud_store() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    storage.put("a", vec![0; 8_000_000]).await.unwrap();
    counting.reset();
    let ranges = [0..10, 20..30, 7_000_000..7_000_010];
    storage.object_store().get_ranges(&Path::from("a"), &ranges).await.unwrap();
    assert_eq!(counting.counts().of(Operation::GetRange), 2);
}

#[tokio::test]
async fn an_upload_in_parts_counts_its_parts() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    let mut upload = storage.object_store().put_multipart(&Path::from("big")).await.unwrap();
    upload.put_part(PutPayload::from("12")).await.unwrap();
    upload.put_part(PutPayload::from("345")).await.unwrap();
    upload.complete().await.unwrap();
    let counts = counting.counts();
    assert_eq!(counts.of(Operation::UploadPart), 2);
    assert_eq!((counts.total(), counts.written_bytes), (4, 5));
}
