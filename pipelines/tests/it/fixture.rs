//! A lakehouse in memory.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use boathouse_base::memory::{MemorySinks, MemoryTables};
use boathouse_base::{BatchStream, Env, ManualClock, ScanRequest, Table, TableVersion, WriteRequest};
use boathouse_pipelines::Target;

pub(crate) struct House {
    pub(crate) tables: MemoryTables,
    pub(crate) sinks: MemorySinks,
    pub(crate) env: Env,
}

impl House {
    pub(crate) fn new() -> Self {
        let env = Env::new(ManualClock::starting_at_us(1_700_000_000_000_000), 11);
        Self { tables: MemoryTables::new(env.clone()), sinks: MemorySinks::new(), env }
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            tables: Arc::new(self.tables.clone()),
            sinks: Arc::new(self.sinks.clone()),
            env: self.env.clone(),
            event_log: Some(Arc::new(self.tables.get("event_log"))),
        }
    }

    /// Appends rows `(id, amount)` to a table.
    pub(crate) async fn append(&self, table: &str, rows: &[(i64, Option<i64>)]) {
        let batch = batch(rows);
        let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
        self.tables.get(table).write(WriteRequest::append().or_create(), rows).await.unwrap();
    }

    pub(crate) async fn version(&self, table: &str) -> u64 {
        self.tables.get(table).snapshot(TableVersion::Latest).await.unwrap().version()
    }

    /// The values of one integer column, sorted.
    pub(crate) async fn ints(&self, table: &str, column: &str) -> Vec<i64> {
        let snapshot = self.tables.get(table).snapshot(TableVersion::Latest).await.unwrap();
        let batches = snapshot.scan(ScanRequest::default().project([column])).await.unwrap().collect().await.unwrap();
        let mut values: Vec<i64> = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter().flatten().collect::<Vec<_>>())
            .collect();
        values.sort_unstable();
        values
    }

    /// The values of one text column of the event log, in order.
    pub(crate) async fn events(&self, column: &str) -> Vec<Option<String>> {
        let snapshot = self.tables.get("event_log").snapshot(TableVersion::Latest).await.unwrap();
        let batches = snapshot.scan(ScanRequest::default().project([column])).await.unwrap().collect().await.unwrap();
        batches
            .iter()
            .flat_map(|batch| batch.column(0).as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect::<Vec<_>>())
            .collect()
    }
}

pub(crate) fn batch(rows: &[(i64, Option<i64>)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|(id, _)| Some(*id)).collect();
    let amounts: Int64Array = rows.iter().map(|(_, amount)| *amount).collect();
    RecordBatch::try_from_iter_with_nullable([("id", Arc::new(ids) as _, true), ("amount", Arc::new(amounts) as _, true)])
        .unwrap()
}
