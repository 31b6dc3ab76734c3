//! State that does not fit into the memory that it may take.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{OutputMode, ReadLimit};
use boathouse_storage::{Location, Storage};
use boathouse_stream::{RunningQuery, StepOutcome, StreamQuery};
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};

/// Keys of all rows.
const KEYS: i64 = 40_000;
/// Bytes of memory: less than a third of what they take.
const BUDGET: usize = 800_000;

fn rows(first: i64, count: i64) -> RecordBatch {
    // Each number comes again after KEYS rows; neighbours are far apart.
    let keys: Vec<i64> = (first..first + count).map(|n| n * 7_919 % KEYS).collect();
    RecordBatch::try_from_iter([
        ("k", Arc::new(StringArray::from_iter_values(keys.iter().map(|k| format!("a key of some length {k}")))) as ArrayRef),
        ("v", Arc::new(Int64Array::from_iter_values(first..first + count))),
    ])
    .unwrap()
}

struct Rig {
    source: MemorySource,
    sink: MemorySink,
    checkpoint: Storage,
}

impl Rig {
    fn new(checkpoint: Storage) -> Self {
        Self { source: MemorySource::new(rows(0, 0).schema()), sink: MemorySink::new(), checkpoint }
    }

    async fn open(&self, bytes: usize) -> RunningQuery {
        StreamQuery::named("sums")
            .source(Arc::new(self.source.clone()))
            .sql("SELECT k, count(*) AS n, sum(v) AS s FROM source GROUP BY k")
            .output_mode(OutputMode::Update)
            .read_limit(ReadLimit { rows: Some(5_000), ..ReadLimit::default() })
            .sink(Arc::new(self.sink.clone()))
            .checkpoint(self.checkpoint.clone())
            .state_memory(bytes)
            .open()
            .await
            .unwrap()
    }

    /// The newest count and sum of each key.
    fn sums(&self) -> BTreeMap<String, (i64, i64)> {
        let mut sums = BTreeMap::new();
        for batch in self.sink.epochs().into_iter().flat_map(|epoch| epoch.batches) {
            let (n, s) = (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<Int64Type>());
            for row in 0..batch.num_rows() {
                sums.insert(batch.column(0).as_string::<i32>().value(row).to_owned(), (n.value(row), s.value(row)));
            }
        }
        sums
    }
}

fn expected(all: i64) -> BTreeMap<String, (i64, i64)> {
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for n in 0..all {
        let sum = sums.entry(format!("a key of some length {}", n * 7_919 % KEYS)).or_default();
        *sum = (sum.0 + 1, sum.1 + n);
    }
    sums
}

/// Steps to the end; gives the most that was in memory and on disk after an epoch.
async fn drain(query: &mut RunningQuery) -> (u64, u64) {
    let mut most = (0, 0);
    while let StepOutcome::Epoch(progress) = query.step().await.unwrap() {
        let operator = &progress.operators[0];
        most = (most.0.max(operator.bytes), most.1.max(operator.bytes_on_disk));
    }
    most
}

async fn check(checkpoint: Storage) {
    let rig = Rig::new(checkpoint);
    let mut all = 0;
    for run in 0..4 {
        let mut query = rig.open(BUDGET).await;
        rig.source.push(rows(all, 30_000)).unwrap();
        all += 30_000;
        let (memory, disk) = drain(&mut query).await;
        let index = 9 * 2 * KEYS as u64;
        assert!(memory <= BUDGET as u64 + index, "run {run}: {memory} bytes in memory");
        assert!(run == 0 || disk > 500_000, "run {run}: {disk} bytes on disk");
        assert_eq!(rig.sums(), expected(all), "run {run}");
    }
    // With more memory it comes back, a segment an epoch.
    let mut query = rig.open(1 << 30).await;
    for _ in 0..20 {
        rig.source.push(rows(all, 10)).unwrap();
        all += 10;
        drain(&mut query).await;
    }
    rig.source.push(rows(all, 10)).unwrap();
    assert_eq!(drain(&mut query).await.1, 0);
    assert_eq!(rig.sums(), expected(all + 10));
}

#[tokio::test]
async fn state_beyond_its_memory_stays_in_the_files_of_a_local_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    check(Storage::open(&Location::from_path(folder.path()).unwrap()).unwrap()).await;
}

#[tokio::test]
async fn state_beyond_its_memory_goes_to_temporary_files_when_the_checkpoint_is_elsewhere() {
    check(Storage::memory()).await;
}
