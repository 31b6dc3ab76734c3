//! The suites that every implementation of the traits passes.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::contract::{self, SinkFixture};
use boathouse_base::{BoxFuture, StreamSink, Table, TableVersion};
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

/// Whoever spawns a task, or answers requests, needs futures that go from thread to thread. That this compiles is the test.
#[test]
fn futures_of_a_table_go_from_thread_to_thread() {
    fn sent<T: Send>(_: T) {}
    let (table, other) = (&DeltaTable::at(Storage::memory(), seeded_env(1)), &DeltaTable::at(Storage::memory(), seeded_env(2)));
    let rows = || RecordBatch::new_empty(Arc::new(Schema::empty())).into();
    sent(table.snapshot());
    sent(table.snapshot_at(TableVersion::Number(1)));
    sent(table.create(Schema::empty()).run());
    sent(table.append(rows()).run());
    sent(table.overwrite(rows()).run());
    sent(table.alter().add_column(Field::new("a", DataType::Int32, true)).run());
    sent(table.cluster_by(["a"]).run());
    sent(table.history(1));
    sent(table.restore(TableVersion::Number(1)).run());
    sent(table.clone_to(other).run());
    sent(table.convert_parquet().run());
    sent(table.drop_feature("deletionVectors").run());
    sent(table.fsck().run());
    sent(table.fsck().dry_run());
    sent(table.manifest().run());
    sent(async move { table.checkpoint().await });
    sent(table.clean_log().run());
    sent(table.vacuum().run());
    sent(table.vacuum().dry_run());
    sent(table.changes(0..).read());
    sent(table.settle());
    sent(async move {
        let snapshot = table.snapshot().await?;
        snapshot.files(None).await?;
        snapshot.index_with_stats().await?;
        snapshot.validate_checksum().await
    });
}
