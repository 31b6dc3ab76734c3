//! Rules of planning: the same rows as without them, from less work.

use std::sync::Arc;

use arrow_array::RecordBatch;
use boathouse_delta_core::{DeltaSession, session};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

/// A table of 60,000 rows, one of 2,000 wanted keys, and one that says which of these count.
async fn lake(properties: &str) -> (TempDir, DeltaSession) {
    let folder = tempfile::tempdir().unwrap();
    let lake = session().with_warehouse(&folder.path().display().to_string()).unwrap();
    let rows = "SELECT (value * 7919) % 60000 AS k, value % 300 AS g, value AS v, concat('text ', value) AS t FROM generate_series(0, 59999)";
    lake.sql(&format!("CREATE TABLE fact USING DELTA {properties} AS {rows}")).await.unwrap();
    let dims = "SELECT value AS k, value % 50 AS part, value % 7 AS n FROM generate_series(0, 59999) WHERE value % 30 = 0";
    lake.sql(&format!("CREATE TABLE dim USING DELTA AS {dims}")).await.unwrap();
    (folder, lake)
}

/// The same tables in a session of DataFusion without our rules.
async fn plain(lake: &DeltaSession, partitions: usize) -> SessionContext {
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    for name in ["fact", "dim"] {
        plain.register_table(name, lake.context().table_provider(name).await.unwrap()).unwrap();
    }
    plain
}

async fn rows(frame: DataFrame) -> Vec<String> {
    let mut rows: Vec<String> = frame.collect().await.unwrap().iter().flat_map(as_text).collect();
    rows.sort();
    rows
}

fn as_text(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |at: usize| columns.iter().map(|column| column.value(at).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Rows that scans dropped one by one.
fn dropped(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let here = plan.metrics().and_then(|known| known.sum_by_name("pushdown_rows_pruned")).map_or(0, |sum| sum.as_usize());
    here + plan.children().into_iter().map(dropped).sum::<usize>()
}

async fn run(lake: &DeltaSession, query: &str) -> (Vec<RecordBatch>, usize) {
    let frame = lake.query(query).await.unwrap();
    let (context, plan) = (frame.task_ctx(), frame.create_physical_plan().await.unwrap());
    let batches = collect(Arc::clone(&plan), Arc::new(context)).await.unwrap();
    (batches, dropped(&plan))
}

#[tokio::test]
async fn a_scan_whose_join_wants_few_keys_drops_rows_before_it_decodes_them() {
    for properties in ["", "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"] {
        let (_folder, lake) = lake(properties).await;
        let few = "SELECT v, t FROM fact JOIN dim ON fact.k = dim.k WHERE part = 0 AND v >= 10";
        let (found, skipped) = run(&lake, few).await;
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 399, "the first of the 400 is below ten");
        assert_eq!(skipped, 60_000 - 400, "{properties}");
        lake.sql("DELETE FROM fact WHERE v % 1000 < 10").await.unwrap();
        let (found, skipped) = run(&lake, few).await;
        let plain = plain(&lake, 2).await;
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), plain.sql(few).await.unwrap().count().await.unwrap());
        assert!(skipped > 50_000, "{skipped} with deletion vectors, {properties}");
    }
}

#[tokio::test]
async fn a_scan_whose_join_wants_many_keys_decodes_them_all() {
    let (_folder, lake) = lake("").await;
    let (found, skipped) = run(&lake, "SELECT v, t FROM fact JOIN dim ON fact.k = dim.k").await;
    assert_eq!((found.iter().map(RecordBatch::num_rows).sum::<usize>(), skipped), (2000, 0));
    let (_, skipped) = run(&lake, "SELECT v FROM fact WHERE v < 5").await;
    assert_eq!(skipped, 0, "filters of the query are decided above the scan");
}

#[tokio::test]
async fn a_semi_join_goes_down_to_the_table_that_it_decides() {
    let (_folder, lake) = lake("").await;
    let plan = |query: &str| {
        let query = query.to_owned();
        let lake = lake.clone();
        async move { lake.query(&query).await.unwrap().into_optimized_plan().unwrap().display_indent().to_string() }
    };
    let under = |plan: &str| {
        let depth = |what: &str| plan.lines().find_map(|line| line.find(what));
        (depth("LeftSemi Join"), depth("Inner Join"))
    };
    let having =
        "SELECT t, n FROM fact JOIN dim ON fact.k = dim.k WHERE fact.g IN (SELECT n FROM dim GROUP BY n HAVING sum(k) > 9)";
    let (semi, inner) = under(&plan(having).await);
    assert!(semi > inner && inner.is_some(), "{}", plan(having).await);
    let all = "SELECT t, n FROM fact JOIN dim ON fact.k = dim.k WHERE fact.g IN (SELECT n FROM dim)";
    let (semi, inner) = under(&plan(all).await);
    assert!(semi < inner && semi.is_some(), "{}", plan(all).await);
    let of_both = "SELECT t FROM fact JOIN dim ON fact.k = dim.k \
                   WHERE EXISTS (SELECT 1 FROM dim AS d WHERE d.part = fact.g AND d.n = dim.n AND d.k > 100)";
    let (semi, inner) = under(&plan(of_both).await);
    assert!(semi < inner && semi.is_some(), "{}", plan(of_both).await);
}

