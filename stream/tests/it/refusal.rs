//! What a query refuses, and how it says so.

use std::time::Duration;

use boathouse_base::{DomainError, ErrorKind, OutputMode};
use boathouse_stream::{Refusal, StreamError, StreamQuery, TumblingWindow};
use datafusion::prelude::SessionContext;

use crate::support::{Rig, at};

async fn error_of(rig: &Rig, query: StreamQuery) -> StreamError {
    rig.push(at(&[1]));
    let error = query.run_available_now().await.unwrap_err();
    assert_eq!(rig.sink.epochs().len(), 0, "nothing was committed");
    error
}

#[tokio::test]
async fn operators_that_need_all_rows_are_refused_with_advice() {
    for (sql, operator) in [
        ("SELECT origin, count(*) FROM source GROUP BY origin", "aggregate without a watermark in append mode"),
        ("SELECT max(delay) FROM source", "aggregate without a watermark in append mode"),
        ("SELECT origin, count(*) FROM source GROUP BY ROLLUP (origin)", "GROUPING SETS"),
        ("SELECT DISTINCT ON (origin) origin, at FROM source", "DISTINCT ON"),
        ("SELECT * FROM source ORDER BY at", "ORDER BY"),
        ("SELECT * FROM source LIMIT 3", "LIMIT"),
        ("SELECT delay, sum(delay) OVER (ORDER BY at) FROM source", "window function (OVER)"),
        ("SELECT a.delay FROM source a CROSS JOIN source b", "join of two streams without an equality"),
        ("SELECT delay FROM source WHERE delay IN (SELECT delay FROM source)", "subquery"),
        (
            "SELECT a.delay FROM source a LEFT JOIN source b ON a.delay = b.delay",
            "join that keeps rows without a partner, without a bound of time",
        ),
        ("SELECT k.d FROM (SELECT 1 AS d) k LEFT JOIN source ON delay = d", "join that keeps rows of the other table"),
        ("SELECT k.d FROM source FULL JOIN (SELECT 1 AS d) k ON delay = d", "join that keeps rows of the other table"),
    ] {
        let rig = Rig::new();
        let error = error_of(&rig, rig.query().sql(sql)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        let StreamError::NotStreamable { refusal: Refusal { operator: found, .. }, .. } = error else { panic!("{sql}: {error}") };
        assert_eq!(found, operator, "{sql}");
    }
}

#[tokio::test]
async fn operators_over_other_tables_are_allowed() {
    let rig = Rig::new();
    rig.push(at(&[1, 2]));
    let sql = "SELECT s.delay FROM source s LEFT JOIN (SELECT max(value) AS m FROM generate_series(1, 5)) k ON s.delay = k.m";
    assert_eq!(rig.query().sql(sql).run_available_now().await.unwrap().output_rows, 2);
}

#[tokio::test]
async fn a_query_that_reads_no_source_is_refused() {
    let rig = Rig::new();
    let error = error_of(&rig, rig.query().sql("SELECT 1 AS one")).await;
    assert!(matches!(error, StreamError::ReadsNoSource { .. }), "{error}");
}

#[tokio::test]
async fn output_modes_that_an_operator_does_not_allow_are_refused_by_the_class_of_spark() {
    for (mode, sql) in [
        (OutputMode::Complete, "SELECT delay FROM source"),
        (OutputMode::Update, "SELECT a.delay FROM source a JOIN source b ON a.delay = b.delay"),
        (OutputMode::Complete, "SELECT n, count(*) FROM (SELECT origin, count(*) AS n FROM source GROUP BY origin) GROUP BY n"),
    ] {
        let rig = Rig::new();
        let error = error_of(&rig, rig.query().output_mode(mode).sql(sql)).await;
        assert!(error.to_string().contains("STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_missing_column_is_named_with_those_that_are_there() {
    let rig = Rig::new();
    let error = error_of(&rig, rig.query().sql("SELECT tailnum FROM source")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "plan the query `test`: there is no column `tailnum`; there are [\"at\", \"origin\", \"delay\"]"
    );
    let rig = Rig::new();
    let window = TumblingWindow::over("departed", Duration::from_secs(1)).count("n");
    let error = error_of(&rig, rig.query().watermark("departed", Duration::ZERO).window(window)).await;
    assert!(matches!(error, StreamError::MissingColumn { column, .. } if column == "departed"));
    let rig = Rig::new();
    let window = TumblingWindow::over("at", Duration::from_secs(1)).by(["carrier"]).count("n");
    let error = error_of(&rig, rig.query().watermark("at", Duration::ZERO).window(window)).await;
    assert!(matches!(error, StreamError::MissingColumn { column, .. } if column == "carrier"));
}

#[tokio::test]
async fn sql_that_does_not_parse_or_names_no_table_is_invalid() {
    for sql in ["SELEC 1", "SELECT * FROM nowhere", "SELECT origin + 1 FROM source, source2"] {
        let rig = Rig::new();
        let error = error_of(&rig, rig.query().session(SessionContext::new()).sql(sql)).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_query_without_its_parts_says_which_to_give() {
    let rig = Rig::new();
    let error = StreamQuery::named("bronze").open().await.unwrap_err();
    assert_eq!(error.to_string(), "open the query `bronze`: it has no source; give it one with `.source(…)`");
    let window = TumblingWindow::over("at", Duration::from_secs(1)).count("n");
    let no_watermark = rig.query().window(window).open().await.unwrap_err();
    assert!(no_watermark.to_string().contains(".watermark(\"at\", …)"), "{no_watermark}");
    assert!(rig.files("").await.is_empty(), "no checkpoint was made");
}

#[tokio::test]
async fn an_event_time_that_is_no_timestamp_is_refused() {
    let rig = Rig::new();
    let window = TumblingWindow::over("delay", Duration::from_secs(1)).count("n");
    let error = error_of(&rig, rig.query().watermark("delay", Duration::ZERO).window(window)).await;
    assert!(matches!(error, StreamError::EventTimeType { .. }), "{error}");
}

#[tokio::test]
async fn an_error_in_a_row_stops_the_epoch_and_commits_nothing() {
    let rig = Rig::new();
    let error = error_of(&rig, rig.query().sql("SELECT CAST(origin AS BIGINT) AS x FROM source")).await;
    assert!(error.to_string().contains("JFK"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
