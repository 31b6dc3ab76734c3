//! The table in queries and statements of SQL.

use std::sync::Arc;

use arrow_array::RecordBatch;
use boathouse_base::{DomainError, ErrorKind, TableVersion};
use boathouse_delta_core::{DeltaTableExt, EngineError, StatementReport, delta_sql, register_delta};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

use crate::rows::{FEED, OwnedRow, Row, VECTORS, batch, frame, owned_rows, read, row, sorted, table_of, table_with, version};

async fn text(session: &SessionContext, query: &str) -> String {
    pretty_format_batches(&session.sql(query).await.unwrap().collect().await.unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn a_filter_skips_files_and_a_count_reads_none() {
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "b", 2)], &[row(30, "a", 3)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    let plan = text(&session, "EXPLAIN SELECT v FROM t WHERE id > 20 AND part = 'a'").await;
    assert!(plan.contains("DataSourceExec: file_groups={1 group: [[") && plan.matches(".parquet").count() == 1, "{plan}");
    let plan = text(&session, "EXPLAIN SELECT count(*) FROM t").await;
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    assert!(text(&session, "SELECT count(*) FROM t").await.contains("| 3 "));
    assert!(text(&session, "SELECT sum(v) FROM t WHERE part = 'a'").await.contains("| 4 "));
    assert!(text(&session, "SELECT part, count(*) AS n FROM t GROUP BY part ORDER BY part").await.contains("| a    | 2 |"));
    let some = session.sql("SELECT id FROM t LIMIT 2").await.unwrap().collect().await.unwrap();
    assert_eq!(some.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn filters_that_say_something_together_go_down_together() {
    use datafusion::catalog::TableProvider;
    use datafusion::logical_expr::TableProviderFilterPushDown::{Inexact, Unsupported};
    use datafusion::prelude::{col, lit};
    let provider = table_of(false, &[&[row(1, "a", 1)]]).await.provider().await.unwrap();
    let (above, below) = (col("x").gt(lit(5.0)), col("x").lt(lit(9.0)));
    assert_eq!(provider.supports_filters_pushdown(&[&above]).unwrap(), [Unsupported]);
    assert_eq!(provider.supports_filters_pushdown(&[&above, &below]).unwrap(), [Inexact, Inexact]);
}

#[tokio::test]
async fn a_pinned_version_stays_and_the_newest_one_moves() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    session.register_table("old", Arc::new(table.provider_at(TableVersion::Number(1)).await.unwrap())).unwrap();
    session.sql("INSERT INTO t VALUES (2, 'b', 2), (3, NULL, NULL)").await.unwrap().collect().await.unwrap();
    assert!(text(&session, "SELECT count(*) FROM t").await.contains("| 3 "));
    assert!(text(&session, "SELECT count(*) FROM old").await.contains("| 1 "));
    assert!(session.sql("INSERT INTO old VALUES (9, 'b', 2)").await.unwrap().collect().await.is_err());
    let error = delta_sql(&session, "DELETE FROM old WHERE id = 1").await.unwrap_err();
    assert!(matches!(error, EngineError::Pinned { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn statements_change_exactly_the_rows_that_they_name() {
    let table = table_of(false, &[&[row(1, "a", 1), row(2, "b", 2), row(3, "c", 3)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    session.register_table("changes", frame(&[row(2, "z", 20), row(7, "y", 70)]).into_view()).unwrap();
    let report = delta_sql(&session, "UPDATE t SET v = v * 10, part = 'new' WHERE id = 1").await.unwrap();
    assert!(matches!(report, StatementReport::Update(report) if report.rows_updated == 1));
    let report = delta_sql(&session, "DELETE FROM t WHERE id > 2 AND v IS NOT NULL").await.unwrap();
    assert!(matches!(report, StatementReport::Delete(report) if report.rows_deleted == Some(1)));
    let merge = "MERGE INTO t AS target USING changes AS c ON target.id = c.id \
                 WHEN MATCHED THEN UPDATE SET v = c.v \
                 WHEN NOT MATCHED THEN INSERT (id, part, v) VALUES (c.id, c.part, c.v)";
    let report = delta_sql(&session, merge).await.unwrap();
    assert!(matches!(report, StatementReport::Merge(report) if (report.rows_updated, report.rows_inserted) == (1, 1)));
    assert_eq!(read(&table).await, sorted(&[row(1, "new", 10), row(2, "b", 20), row(7, "y", 70)]));
}

#[tokio::test]
async fn a_condition_that_is_never_true_deletes_nothing() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    for statement in ["DELETE FROM t WHERE false", "DELETE FROM t WHERE 1 = 2", "DELETE FROM t WHERE NULL"] {
        delta_sql(&session, statement).await.unwrap();
        assert_eq!(version(&table).await, 1, "{statement}");
    }
}

#[tokio::test]
async fn a_statement_that_would_lose_its_condition_is_refused() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    session.register_table("other", frame(&[row(5, "z", 20)]).into_view()).unwrap();
    let nested = "DELETE FROM t WHERE v > (SELECT avg(o.v) FROM other AS o WHERE o.part IS NOT DISTINCT FROM t.part) OR id = 9";
    let error = delta_sql(&session, nested).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = delta_sql(&session, "DELETE FROM other").await.unwrap_err();
    assert!(matches!(error, EngineError::NotDelta { .. }), "{error}");
    let direct = session.sql("DELETE FROM t WHERE id = 1").await.unwrap().collect().await.unwrap_err();
    assert!(direct.to_string().contains("delta_sql"), "{direct}");
    assert_eq!(version(&table).await, 1);
}

#[tokio::test]
async fn an_update_rounds_only_where_the_statement_says_so() {
    let table = table_of(false, &[&[row(1, "a", 1)]]).await;
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    let error = delta_sql(&session, "UPDATE t SET v = v * 2.5").await.unwrap_err();
    assert!(matches!(&error, EngineError::Lossy { column, .. } if column == "v"), "{error}");
    delta_sql(&session, "UPDATE t SET v = CAST(v * 2.5 AS INT)").await.unwrap();
    assert_eq!(read(&table).await, sorted(&[row(1, "a", 2)]));
}

/// What a SELECT says of each row, before, is what DELETE and UPDATE do to it.
#[tokio::test]
async fn subqueries_that_read_the_row_change_the_rows_that_a_query_finds() {
    let conditions = [
        "EXISTS (SELECT 1 FROM other AS o WHERE o.id = t.id)",
        "NOT EXISTS (SELECT 1 FROM other AS o WHERE o.id = t.id AND o.v > t.v)",
        "t.id IN (SELECT o.id + 1 FROM other AS o WHERE o.part = t.part)",
        "t.v > (SELECT avg(o.v) FROM other AS o WHERE o.part = t.part)",
        "t.v < (SELECT max(u.v) FROM t AS u WHERE u.part = t.part) AND t.id <> 3",
    ];
    let rows: Vec<Row> = (0..60)
        .map(|nth| {
            let part = [Some("a"), Some("b"), Some("c"), None][nth % 4];
            let id = (nth % 7 != 0).then_some(nth as i64 % 17);
            (id, part, (nth % 5 != 0).then_some(nth as i32 * 37 % 23))
        })
        .collect();
    let others: Vec<Row> = rows.iter().filter(|row| row.0.is_none_or(|id| id % 3 == 0)).copied().collect();
    for (partitioned, properties) in [(false, &[][..]), (true, &[VECTORS][..]), (false, &[VECTORS, FEED][..])] {
        for condition in conditions {
            let table = table_with(partitioned, properties).await;
            for some in rows.chunks(25) {
                table.append(batch(some).into()).run().await.unwrap();
            }
            let session = SessionContext::new();
            register_delta(&session, "t", &table).await.unwrap();
            session.register_table("other", frame(&others).into_view()).unwrap();
            let query = |what: &str| format!("SELECT id, part, {what} FROM t WHERE {condition}");
            let found = session.sql(&query("v")).await.unwrap().collect().await.unwrap();
            let found: Vec<OwnedRow> = found.iter().flat_map(owned_rows).collect();
            assert!(!found.is_empty() && found.len() < rows.len(), "{condition}");

            let update = format!("UPDATE t SET v = 1000 + coalesce(v, 0) WHERE {condition}");
            let StatementReport::Update(report) = delta_sql(&session, &update).await.unwrap() else { panic!("an UPDATE") };
            assert_eq!(report.rows_updated, found.len() as u64, "{condition}");
            let mut left = sorted(&rows);
            for row in &found {
                let at = left.iter().position(|left| left == row).unwrap();
                left[at].2 = Some(1000 + row.2.unwrap_or(0));
            }
            left.sort();
            assert_eq!(read(&table).await, left, "{condition}");
            table.restore(boathouse_base::TableVersion::Number(3)).run().await.unwrap();

            let delete = format!("DELETE FROM t WHERE {condition}");
            let StatementReport::Delete(report) = delta_sql(&session, &delete).await.unwrap() else { panic!("a DELETE") };
            assert_eq!(report.rows_deleted, Some(found.len() as u64), "{condition}");
            let operation = table.history(1).await.unwrap().remove(0).operation;
            assert_eq!(operation.as_deref(), Some("DELETE"));
            left.retain(|row| row.2.is_none_or(|v| v < 1000));
            assert_eq!(read(&table).await, left, "{condition}");
        }
    }
}
