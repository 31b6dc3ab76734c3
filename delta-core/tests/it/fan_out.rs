//! Rows of many partitions: few files, little memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::ScanRequest;
use boathouse_delta_core::{DeltaTable, DeltaTableExt, register_delta};
use boathouse_storage::{Storage, seeded_env};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

/// A pool that remembers the most that was taken of it.
#[derive(Debug)]
struct Watched {
    pool: GreedyMemoryPool,
    peak: AtomicUsize,
    limit: usize,
}

impl Watched {
    fn new(limit: usize) -> Self {
        Self { pool: GreedyMemoryPool::new(limit), peak: AtomicUsize::new(0), limit }
    }

    fn look(&self) {
        self.peak.fetch_max(self.pool.reserved(), Ordering::Relaxed);
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "watched")
    }
}

impl MemoryPool for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.look();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.pool.try_grow(reservation, additional)?;
        self.look();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

async fn table(property: Option<&str>) -> DeltaTable {
    let table = DeltaTable::at(Storage::memory().at("t"), seeded_env(3));
    let columns = vec![Field::new("part", DataType::Int64, true), Field::new("v", DataType::Int64, true)];
    let create = table.create(Schema::new(columns)).partition_by(["part"]);
    let create = property.iter().fold(create, |create, value| create.property("delta.autoOptimize.optimizeWrite", *value));
    create.run().await.unwrap();
    table
}

async fn insert(session: &SessionContext, table: &DeltaTable, query: &str) -> u64 {
    register_delta(session, "t", table).await.unwrap();
    let report = boathouse_delta_core::delta_sql(session, query).await.unwrap();
    session.deregister_table("t").unwrap();
    match report {
        boathouse_delta_core::StatementReport::Insert { rows } => rows,
        boathouse_delta_core::StatementReport::Replace(report) => report.rows_inserted,
        other => panic!("{other:?}"),
    }
}

/// Rows by partition: how many, and their sum.
async fn sums(table: &DeltaTable) -> BTreeMap<i64, (u64, i64)> {
    let mut rows = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap();
    let mut sums = BTreeMap::new();
    while let Some(batch) = rows.next().await {
        let batch: RecordBatch = batch.unwrap();
        let column = |at: usize| batch.column(at).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        for (part, v) in column(0).values().iter().zip(column(1).values()) {
            let (count, sum) = sums.entry(*part).or_insert((0, 0));
            (*count, *sum) = (*count + 1, *sum + v);
        }
    }
    sums
}

/// Rows whose partitions come in no order.
fn scattered(rows: u64, partitions: u64) -> String {
    format!("SELECT CAST((value * 7919) % {partitions} AS BIGINT) AS part, value AS v FROM generate_series(1, {rows})")
}

#[tokio::test]
async fn ten_thousand_partitions_are_ten_thousand_files_within_a_budget() {
    const LIMIT: usize = 6 << 20;
    let pool = Arc::new(Watched::new(LIMIT));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().unwrap();
    let session = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime);
    let table = table(None).await;
    // 300,000 rows are 14 MB with their keys: more than the pool has.
    let rows = insert(&session, &table, &format!("INSERT INTO t {}", scattered(300_000, 10_000))).await;
    assert_eq!(rows, 300_000);
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    assert_eq!(files.len(), 10_000);
    let peak = pool.peak.load(Ordering::Relaxed);
    assert!((1 << 20..=LIMIT).contains(&peak), "{peak} bytes of the pool");
    let sums = sums(&table).await;
    assert_eq!(sums.len(), 10_000);
    assert!(sums.values().all(|(count, _)| *count == 30));
    assert_eq!(sums.values().map(|(_, sum)| sum).sum::<i64>(), 300_000 * 300_001 / 2);
}

#[tokio::test]
async fn few_partitions_are_written_as_they_come_and_many_where_the_table_says_so() {
    let session = SessionContext::new();
    for (property, partitions, files) in [(None, 5, 5), (None, 600, 600), (Some("true"), 5, 5), (Some("true"), 300, 300)] {
        let table = table(property).await;
        insert(&session, &table, &format!("INSERT INTO t {}", scattered(20_000, partitions))).await;
        let found = table.snapshot().await.unwrap().files(None).await.unwrap();
        assert_eq!(found.len(), files, "{property:?}, {partitions} partitions");
        assert_eq!(sums(&table).await.len() as u64, partitions);
    }
    // Told not to, files end early to make room.
    let table = table(Some("false")).await;
    insert(&session, &table, &format!("INSERT INTO t {}", scattered(20_000, 600))).await;
    assert!(table.snapshot().await.unwrap().files(None).await.unwrap().len() > 1000);
}

#[tokio::test]
async fn replacements_and_copies_of_tables_gather_partitions_too() {
    let session = SessionContext::new();
    let table = table(None).await;
    insert(&session, &table, &format!("INSERT INTO t {}", scattered(2_000, 400))).await;
    let rows = session.sql(&scattered(20_000, 400)).await.unwrap();
    let report = table.replace_partitions(rows).run().await.unwrap();
    assert_eq!((report.files_added, report.files_removed, report.rows_inserted), (400, 400, 20_000));
    let replaced = insert(
        &session,
        &table,
        &format!("INSERT INTO t REPLACE WHERE part >= 100 SELECT part + 100 AS part, v FROM ({})", scattered(9_000, 300)),
    )
    .await;
    assert_eq!(replaced, 9_000);
    assert_eq!(table.snapshot().await.unwrap().files(None).await.unwrap().len(), 400);
}
