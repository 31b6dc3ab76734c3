//! Small tables for the other modules: `id: Int64, part: Utf8, v: Int32`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::ScanRequest;
use boathouse_delta_core::DeltaTable;
use boathouse_storage::{Storage, seeded_env};
use datafusion::prelude::{DataFrame, SessionContext};

/// A row.
pub(crate) type Row = (Option<i64>, Option<&'static str>, Option<i32>);

pub(crate) fn row(id: i64, part: &'static str, v: i32) -> Row {
    (Some(id), Some(part), Some(v))
}

pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("part", DataType::Utf8, true),
        Field::new("v", DataType::Int32, true),
    ])
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let parts: StringArray = rows.iter().map(|row| row.1).collect();
    let values: Int32Array = rows.iter().map(|row| row.2).collect();
    RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(ids), Arc::new(parts), Arc::new(values)]).unwrap()
}

pub(crate) async fn table(partitioned: bool) -> DeltaTable {
    table_with(partitioned, &[]).await
}

/// The properties of a table in which rows are marked as deleted.
pub(crate) const VECTORS: (&str, &str) = ("delta.enableDeletionVectors", "true");
/// The properties of a table with a change feed.
pub(crate) const FEED: (&str, &str) = ("delta.enableChangeDataFeed", "true");

pub(crate) async fn table_with(partitioned: bool, properties: &[(&str, &str)]) -> DeltaTable {
    let table = DeltaTable::at(Storage::memory().at("lake/t"), seeded_env(7));
    let create = table.create(schema());
    let create = properties.iter().fold(create, |create, (key, value)| create.property(*key, *value));
    if partitioned {
        create.partition_by(["part"]).run().await.unwrap()
    } else {
        create.run().await.unwrap()
    };
    table
}

/// A table with these rows, each list a commit.
pub(crate) async fn table_of(partitioned: bool, commits: &[&[Row]]) -> DeltaTable {
    let table = table(partitioned).await;
    for rows in commits {
        table.append(batch(rows).into()).run().await.unwrap();
    }
    table
}

/// The same with properties.
pub(crate) async fn table_of_with(properties: &[(&str, &str)], commits: &[&[Row]]) -> DeltaTable {
    let table = table_with(false, properties).await;
    for rows in commits {
        table.append(batch(rows).into()).run().await.unwrap();
    }
    table
}

pub(crate) fn frame(rows: &[Row]) -> DataFrame {
    SessionContext::new().read_batch(batch(rows)).unwrap()
}

/// All rows of the newest version, sorted, read without any cache.
pub(crate) async fn read(table: &DeltaTable) -> Vec<OwnedRow> {
    let table = DeltaTable::at(table.storage().clone(), seeded_env(8));
    let batches = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut rows = batches.iter().flat_map(owned_rows).collect::<Vec<_>>();
    rows.sort();
    rows
}

/// A row as it is read.
pub(crate) type OwnedRow = (Option<i64>, Option<String>, Option<i32>);

/// The rows of a batch whose first columns are those of the table.
pub(crate) fn owned_rows(batch: &RecordBatch) -> Vec<OwnedRow> {
    let (ids, parts, values) = (
        batch.column(0).as_primitive::<Int64Type>(),
        batch.column(1).as_string::<i32>(),
        batch.column(2).as_primitive::<Int32Type>(),
    );
    let row = |at: usize| {
        let part = parts.is_valid(at).then(|| parts.value(at).to_owned());
        (ids.is_valid(at).then(|| ids.value(at)), part, values.is_valid(at).then(|| values.value(at)))
    };
    (0..batch.num_rows()).map(row).collect()
}

pub(crate) fn sorted(rows: &[Row]) -> Vec<OwnedRow> {
    let mut rows: Vec<_> = rows.iter().map(|row| (row.0, row.1.map(str::to_owned), row.2)).collect();
    rows.sort();
    rows
}

pub(crate) async fn version(table: &DeltaTable) -> u64 {
    table.snapshot().await.unwrap().version()
}
