//! What a query refuses, and how it says so.

use std::time::Duration;

use boathouse_base::{DomainError, ErrorKind, OutputMode};
use boathouse_stream::{StreamError, StreamQuery, TumblingWindow, WindowProblem};
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
        ("SELECT origin, count(*) FROM source GROUP BY origin", "GROUP BY or aggregate"),
        ("SELECT max(delay) FROM source", "GROUP BY or aggregate"),
        ("SELECT DISTINCT origin FROM source", "DISTINCT"),
        ("SELECT * FROM source ORDER BY at", "ORDER BY"),
        ("SELECT * FROM source LIMIT 3", "LIMIT"),
        ("SELECT delay, sum(delay) OVER (ORDER BY at) FROM source", "window function (OVER)"),
        ("SELECT delay FROM source UNION SELECT 1", "DISTINCT"),
        ("SELECT k.d FROM (SELECT 1 AS d) k LEFT JOIN source ON delay = d", "join that keeps rows of the other table"),
        ("SELECT k.d FROM source FULL JOIN (SELECT 1 AS d) k ON delay = d", "join that keeps rows of the other table"),
    ] {
        let rig = Rig::new();
        let error = error_of(&rig, rig.query().sql(sql)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        let StreamError::NotStreamable { operator: found, .. } = error else { panic!("{sql}: {error}") };
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
async fn a_source_that_is_read_never_or_twice_is_refused() {
    for (sql, times) in [
        ("SELECT 1 AS one", 0),
        ("SELECT a.delay FROM source a JOIN source b ON a.delay = b.delay", 2),
        ("SELECT delay FROM source WHERE delay IN (SELECT delay FROM source)", 2),
    ] {
        let rig = Rig::new();
        let error = error_of(&rig, rig.query().sql(sql)).await;
        assert!(matches!(error, StreamError::SourceReads { times: found, .. } if found == times), "{sql}: {error}");
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
    let complete = rig.query().output_mode(OutputMode::Complete).open().await.unwrap_err();
    assert!(matches!(complete, StreamError::Window { problem: WindowProblem::CompleteWithoutWindow, .. }));
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
