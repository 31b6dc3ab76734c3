//! Folders of files as sinks.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_base::contract::{self, SinkFixture};
use boathouse_base::{
    BatchStream, BoxFuture, DomainError, Env, EpochCommit, ErrorKind, ManualClock, OutputMode, ReadLimit, StreamSink,
};
use boathouse_storage::Storage;
use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
use boathouse_stream::sinks::{FileFormat, FileSink};
use boathouse_stream::{StreamError, StreamQuery};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Rig, at, batch, crash_at, drain};

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

async fn read_files(folder: &Storage, format: FileFormat, schema: &SchemaRef) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for url in FileSink::new(folder.clone(), format).files().await.unwrap() {
        let bytes = folder.get(name_of(&url)).await.unwrap();
        match format {
            FileFormat::Parquet => {
                batches.extend(ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap));
            }
            FileFormat::Json => {
                let reader = ReaderBuilder::new(SchemaRef::clone(schema)).build(bytes.as_ref()).unwrap();
                batches.extend(reader.map(Result::unwrap));
            }
        }
    }
    batches
}

struct Fixture(Storage, FileFormat);

impl SinkFixture for Fixture {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSink>> {
        Box::pin(async { Arc::new(FileSink::new(self.0.clone(), self.1)) as Arc<dyn StreamSink> })
    }

