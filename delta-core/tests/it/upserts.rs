//! Epochs by key: the contract of a sink, and a plain map.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use boathouse_base::contract::{self, SinkFixture};
use boathouse_base::{BoxFuture, EpochCommit, ErrorKind, OutputMode, ScanRequest, StreamSink};
use boathouse_delta_core::{DeltaTable, UpsertSink};
use boathouse_storage::{Storage, system_env};
use proptest::prelude::*;

struct Fixture(Storage);

impl Fixture {
    fn table(&self) -> DeltaTable {
        DeltaTable::at(self.0.clone(), system_env())
    }
}

impl SinkFixture for Fixture {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSink>> {
        Box::pin(async { Arc::new(UpsertSink::new(self.table(), ["id"])) as Arc<dyn StreamSink> })
    }

    fn read(&self) -> BoxFuture<'_, Vec<RecordBatch>> {
        Box::pin(rows(&self.0))
    }
}

async fn rows(storage: &Storage) -> Vec<RecordBatch> {
    let table = DeltaTable::at(storage.clone(), system_env());
    match table.try_snapshot().await.unwrap() {
        Some(snapshot) => snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap(),
        None => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_sink_keeps_the_contract_of_a_sink() {
    contract::sink(async || Fixture(Storage::memory())).await;
}

/// (key, sequence, whether it deletes).
type Change = (Option<u8>, i64, bool);

fn batch(rows: &[Change]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("k", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0.map(i64::from)))) as ArrayRef, true),
        ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))), true),
        ("op", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.then_some("delete")))), true),
    ])
    .unwrap()
}

fn epoch(epoch: u64) -> EpochCommit {
    EpochCommit { query_id: "q".into(), epoch, payload: format!("{{\"at\":{epoch}}}"), mode: OutputMode::Update }
}

async fn content(storage: &Storage) -> BTreeMap<Option<i64>, i64> {
    let mut content = BTreeMap::new();
    for batch in rows(storage).await {
        assert_eq!(batch.num_columns(), 2, "`op` is not written");
        let (keys, values) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let known = content.insert(keys.is_valid(row).then(|| keys.value(row)), values.value(row));
            assert_eq!(known, None, "a key is there once");
        }
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_row_of_each_key_counts(
        epochs in proptest::collection::vec(
            proptest::collection::vec((proptest::option::weighted(0.9, 0..6_u8), any::<bool>()), 0..8), 1..8),
        order in any::<u64>(),
        repeats in any::<u8>(),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let storage = Storage::memory();
            let mut model: BTreeMap<Option<i64>, i64> = BTreeMap::new();
            let mut next = 0_u64;
            for (number, changes) in (0_u64..).zip(epochs) {
                let changes: Vec<Change> = changes.into_iter().map(|(key, deletes)| {
                    next += 1;
                    // Each number once, and not in the order in which they come.
                    (key, i64::try_from((next ^ (order % 16)) % 1_000).unwrap(), deletes)
                }).collect();
                let sink = UpsertSink::new(DeltaTable::at(storage.clone(), system_env()), ["k"])
                    .sequence_by("n").delete_when("op = 'delete'").except(["op"]);
                let report = sink.commit(epoch(number), batch(&changes).into()).await.unwrap();
                prop_assert!(!report.skipped);
                if repeats >> (number % 8) & 1 == 1 {
                    prop_assert!(sink.commit(epoch(number), batch(&changes).into()).await.unwrap().skipped);
                }
                let last = sink.last_epoch("q").await.unwrap().unwrap();
                prop_assert_eq!((last.epoch, last.payload), (number, Some(epoch(number).payload)));
                let mut newest: BTreeMap<Option<u8>, (i64, bool)> = BTreeMap::new();
                for (key, n, deletes) in changes {
                    let known = newest.entry(key).or_insert((n, deletes));
                    if n > known.0 {
                        *known = (n, deletes);
                    }
                }
                for (key, (n, deletes)) in newest {
                    let key = key.map(i64::from);
                    match model.get(&key) {
                        Some(known) if *known > n => {}
                        _ if deletes => drop(model.remove(&key)),
                        _ => drop(model.insert(key, n)),
                    }
                }
                let found = content(&storage).await;
                prop_assert_eq!(&found, &model);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_and_nothing_is_written() {
    let storage = Storage::memory();
    let sink = UpsertSink::new(DeltaTable::at(storage.clone(), system_env()), ["k"]);
    sink.commit(epoch(0), batch(&[(Some(1), 1, false)]).into()).await.unwrap();
    let twice = batch(&[(Some(2), 1, false), (Some(1), 2, false), (Some(2), 3, true)]);
    let error = sink.commit(epoch(1), twice.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("several rows with k = 2, and one of them has to count"), "{error}");
    let same = batch(&[(None, 5, false), (None, 5, false)]);
    let error = sink.clone().sequence_by("n").commit(epoch(1), same.into()).await.unwrap_err();
    assert!(error.to_string().contains("several rows with k = NULL and the same `n`"), "{error}");
    let error = sink.clone().sequence_by("at").commit(epoch(1), twice.into()).await.unwrap_err();
    assert!(error.to_string().contains("no column `at`; they have [k, n, op]"), "{error}");
    assert_eq!(sink.last_epoch("q").await.unwrap().map(|last| last.epoch), Some(0));
    assert_eq!(rows(&storage).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}