#[tokio::test]
async fn filters_on_partitions_are_decided_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let lake = session().with_warehouse(&folder.path().display().to_string()).unwrap();
    lake.sql("CREATE TABLE t (v INT, day DATE, who STRING, n DECIMAL(6, 2)) USING DELTA PARTITIONED BY (day, who, n)")
        .await
        .unwrap();
    let made = "SELECT value, DATE '2024-01-01' + CAST(value % 4 AS INT), CASE value % 3 WHEN 0 THEN 'a b' WHEN 1 THEN 'B' END, \
                CASE WHEN value % 2 = 0 THEN 1.50 ELSE -2.25 END FROM generate_series(0, 239)";
    lake.sql(&format!("INSERT INTO t {made}")).await.unwrap();
    lake.sql("DELETE FROM t WHERE v < 24").await.unwrap();
    let plain = SessionContext::new();
    plain
        .register_batch("t", {
            let all = lake.query("SELECT * FROM t").await.unwrap().collect().await.unwrap();
            datafusion::arrow::compute::concat_batches(&all[0].schema(), &all).unwrap()
        })
        .unwrap();
    let explain = |query: String| {
        let lake = lake.clone();
        async move { lake.query(&format!("EXPLAIN {query}")).await.unwrap().to_string().await.unwrap() }
    };
    for filter in [
        "day = DATE '2024-01-02'",
        "who IS NULL",
        "who = 'a b' AND n > 0",
        "upper(who) LIKE 'A%' OR n < 0",
        "day > DATE '2024-01-03' AND who <> 'B'",
        "who NOT IN ('B')",
        "n = -2.25",
        "day = DATE '2030-01-01'",
        "coalesce(who, 'none') = 'none'",
    ] {
        let count = format!("SELECT count(*) AS n FROM t WHERE {filter}");
        let plan = explain(count.clone()).await;
        assert!(!plan.contains("DataSourceExec") && !plan.contains("FilterExec"), "{filter}: {plan}");
        assert_eq!(rows_of(&lake, &count).await, rows(plain.sql(&count).await.unwrap()).await, "{filter}");
        let all = format!("SELECT * FROM t WHERE {filter}");
        assert_eq!(rows_of(&lake, &all).await, rows(plain.sql(&all).await.unwrap()).await, "{filter}");
        let mixed = format!("SELECT * FROM t WHERE {filter} AND v % 5 = 0");
        assert_eq!(rows_of(&lake, &mixed).await, rows(plain.sql(&mixed).await.unwrap()).await, "{filter}");
    }
    let plan = explain("SELECT v FROM t WHERE who = 'B' LIMIT 3".to_owned()).await;
    assert!(plan.contains("limit=3") && plan.matches(".parquet").count() == 1, "one file has enough rows: {plan}");
    let over_rows = explain("SELECT count(*) FROM t WHERE who = 'B' AND v > 100".to_owned()).await;
    assert!(over_rows.contains("FilterExec"), "{over_rows}");
}

async fn rows_of(lake: &DeltaSession, query: &str) -> Vec<String> {
    rows(lake.query(query).await.unwrap()).await
}

#[test]
fn rules_change_no_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_folder, whole) = runtime.block_on(lake(""));
    let (_other, marked) = runtime.block_on(lake(""));
    runtime.block_on(marked.sql("DELETE FROM fact WHERE v % 11 < 3")).unwrap();
    let kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN", "FULL JOIN"];
    let cases = (0_i64..60, 0_i64..60_000, any::<bool>(), 1_usize..4, prop::sample::select(kinds.to_vec()));
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    runner
        .run(&cases, |(wanted, start, with_vectors, partitions, kind)| {
            let lake = if with_vectors { &marked } else { &whole };
            let chosen = format!("dim.n < 6 AND dim.k >= {start} AND dim.k < {start} + {wanted} * 30");
            let columns = if kind.contains("SEMI") || kind.contains("ANTI") { "fact.*" } else { "fact.*, d.n" };
            let queries = [
                format!(
                    "SELECT {columns} FROM fact {kind} (SELECT * FROM dim WHERE {chosen}) AS d ON fact.k = d.k AND fact.v > 100"
                ),
                format!(
                    "SELECT n, s FROM (SELECT k, sum(v) AS s FROM fact GROUP BY k) AS x JOIN dim ON x.k = dim.k WHERE {chosen}"
                ),
                format!("SELECT t, n FROM fact JOIN dim ON fact.g = dim.part WHERE fact.k IN (SELECT k FROM dim WHERE {chosen})"),
                format!(
                    "SELECT count(*), sum(n) FROM fact JOIN dim ON fact.g = dim.part \
                     WHERE dim.k IN (SELECT k FROM fact GROUP BY k HAVING sum(v) < {start})"
                ),
            ];
            runtime.block_on(async {
                let plain = plain(lake, partitions).await;
                let partitions = format!("SET datafusion.execution.target_partitions = {partitions}");
                lake.query(&partitions).await.unwrap().collect().await.unwrap();
                for query in queries {
                    let (ours, theirs) =
                        (rows(lake.query(&query).await.unwrap()).await, rows(plain.sql(&query).await.unwrap()).await);
                    prop_assert!(ours == theirs, "{query}: {} rows, and {} without rules", ours.len(), theirs.len());
                }
                Ok(())
            })
        })
        .unwrap();
}
