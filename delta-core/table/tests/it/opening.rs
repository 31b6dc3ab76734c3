//! Opening: what it costs, and that the quick ways read what the slow ones read.

use std::fmt::Write;

use boathouse_base::{AppTransaction, Comparison, DomainError, ErrorKind, Predicate};
use boathouse_delta_table::protocol::checksum::VersionChecksum;
use boathouse_delta_table::protocol::log_path::{checksum_name, commit_name, compacted_name};
use boathouse_delta_table::{DeltaTable, Snapshot};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Operation, Storage, seeded_env};

use crate::rows::{append_each, ids, people, reopened, table};

fn log(name: &str) -> String {
    format!("_delta_log/{name}")
}

/// The same table behind a store that counts.
fn counted(table: &DeltaTable) -> (DeltaTable, CountingStore) {
    let (storage, counts) = CountingStore::wrap(table.storage());
    (DeltaTable::at(storage, seeded_env(7)), counts)
}

async fn write_checksum(table: &DeltaTable) -> Snapshot {
    let snapshot = reopened(table).snapshot().await.unwrap();
    let state = snapshot.state();
    let mut sum = VersionChecksum::empty(snapshot.version(), snapshot.protocol().clone(), snapshot.metadata().clone());
    for file in snapshot.index().await.unwrap().iter() {
        sum.count_file(file.size_bytes(), None);
    }
    sum.set_transactions = Some(state.app_txns.values().map(|known| known.txn.clone()).collect());
    sum.domain_metadata = Some(state.domain_metadata.values().cloned().collect());
    table.storage().put(&log(&checksum_name(snapshot.version())), sum.to_json().unwrap()).await.unwrap();
    snapshot
}

