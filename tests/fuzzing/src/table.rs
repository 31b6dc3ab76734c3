//! Readers of tables: files of which some are arbitrary, and whatever a table does with them.

use std::sync::OnceLock;

use boathouse_base::{Comparison, Predicate, ScanRequest};
use boathouse_delta_protocol::deletion_vector::{DeletionVector, file};
use boathouse_delta_table::{DeltaTable, FileRead, Snapshot};
use boathouse_storage::{Location, Storage, Stores, seeded_env};
use tokio::runtime::Runtime;

/// The table of the seeds. The data file of [`vector_file`] and [`data_file`] has these columns.
const CREATED: &str = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}
{"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"name\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},{\"name\":\"price\",\"type\":\"decimal(20,4)\",\"nullable\":true,\"metadata\":{}},{\"name\":\"at\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}},{\"name\":\"tags\",\"type\":{\"type\":\"array\",\"elementType\":\"string\",\"containsNull\":true},\"nullable\":true,\"metadata\":{}},{\"name\":\"nested\",\"type\":{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]},\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}
"#;

/// A whole data file, of the columns above.
const DATA: &[u8] = include_bytes!("../../../fuzz/seeds/table_data/rows.parquet");

/// Begins a file in the image of a log: the rest of the line is its name.
pub(crate) const FILE_MARK: &str = "## ";

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "without threads nothing can be tested")]
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a thread")
    })
}

/// A log of several files: lines that begin with `## ` name them.
pub(crate) fn log(bytes: &[u8]) {
    runtime().block_on(async {
        let storage = Storage::memory();
        let mut file: Option<(String, Vec<u8>)> = None;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            match line.strip_prefix(FILE_MARK.as_bytes()) {
                Some(name) => {
                    put(&storage, file.take()).await;
                    file = Some((String::from_utf8_lossy(name).trim().to_owned(), Vec::new()));
                }
                None => {
                    if let Some((_, content)) = &mut file {
                        content.extend_from_slice(line);
                    }
                }
            }
        }
        put(&storage, file).await;
        look_at(&DeltaTable::at(storage, seeded_env(1))).await;
    });
}

async fn put(storage: &Storage, file: Option<(String, Vec<u8>)>) {
    let Some((name, content)) = file else { return };
    // A name that no store takes is no finding.
    let _ = storage.put(&format!("_delta_log/{name}"), content).await;
}

