//! Small tables for the other modules.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use boathouse_base::{BatchStream, ScanRequest};
use boathouse_delta_table::{DeltaTable, Snapshot, UpkeepSettings, UpkeepTime};
use boathouse_storage::{Storage, seeded_env};

/// A table in a new store in memory. Its upkeep is done when a commit returns, so that tests see what there is.
pub(crate) fn table() -> DeltaTable {
    kept(DeltaTable::at(Storage::memory().at("lake/t"), seeded_env(7)))
}

/// The same table, its upkeep done before a commit returns.
pub(crate) fn kept(table: DeltaTable) -> DeltaTable {
    table.with_upkeep(UpkeepSettings { when: UpkeepTime::BeforeReturn, ..UpkeepSettings::default() })
}

/// Another handle on the same table, without its cache.
pub(crate) fn reopened(table: &DeltaTable) -> DeltaTable {
    kept(DeltaTable::at(table.storage().clone(), seeded_env(8)))
}

pub(crate) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, a)| (*n, Arc::clone(a), true))).unwrap()
}

pub(crate) fn stream(batch: RecordBatch) -> BatchStream {
    BatchStream::from_batches(batch.schema(), vec![batch])
}

/// `id: Int64, part: Utf8`
pub(crate) fn people(ids: &[i64], part: &str) -> BatchStream {
    stream(batch(&[
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("part", Arc::new(StringArray::from(vec![part; ids.len()]))),
    ]))
}

pub(crate) async fn read(snapshot: &Snapshot) -> Vec<RecordBatch> {
    snapshot.scan(ScanRequest::default()).unwrap().collect().await.unwrap()
}

/// The column `id`, sorted.
pub(crate) async fn ids(snapshot: &Snapshot) -> Vec<i64> {
    ids_of(&snapshot.scan(ScanRequest::default().project(["id"])).unwrap().collect().await.unwrap())
}

pub(crate) fn ids_of(batches: &[RecordBatch]) -> Vec<i64> {
    let mut ids: Vec<i64> =
        batches.iter().flat_map(|b| b.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

pub(crate) async fn latest_ids(table: &DeltaTable) -> Vec<i64> {
    ids(&reopened(table).snapshot().await.unwrap()).await
}

/// Appends one commit for each id.
pub(crate) async fn append_each(table: &DeltaTable, range: std::ops::Range<i64>) {
    for id in range {
        table.append(people(&[id], "a")).create_if_absent().run().await.unwrap();
    }
}
