//! A table as a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use boathouse_base::contract::{self, SourceFixture};
use boathouse_base::{BoxFuture, ErrorKind, ReadLimit, StreamSource};
use boathouse_delta_core::{DeltaSource, DeltaTable, DeltaTableExt};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Storage, seeded_env};

use crate::rows::{batch, row, table_of};

struct Growing {
    storage: Storage,
    next: AtomicI64,
}

impl SourceFixture for Growing {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>> {
        let table = DeltaTable::at(self.storage.clone(), seeded_env(2));
        Box::pin(async move { Arc::new(DeltaSource::new(table)) as Arc<dyn StreamSource> })
    }

    fn grow(&self) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let id = self.next.fetch_add(2, Ordering::Relaxed);
            let table = DeltaTable::at(self.storage.clone(), seeded_env(id.unsigned_abs()));
            table.append(batch(&[row(id, "a", 1), row(id + 1, "b", 2)]).into()).create_if_absent().run().await.unwrap();
            2
        })
    }
}

#[tokio::test]
async fn a_delta_source_keeps_the_contract() {
    let state = async || {
        let table = DeltaTable::at(Storage::memory(), seeded_env(1));
        table.create(crate::rows::schema()).run().await.unwrap();
        Growing { storage: table.storage().clone(), next: AtomicI64::new(1) }
    };
    contract::source(state).await;
}

#[tokio::test]
async fn a_delete_stops_the_stream_with_the_version_that_did_it() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "a", 2)]]).await;
    let source = DeltaSource::new(table.clone());
    let first = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    table.delete().filter("id = 1").run().await.unwrap();
    let error = source.plan(Some(&first.end), ReadLimit::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2 (DELETE)"), "{error}");
}

#[tokio::test]
async fn a_batch_does_not_read_again_the_commits_that_its_plan_has_read() {
    let (storage, counting) = CountingStore::wrap(&Storage::memory());
    let table = DeltaTable::at(storage, seeded_env(3));
    table.create(crate::rows::schema()).run().await.unwrap();
    for id in 0..5 {
        table.append(batch(&[row(id, "a", 1)]).into()).run().await.unwrap();
    }
    // What comes after commits reads the log, too.
    table.settle().await;
    // The same batch twice: by a source that planned it, and by one that is told of it.
    let (planner, stranger) = (DeltaSource::new(table.clone()), DeltaSource::new(table));
    let end = planner.plan(None, ReadLimit::default()).await.unwrap().unwrap().end;
    let mut reads = Vec::new();
    for source in [stranger, planner] {
        counting.reset();
        let rows = source.read(None, &end).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 5);
        reads.push(counting.log().iter().filter(|(_, path)| path.ends_with(".json")).count());
    }
    assert_eq!(reads[0] - reads[1], 6, "versions 0 to 5 were read by the plan: {reads:?}");
}
