//! The suites that every implementation of the traits passes.

use std::sync::Arc;

use arrow_array::RecordBatch;
use boathouse_base::contract::{self, SinkFixture};
use boathouse_base::{BoxFuture, StreamSink, Table};
use boathouse_delta_table::{DeltaSink, DeltaTable};
use boathouse_storage::{Location, Storage, seeded_env};

use crate::rows::read;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_table_in_memory_keeps_the_contract_of_a_table() {
    contract::table(async || Arc::new(DeltaTable::at(Storage::memory(), seeded_env(1))) as Arc<dyn Table>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_table_on_the_local_disk_keeps_the_contract_of_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let root = Location::parse(folder.path().to_str().unwrap()).unwrap();
    let count = std::sync::atomic::AtomicU64::new(0);
    contract::table(async || {
        let name = format!("table {}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Arc::new(DeltaTable::at(Storage::open(&root.join(&name)).unwrap(), seeded_env(2))) as Arc<dyn Table>
    })
    .await;
}

struct Fixture(Storage);

impl SinkFixture for Fixture {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSink>> {
        Box::pin(async { Arc::new(DeltaSink::new(DeltaTable::at(self.0.clone(), seeded_env(3)))) as Arc<dyn StreamSink> })
    }

    fn read(&self) -> BoxFuture<'_, Vec<RecordBatch>> {
        Box::pin(async {
            let table = DeltaTable::at(self.0.clone(), seeded_env(4));
            match table.try_snapshot().await.unwrap() {
                Some(snapshot) => read(&snapshot).await,
                None => Vec::new(),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_sink_keeps_the_contract_of_a_sink() {
    contract::sink(async || Fixture(Storage::memory())).await;
}