/// A checkpoint: all that there is, with its commits, and in the place of a sidecar.
pub(crate) fn checkpoint(bytes: &[u8]) {
    const LAST: &str = r#"{"version":2,"size":7}"#;
    const MANIFEST: &str = concat!(
        r#"{"checkpointMetadata":{"version":2}}"#,
        "\n",
        r#"{"sidecar":{"path":"3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet","sizeInBytes":9,"modificationTime":1}}"#,
        "\n"
    );
    let log = |name: &str| format!("_delta_log/{name}");
    runtime().block_on(async {
        let whole = log("00000000000000000002.checkpoint.parquet");
        let alone = Storage::memory();
        let _ = alone.put(&whole, bytes.to_vec()).await;
        let _ = alone.put(&log("_last_checkpoint"), LAST).await;
        look_at(&DeltaTable::at(alone, seeded_env(1))).await;

        let beside = Storage::memory();
        let _ = beside.put(&whole, bytes.to_vec()).await;
        let _ = beside.put(&log("_last_checkpoint"), LAST).await;
        let _ = beside.put(&log("00000000000000000000.json"), CREATED).await;
        for version in 1..4 {
            let _ = beside.put(&log(&format!("{version:020}.json")), r#"{"commitInfo":{}}"#).await;
        }
        look_at(&DeltaTable::at(beside, seeded_env(1))).await;

        let sidecar = Storage::memory();
        let manifest = log("00000000000000000002.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json");
        let _ = sidecar.put(&manifest, format!("{CREATED}{MANIFEST}")).await;
        let _ = sidecar.put(&log("_sidecars/3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet"), bytes.to_vec()).await;
        look_at(&DeltaTable::at(sidecar, seeded_env(1))).await;
    });
}

/// A deletion vector in its file: as it is, and with a right size and checksum, so that the bitmap is reached.
///
/// On the local disk, where a reader that trusts a declared size would allocate it.
pub(crate) fn vector_file(bytes: &[u8]) {
    let mut framed = Vec::new();
    file::append(&mut framed, bytes);
    let rows = DeletionVector::decode(bytes).map_or(3, |vector| vector.len());
    let lies = [bytes.len() as u64, u64::from(u32::MAX), 0];
    runtime().block_on(async {
        for (content, size) in [(&framed, lies[0]), (&framed, lies[1]), (&bytes.to_vec(), lies[0].saturating_sub(9)), (&framed, lies[2])] {
            let vector = format!(
                r#","deletionVector":{{"storageType":"u","pathOrInlineDv":"vBn[lx{{q8@P<9BNH/isA","offset":1,"sizeInBytes":{size},"cardinality":{rows}}}"#
            );
            let name = "deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin";
            on_disk(DATA, DATA.len() as u64, &vector, Some((name, content))).await;
        }
    });
}

/// A data file: of the size that the log says, and of others.
pub(crate) fn data_file(bytes: &[u8]) {
    runtime().block_on(async {
        for size in [bytes.len() as u64, bytes.len() as u64 / 2, 1 << 40] {
            on_disk(bytes, size, "", None).await;
        }
    });
}

/// A table on the local disk with one data file, of which the log says `size` and `more`.
async fn on_disk(data: &[u8], size: u64, more: &str, other: Option<(&str, &[u8])>) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let Ok(storage) = Location::from_path(folder.path()).and_then(|location| Stores::new().open(&location)) else { return };
    let add = format!(
        "{{\"add\":{{\"path\":\"rows.parquet\",\"partitionValues\":{{}},\"size\":{size},\"modificationTime\":1,\"dataChange\":true{more}}}}}\n"
    );
    let _ = storage.put("_delta_log/00000000000000000000.json", format!("{CREATED}{add}")).await;
    let _ = storage.put("rows.parquet", data.to_vec()).await;
    if let Some((name, content)) = other {
        let _ = storage.put(name, content.to_vec()).await;
    }
    look_at(&DeltaTable::at(storage, seeded_env(1))).await;
}

/// Everything that reads a table. Errors are fine; what is read must agree with itself.
async fn look_at(table: &DeltaTable) {
    let _ = table.history(3).await;
    let Ok(snapshot) = table.snapshot().await else { return };
    let Ok(files) = snapshot.files(None).await else { return };
    assert_eq!(snapshot.file_count().await.ok(), Some(files.len()), "version {}", snapshot.version());
    let _ = (snapshot.row_count().await, snapshot.size_bytes().await, snapshot.tombstones().await);
    let _ = snapshot.app_transaction("a").await;
    let rows = read(&snapshot, ScanRequest::default()).await;
    let predicate = Predicate::compare("id", Comparison::Gt, 40).and(Predicate::compare("name", Comparison::Lt, "n"));
    let request = ScanRequest { predicate: Some(predicate), ..ScanRequest::default() };
    let some = read(&snapshot, request).await;
    if let (Some(rows), Some(some)) = (rows, some) {
        assert!(some <= rows, "a scan with a predicate gave {some} rows, and one without {rows}");
    }
    for file in files.iter().take(2) {
        let request = FileRead { row_index: Some("row number".to_owned()), ..FileRead::default() };
        if let Ok(batches) = snapshot.read_file(file, request) {
            let _ = batches.collect().await;
        }
    }
    let _ = table.snapshot().await;
}

/// How many rows a scan gives; nothing when it fails.
async fn read(snapshot: &Snapshot, request: ScanRequest) -> Option<u64> {
    let batches = snapshot.scan(request).ok()?.collect().await.ok()?;
    Some(batches.iter().map(|batch| batch.num_rows() as u64).sum())
}