    fn read(&self) -> BoxFuture<'_, Vec<RecordBatch>> {
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("delay", DataType::Float64, true),
        ];
        Box::pin(async { read_files(&self.0, self.1, &Arc::new(Schema::new(fields))).await })
    }

    fn replaces(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_of_parquet_and_of_json_keep_the_contract_of_a_sink() {
    for format in [FileFormat::Parquet, FileFormat::Json] {
        contract::sink(async || Fixture(Storage::memory(), format)).await;
    }
}

fn sink(folder: &Storage) -> FileSink {
    FileSink::new(folder.clone(), FileFormat::Json)
}

fn query(rig: &Rig, sink: FileSink) -> StreamQuery {
    rig.query().sink(Arc::new(sink)).read_limit(ReadLimit { rows: Some(3), ..ReadLimit::default() })
}

async fn delays(folder: &Storage) -> Vec<i64> {
    let schema = batch(&[]).schema();
    let of = |batch: &RecordBatch| batch.column_by_name("delay").unwrap().as_primitive::<Int64Type>().values().to_vec();
    read_files(folder, FileFormat::Json, &schema).await.iter().flat_map(of).collect()
}

#[tokio::test]
async fn the_log_of_a_folder_is_that_of_spark() {
    let folder = Storage::memory();
    let env = Env::new(ManualClock::starting_at_us(4_000_000_000_123_456), 7);
    let sink = |folder: &Storage| sink(folder).env(env.clone());
    let commit =
        |epoch| EpochCommit { query_id: "q".into(), epoch, payload: format!("{{\"n\":{epoch}}}"), mode: OutputMode::Append };
    let rows = || BatchStream::from_batches(batch(&[]).schema(), vec![at(&[1, 2])]);
    for epoch in 0..25 {
        let report = sink(&folder).commit(commit(epoch), rows()).await.unwrap();
        assert_eq!((report.rows, report.files, report.version), (2, 1, Some(epoch)));
    }
    let entries: Vec<String> =
        folder.list("_spark_metadata").await.unwrap().iter().map(|entry| name_of(&entry.path).to_owned()).collect();
    let expected =
        ["10", "11", "12", "13", "14", "15", "16", "17", "18", "19.compact", "20", "21", "22", "23", "24", "9.compact"];
    assert_eq!(entries, expected, "what the entry before the last compact one repeats is gone");
    let text = |path: &'static str| async { String::from_utf8(folder.get(path).await.unwrap().to_vec()).unwrap() };
    let entry = text("_spark_metadata/20").await;
    let lines: Vec<&str> = entry.lines().collect();
    assert_eq!(lines[0], "v1");
    let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    let size = folder.head(name_of(line["path"].as_str().unwrap())).await.unwrap().unwrap().size_bytes;
    assert!(line["path"].as_str().unwrap().starts_with(folder.url()), "{line}");
    for (key, value) in [
        ("size", serde_json::json!(size)),
        ("isDir", false.into()),
        ("modificationTime", 4_000_000_000_123_i64.into()),
        ("blockReplication", 1.into()),
        ("blockSize", 134_217_728.into()),
        ("action", "add".into()),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    let compact = text("_spark_metadata/19.compact").await;
    assert_eq!(compact.lines().count(), 21);
    assert_eq!(compact.matches("\"query\"").count(), 1, "the position of the last epoch alone");
    assert_eq!(sink(&folder).files().await.unwrap().len(), 25);
    assert_eq!(delays(&folder).await.len(), 50);
    assert_eq!(sink(&folder).last_epoch("q").await.unwrap().unwrap().payload.as_deref(), Some("{\"n\":24}"));
}

#[tokio::test]
async fn a_query_that_has_long_been_silent_is_found_in_a_folder_of_two() {
    let folder = Storage::memory();
    // All entries are old at once: their numbers become free again.
    let env = Env::new(ManualClock::starting_at_us(4_000_000_000_000_000), 7);
    let sink = |folder: &Storage| sink(folder).env(env.clone());
    let commit =
        |query: &str, epoch| EpochCommit { query_id: query.into(), epoch, payload: query.into(), mode: OutputMode::Append };
    let rows = |n| BatchStream::from_batches(batch(&[]).schema(), vec![at(&[n])]);
    let (one, two) = (sink(&folder), sink(&folder));
    one.commit(commit("one", 0), rows(0)).await.unwrap();
    for epoch in 0..33 {
        two.commit(commit("two", epoch), rows(1)).await.unwrap();
    }
    // This handle has not read what the other one has added.
    one.commit(commit("one", 1), rows(2)).await.unwrap();
    let last = sink(&folder).last_epoch("one").await.unwrap().unwrap();
    assert_eq!((last.epoch, last.payload.as_deref()), (1, Some("one")));
    assert_eq!(sink(&folder).last_epoch("two").await.unwrap().unwrap().epoch, 32);
    assert_eq!(sink(&folder).files().await.unwrap().len(), 35);
}

#[tokio::test]
async fn files_hold_as_many_rows_as_they_may() {
    let folder = Storage::memory();
    let commit = EpochCommit { query_id: "q".into(), epoch: 0, payload: String::new(), mode: OutputMode::Append };
    let rows = BatchStream::from_batches(batch(&[]).schema(), vec![at(&[1, 2, 3, 4, 5]), at(&[6, 7]), at(&[8, 9, 10])]);
    let report = sink(&folder).max_records_per_file(4).commit(commit, rows).await.unwrap();
    assert_eq!((report.rows, report.files), (10, 3));
    let mut sizes = Vec::new();
    for url in sink(&folder).files().await.unwrap() {
        sizes.push(String::from_utf8(folder.get(name_of(&url)).await.unwrap().to_vec()).unwrap().lines().count());
    }
    assert_eq!(sizes, [4, 4, 2]);
}

const PUSHES: [&[i64]; 4] = [&[10, 12, 3, 7], &[25, 26], &[9, 14, 11, 1, 2, 3, 4], &[41]];

#[tokio::test]
async fn a_crash_at_any_place_loses_and_repeats_no_row() {
    let run = async |nth: u64| {
        let (rig, folder) = (Rig::new(), Storage::memory());
        let mut running = query(&rig, sink(&folder)).with_crash_points(crash_at(nth)).open().await.unwrap();
        let mut died = 0;
        for push in PUSHES {
            rig.push(at(push));
            while let Err(error) = drain(&mut running).await {
                assert!(matches!(error, StreamError::Crashed { .. }), "{error}");
                died += 1;
                running = query(&rig, sink(&folder)).open().await.unwrap();
            }
        }
        (delays(&folder).await.len(), died)
    };
    for nth in 0.. {
        let (rows, died) = run(nth).await;
        assert_eq!(rows, 14, "died at place {nth}");
        if died == 0 {
            assert!(nth > 40, "there are many places: {nth}");
            break;
        }
    }
}

#[tokio::test]
async fn any_write_of_the_folder_may_fail_and_no_row_is_lost_or_doubled() {
    let fresh = || FaultStore::new(Arc::clone(Storage::memory().object_store()));
    let run = async |store: &FaultStore| {
        let rig = Rig::new();
        let mut failures = 0_u32;
        let mut running = query(&rig, sink(&store.storage())).open().await.unwrap();
        for push in PUSHES {
            rig.push(at(push));
            while let Err(error) = drain(&mut running).await {
                failures += 1;
                assert!(failures < 10, "it does not recover: {error}");
                if failures.is_multiple_of(2) {
                    running = query(&rig, sink(&store.storage())).open().await.unwrap();
                }
            }
        }
    };
    let calm = fresh();
    run(&calm).await;
    assert!(calm.writes() > 8, "{}", calm.writes());
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::LostReply, Fault::DiskFull] {
        for n in 0..calm.writes() {
            let store = fresh();
            store.inject(FaultRule::new(fault).on_writes().skip(n));
            run(&store).await;
            assert_eq!(store.injected().len(), 1, "{fault:?} of write {n}");
            assert_eq!(delays(&store.storage()).await.len(), 14, "{fault:?} of write {n}");
        }
    }
}

#[tokio::test]
async fn rows_that_fail_leave_no_file() {
    let folder = Storage::memory();
    let rig = Rig::new();
    rig.push(at(&[1, 2]));
    let sql = "SELECT 1 / (delay - 1) AS d FROM source";
    query(&rig, sink(&folder)).sql(sql).run_available_now().await.unwrap_err();
    let left: BTreeSet<String> = folder.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn other_modes_are_refused_and_a_damaged_log_is_named() {
    let (rig, folder) = (Rig::new(), Storage::memory());
    rig.push(at(&[1]));
    let sql = "SELECT origin, count(*) AS n FROM source GROUP BY origin";
    for mode in [OutputMode::Complete, OutputMode::Update] {
        let query = query(&rig, sink(&folder)).output_mode(mode).checkpoint(Storage::memory()).sql(sql);
        let error = query.run_available_now().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("use the append mode, or a Delta table"), "{error}");
    }
    query(&rig, sink(&folder)).run_available_now().await.unwrap();
    folder.put("_spark_metadata/0", "v1\n{\"path\":7}").await.unwrap();
    let error = query(&rig, sink(&folder)).run_available_now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("_spark_metadata/0"), "{error}");
}
