//! Snapshots as tables of the engine.

use std::sync::{Arc, Mutex};

use boathouse_base::memory::MemoryTable;
use boathouse_base::{
    BatchStream, BoxFuture, CommittedAppTransaction, Env, ManualClock, Result, ScanRequest, Table, TableSnapshot, TableVersion,
    WriteRequest,
};
use boathouse_frames::SnapshotProvider;
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;

/// Remembers what it is asked.
#[derive(Debug)]
struct Spy {
    inner: Arc<dyn TableSnapshot>,
    asked: Arc<Mutex<Vec<ScanRequest>>>,
}

impl TableSnapshot for Spy {
    fn version(&self) -> u64 {
        self.inner.version()
    }
    fn timestamp_us(&self) -> i64 {
        self.inner.timestamp_us()
    }
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
    fn partition_columns(&self) -> &[String] {
        self.inner.partition_columns()
    }
    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<BatchStream>> {
        self.asked.lock().unwrap().push(request.clone());
        self.inner.scan(request)
    }
    fn app_transaction(&self, app_id: &str) -> BoxFuture<'_, Result<Option<CommittedAppTransaction>>> {
        self.inner.app_transaction(app_id)
    }
}

struct Rig {
    session: SessionContext,
    asked: Arc<Mutex<Vec<ScanRequest>>>,
}

async fn rig() -> Rig {
    let table = MemoryTable::new("flights", Env::new(ManualClock::default(), 1));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("origin", Arc::new(StringArray::from(vec![Some("JFK"), Some("LGA"), None, Some("JFK")]))),
        ("delay", Arc::new(Float64Array::from(vec![Some(5.0), Some(f64::NAN), Some(70.0), None]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    table.write(WriteRequest::append().or_create(), BatchStream::from_batches(batch.schema(), vec![batch])).await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let spy = Spy { inner: table.snapshot(TableVersion::Latest).await.unwrap(), asked: Arc::clone(&asked) };
    let session = SessionContext::new();
    session.register_table("flights", Arc::new(SnapshotProvider::new(Arc::new(spy)))).unwrap();
    Rig { session, asked }
}

impl Rig {
    /// The first column of the result, and what the table was asked.
    async fn run(&self, sql: &str) -> (Vec<i64>, ScanRequest) {
        let rows = self.session.sql(sql).await.unwrap().collect().await.unwrap();
        let found = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        (found, self.asked.lock().unwrap().pop().unwrap())
    }
}

#[tokio::test]
async fn a_scan_asks_for_the_columns_it_needs_in_table_order() {
    let rig = rig().await;
    let (found, asked) = rig.run("SELECT id, delay FROM flights ORDER BY id").await;
    assert_eq!(found, [1, 2, 3, 4]);
    assert_eq!(asked.projection.unwrap(), ["id", "delay"]);
    assert!(asked.predicate.is_none());
}

#[tokio::test]
async fn filters_go_down_as_hints_and_are_applied_again() {
    let rig = rig().await;
    let (found, asked) = rig.run("SELECT id FROM flights WHERE origin = 'JFK' AND id + 1 > 2").await;
    assert_eq!(found, [4]);
    assert_eq!(asked.predicate.unwrap().to_string(), "origin = 'JFK'");
}

#[tokio::test]
async fn a_nan_is_above_every_number_and_not_lost() {
    let rig = rig().await;
    let (found, asked) = rig.run("SELECT id FROM flights WHERE delay > 10").await;
    assert_eq!(found, [2, 3]);
    assert!(asked.predicate.is_none());
    let (found, asked) = rig.run("SELECT id FROM flights WHERE delay > 10 AND delay < 100").await;
    assert_eq!(found, [3]);
    assert_eq!(asked.predicate.unwrap().to_string(), "delay > 10 AND delay < 100");
}

#[tokio::test]
async fn a_limit_goes_down_without_filters_and_stays_above_with_them() {
    let rig = rig().await;
    let (found, asked) = rig.run("SELECT id FROM flights LIMIT 2").await;
    assert_eq!((found.len(), asked.limit_rows), (2, Some(2)));
    let (found, asked) = rig.run("SELECT id FROM flights WHERE origin = 'JFK' LIMIT 2").await;
    assert_eq!((found, asked.limit_rows), (vec![1, 4], None));
}

#[tokio::test]
async fn counting_rows_needs_no_column() {
    let rig = rig().await;
    let (found, asked) = rig.run("SELECT count(*) FROM flights").await;
    assert_eq!(found, [4]);
    assert_eq!(asked.projection, Some(Vec::new()));
}

#[tokio::test]
async fn a_table_can_be_joined_with_itself() {
    let rig = rig().await;
    let (found, _) = rig.run("SELECT count(*) FROM flights a JOIN flights b ON a.origin = b.origin").await;
    assert_eq!(found, [5]);
}
