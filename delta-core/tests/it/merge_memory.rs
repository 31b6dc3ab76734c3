//! MERGE in little memory: sources and matches beyond the pool of the session, against what must come out.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, MergeDelete, MergeUpdate};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use crate::rows::{Row, VECTORS, batch, frame, read, table_of_with, version};

fn session(pool_bytes: usize) -> SessionContext {
    let pool = Arc::new(GreedyMemoryPool::new(pool_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime)
}

/// A number of each of these.
async fn numbers(table: &DeltaTable, query: &str) -> Vec<i64> {
    let context = SessionContext::new();
    context.register_table("t", Arc::new(table.provider().await.unwrap())).unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect()
}

#[tokio::test]
async fn a_source_and_matches_of_several_times_the_pool_are_merged_and_too_small_a_pool_changes_nothing() {
    const ROWS: i64 = 500_000;
    let table = table_of_with(&[VECTORS], &[]).await;
    for file in 0..4 {
        let ids = file * ROWS / 4..(file + 1) * ROWS / 4;
        let rows: Vec<Row> = ids.map(|id| (Some(id), Some("old"), Some(1))).collect();
        table.append(batch(&rows).into()).run().await.unwrap();
    }
    // A million rows in an order of their own, half of which match.
    let source = "SELECT (value * 7919) % 1000000 AS id, 'this is what a row of the source says, and it is long' AS part,
        CAST((value * 7919) % 1000000 % 1000 AS INT) AS v FROM generate_series(0, 999999)";
    let merge = async |pool_bytes| {
        let source = session(64 << 20).sql(source).await.unwrap();
        let merge = table.merge(source, "t.id = s.id").with_session(&session(pool_bytes));
        merge
            .when_matched_delete(MergeDelete::only_if("s.v < 10"))
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .run()
            .await
    };
    let before = version(&table).await;
    let error = merge(100_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(version(&table).await, before);
    assert_eq!(numbers(&table, "SELECT count(*), sum(v) FROM t").await, [ROWS, ROWS]);
    // The pairs alone are 12 MB, the source 80.
    let report = merge(12 << 20).await.unwrap();
    assert_eq!((report.rows_deleted, report.rows_updated, report.rows_inserted), (5_000, 495_000, 500_000));
    let right = "count(*) FILTER (WHERE v = id % 1000 AND part LIKE 'this is%' AND (v >= 10 OR id >= 500000))";
    let found = numbers(&table, &format!("SELECT count(*), count(DISTINCT id), {right} FROM t")).await;
    assert_eq!(found, [2 * ROWS - 5_000; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn random_merges_give_the_same_table_in_little_memory_as_in_much(
        (rows, files) in (1_i64..16_000, 1_i64..4),
        (keys, step, source_rows) in (1_i64..24_000, prop_oneof![Just(1_i64), Just(7919)], 0_i64..24_000),
        (vectors, deletes, by_source) in any::<(bool, bool, bool)>(),
    ) {
        let run = async |pool_bytes: usize| {
            let commits: Vec<Vec<Row>> = (0..files).map(|file| {
                (0..rows).filter(|id| id % files == file).map(|id| (Some(id), Some("old"), i32::try_from(id % 10).ok())).collect()
            }).collect();
            let commits: Vec<&[Row]> = commits.iter().map(Vec::as_slice).collect();
            let properties: &[(&str, &str)] = if vectors { &[VECTORS] } else { &[] };
            let table = table_of_with(properties, &commits).await;
            // Keys come several times when there are fewer of them than rows: then at most one may change a row of the table.
            let row = |n: i64| (Some(n * step % keys), Some("of the source"), Some(i32::from(n >= keys)));
            let source: Vec<Row> = (0..source_rows).map(row).collect();
            let merge = table.merge(frame(&source), "t.id = s.id").with_session(&session(pool_bytes));
            let merge = if deletes { merge.when_matched_delete(MergeDelete::only_if("t.v < 3")) } else { merge };
            let merge = merge.when_matched_update(MergeUpdate::all().only_if("s.v = 0")).when_not_matched_insert_all();
            let merge = if by_source { merge.when_not_matched_by_source_update(MergeUpdate::set("part", "'alone'")) } else { merge };
            let report = merge.run().await.map(|report| (report.rows_updated, report.rows_deleted, report.rows_inserted));
            (report.map_err(|error| error.to_string()), read(&table).await)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (little, much) = runtime.block_on(async { (run(4 << 20).await, run(1 << 30).await) });
        prop_assert_eq!(little.0, much.0);
        prop_assert!(little.1 == much.1, "other rows");
    }
}