#[tokio::test]
async fn a_checksum_opens_a_table_without_its_checkpoint_or_commits() {
    let table = table();
    append_each(&table, 0..23).await;
    let app = AppTransaction { app_id: "stream".into(), version: 5, payload: Some("kept".into()) };
    table.append(people(&[23], "a")).app_transaction(app).run().await.unwrap();
    let plain = write_checksum(&table).await;

    let (counting, counts) = counted(&table);
    let snapshot = counting.snapshot().await.unwrap();
    let counted = counts.counts();
    assert_eq!((counted.of(Operation::List), counted.gets()), (1, 2), "pointer and checksum: {:?}", counts.log());
    assert_eq!((snapshot.version(), snapshot.metadata()), (plain.version(), plain.metadata()));
    assert_eq!(snapshot.timestamp_us(), plain.timestamp_us());
    let found = snapshot.app_transaction("stream").await.unwrap().unwrap();
    assert_eq!((found.version, found.payload.as_deref()), (5, Some("kept")));
    // Rows need files, and files need the log.
    assert_eq!(ids(&snapshot).await, (0..24).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_asks_for_no_file_of_the_table() {
    let table = table();
    append_each(&table, 0..25).await;
    write_checksum(&table).await;
    let (counting, counts) = counted(&table);
    counting.append(people(&[25], "a")).run().await.unwrap();
    let checkpoint = counts.log().iter().any(|(operation, path)| *operation != Operation::List && path.contains(".checkpoint."));
    assert!(!checkpoint, "{:?}", counts.log());
    assert_eq!(counts.counts().of(Operation::List), 1, "{:?}", counts.log());
}

#[tokio::test]
async fn a_checksum_that_is_damaged_or_silent_about_applications_is_passed_over() {
    for content in ["{", "{\"tableSizeBytes\":1}", ""] {
        let table = table();
        append_each(&table, 0..12).await;
        write_checksum(&table).await;
        let version = table.snapshot().await.unwrap().version();
        table.storage().put(&log(&checksum_name(version)), content).await.unwrap();
        let snapshot = reopened(&table).snapshot().await.unwrap();
        assert_eq!(ids(&snapshot).await, (0..12).collect::<Vec<_>>(), "{content:?}");
    }
}

#[tokio::test]
async fn compacted_commits_stand_for_the_commits_they_hold() {
    let table = table();
    append_each(&table, 0..8).await;
    let storage = table.storage();
    let mut lines = String::new();
    for version in 2..=5 {
        let bytes = storage.get(&log(&commit_name(version))).await.unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines().filter(|line| !line.contains("\"commitInfo\"")).for_each(|line| writeln!(lines, "{line}").unwrap());
    }
    storage.put(&log(&compacted_name(2, 5)), lines).await.unwrap();
    let (counting, counts) = counted(&table);
    let snapshot = counting.snapshot().await.unwrap();
    assert_eq!(ids(&snapshot).await, (0..8).collect::<Vec<_>>());
    let read = |name: &str| counts.log().iter().any(|(_, path)| path.ends_with(name));
    assert!(read(&compacted_name(2, 5)) && !read(&commit_name(3)), "{:?}", counts.log());
}

/// A table whose second commit has many megabytes: `files` files of day `n % 10`, each with ids `n * 10` to `n * 10 + 9`.
async fn long_log(files: usize) -> DeltaTable {
    let table = DeltaTable::at(Storage::memory().at("long"), seeded_env(3));
    let head = concat!(
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        "\n",
        r#"{"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"note\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},{\"name\":\"day\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":["day"],"configuration":{}}}"#,
        "\n",
    );
    table.storage().put(&log(&commit_name(0)), head).await.unwrap();
    let mut text = String::new();
    for n in 0..files {
        let (day, low, high) = (n % 10, n * 10, n * 10 + 9);
        // Lines of very different lengths, so that pieces end anywhere.
        let note = "é\\\\\\\"x".repeat(n % 97 + if n % 5000 == 4999 { 100_000 } else { 0 });
        writeln!(
            text,
            r#"{{"add":{{"path":"day={day}/f-{n}.parquet","partitionValues":{{"day":"{day}"}},"size":{n},"modificationTime":1,"dataChange":true,"stats":"{{\"numRecords\":10,\"minValues\":{{\"id\":{low},\"note\":\"{note}\"}},\"maxValues\":{{\"id\":{high}}},\"nullCount\":{{\"id\":0}}}}"}}}}"#,
        )
        .unwrap();
    }
    assert!(text.len() > 20 << 20, "{} bytes are three pieces", text.len());
    table.storage().put(&log(&commit_name(1)), text).await.unwrap();
    table
}

#[tokio::test]
async fn a_long_commit_is_read_in_pieces_and_means_what_it_means_as_a_whole() {
    let table = long_log(40_000).await;
    let remove = r#"{"remove":{"path":"day=7/f-17.parquet","dataChange":true}}"#;
    table.storage().put(&log(&commit_name(2)), remove).await.unwrap();
    let (counting, counts) = counted(&table);
    let snapshot = counting.snapshot().await.unwrap();
    assert_eq!(snapshot.file_count().await.unwrap(), 39_999);
    let pieces = counts.log().iter().filter(|(operation, _)| *operation == Operation::GetRange).count();
    assert!((3..=8).contains(&pieces), "{pieces} pieces, each once: {:?}", counts.log());
    let index = snapshot.index().await.unwrap();
    assert!(!index.has_stats(), "statistics are for those who ask");
    let expected = (0..40_000).filter(|n| *n != 17).map(|n| format!("day={}/f-{n}.parquet", n % 10));
    assert!(index.iter().map(|file| file.path().to_owned()).eq(expected));

    // Statistics come with a second pass.
    let wanted = Predicate::compare("id", Comparison::GtEq, 123_455).and(Predicate::compare("id", Comparison::Lt, 123_465));
    let found = snapshot.files(Some(&wanted)).await.unwrap();
    assert_eq!(
        found.iter().map(|file| file.path().into_owned()).collect::<Vec<_>>(),
        ["day=5/f-12345.parquet", "day=6/f-12346.parquet"]
    );
    assert_eq!(snapshot.row_count().await.unwrap(), Some(399_990));
    let on_day = snapshot.files(Some(&Predicate::eq("day", 7))).await.unwrap();
    assert_eq!(on_day.len(), 3_999);
}

#[tokio::test]
async fn a_checkpoint_of_a_long_commit_reads_it_once_and_has_the_statistics_of_every_file() {
    let table = long_log(40_000).await;
    // One file of another commit, and one that another commit removed.
    let more = concat!(
        r#"{"remove":{"path":"day=7/f-17.parquet","dataChange":true}}"#,
        "\n",
        r#"{"add":{"path":"day=1/late.parquet","partitionValues":{"day":"1"},"size":5,"modificationTime":2,"dataChange":true,"stats":"{\"numRecords\":3}"}}"#,
    );
    table.storage().put(&log(&commit_name(2)), more).await.unwrap();
    let files = async |snapshot: &Snapshot| {
        let index = snapshot.index_with_stats().await.unwrap();
        let mut files: Vec<_> = index.iter().map(|file| (file.path().to_owned(), file.size_bytes(), file.stats())).collect();
        files.sort();
        files
    };
    let opened = reopened(&table);
    let expected = files(&opened.snapshot().await.unwrap()).await;
    let (fresh, counts) = counted(&table);
    for handle in [&fresh, &opened] {
        assert_eq!(handle.checkpoint().run().await.unwrap().files, 40_000);
        assert_eq!(files(&reopened(&table).snapshot().await.unwrap()).await, expected);
    }
    let of_commit =
        |(operation, path): &&(Operation, String)| *operation == Operation::GetRange && path.ends_with(&commit_name(1));
    let pieces = counts.log().iter().filter(of_commit).count();
    assert!((3..=8).contains(&pieces), "{pieces} pieces, each once: {:?}", counts.log());
}

#[tokio::test]
async fn a_broken_line_in_the_last_piece_is_named() {
    let table = long_log(40_000).await;
    let path = log(&commit_name(1));
    let mut text = String::from_utf8(table.storage().get(&path).await.unwrap().to_vec()).unwrap();
    text.truncate(text.trim_end().len() - 40);
    table.storage().put(&path, text).await.unwrap();
    let error = reopened(&table).snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("commit 1") && error.to_string().contains("line 40000"), "{error}");
}
