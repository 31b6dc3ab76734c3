//! Rows that the watermark drops, in a table of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boathouse_base::ReadLimit;
use boathouse_base::memory::{MemorySink, SinkFault};
use boathouse_stream::{StreamError, StreamFrame, StreamQuery};
use datafusion::arrow::array::types::{Int64Type, TimestampMicrosecondType};
use datafusion::arrow::array::{AsArray, RecordBatch};

use crate::support::{Rig, Row, at, batch, drain};

/// What stands in a sink of late rows: (epoch, operator, watermark and end in seconds, row).
fn late(sink: &MemorySink) -> Vec<(i64, String, i64, i64, String)> {
    let mut found = Vec::new();
    for batch in sink.batches() {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let time = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let epochs = batch.column_by_name("epoch").unwrap().as_primitive::<Int64Type>().clone();
        for row in 0..batch.num_rows() {
            assert_eq!(text("query").value(row), "test");
            let seconds = |name: &str| time(name).value(row) / 1_000_000;
            let operator = text("operator").value(row).to_owned();
            found.push((
                epochs.value(row),
                operator,
                seconds("watermark"),
                seconds("over_at"),
                text("row").value(row).to_owned(),
            ));
        }
    }
    found
}

#[tokio::test]
async fn rows_that_come_after_their_window_go_to_the_late_sink_with_all_their_columns() {
    let rig = Rig::new();
    let sink = MemorySink::new();
    let mut query = rig.windowed().late_rows_to(Arc::new(sink.clone())).open().await.unwrap();
    // The golden vector: 9 and 19 are late, 14 and 20 are not.
    for seconds in [vec![10, 12], vec![25], vec![9], vec![14], vec![31], vec![20], vec![19]] {
        rig.push(batch(&seconds.iter().map(|s| (Some(*s), Some("JFK"), s * 100)).collect::<Vec<_>>()));
        drain(&mut query).await.unwrap();
    }
    let row = |at: &str, delay: i64| format!(r#"{{"at":"1970-01-01T00:00:{at}Z","origin":"JFK","delay":{delay}}}"#);
    let operator = "stateStoreSave[origin, window(at, 10s)]".to_owned();
    let expected = [(4, operator.clone(), 15, 10, row("09", 900)), (9, operator, 21, 20, row("19", 1_900))];
    assert_eq!(late(&sink), expected);
    let epochs: Vec<u64> = sink.epochs().iter().map(|epoch| epoch.commit.epoch).collect();
    assert_eq!(epochs, [4, 9], "epochs that drop nothing are not committed");
    assert_eq!(sink.epochs()[0].commit.query_id, format!("{}-late", query.query_id()));
    assert_eq!(rig.windows(), [(20, Some("JFK".to_owned()), 3, 3_600)], "the windows are those without a late sink");
}

#[tokio::test]
async fn every_operator_gives_its_late_rows() {
    type Shape = fn(StreamQuery) -> StreamQuery;
    let cases: [(&str, Shape, &[&str]); 4] = [
        ("dedupe[at, delay]", |query| query.sql("SELECT DISTINCT at, delay FROM source"), &["at", "delay"]),
        (
            "sessionWindowStateStoreSave[origin, session_window(at, 5s)]",
            |query| {
                query.sql("SELECT session_window(at, '5 seconds') AS s, origin, count(*) AS n FROM source GROUP BY session_window(at, '5 seconds'), origin")
            },
            &["at", "origin", "delay"],
        ),
        (
            "symmetricHashJoin[at = at, delay = delay]",
            |query| query.sql("SELECT a.delay FROM source a JOIN source b ON a.delay = b.delay AND a.at = b.at"),
            &["at", "delay"],
        ),
        (
            "stateStoreSave[window(at, 5s)]",
            |query| {
                query.sql("SELECT window(at, '5 seconds') AS w, count(*) AS n FROM source WHERE delay > 0 GROUP BY window(at, '5 seconds')")
            },
            &["at", "origin", "delay"],
        ),
    ];
    for (operator, shape, columns) in cases {
        let rig = Rig::new();
        let sink = MemorySink::new();
        let query = StreamQuery::named("test")
            .source_with_watermark("source", Arc::new(rig.source.clone()), "at", Duration::ZERO)
            .sink(Arc::new(rig.sink.clone()))
            .checkpoint(rig.checkpoint.clone())
            .env(rig.env.clone())
            .late_rows_to(Arc::new(sink.clone()));
        let mut query = shape(query).open().await.unwrap();
        for seconds in [100, 200, 1] {
            rig.push(at(&[seconds]));
            drain(&mut query).await.unwrap();
        }
        let found = late(&sink);
        let both_sides = if operator.starts_with("symmetric") { 2 } else { 1 };
        assert_eq!(found.len(), both_sides, "{operator}: {found:?}");
        for (_, name, watermark, _, row) in found {
            assert_eq!((name.as_str(), watermark), (operator, 200));
            let row: serde_json::Value = serde_json::from_str(&row).unwrap();
            let names: BTreeSet<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, columns.iter().copied().collect(), "{operator}");
            assert_eq!(row["at"], "1970-01-01T00:00:01Z");
        }
    }
}

fn some_rows() -> Vec<Vec<Row>> {
    let seconds = [&[10, 12, 60][..], &[25, 61, 3], &[9, 100, 101], &[14, 55, 95], &[150, 20, 99], &[102, 200, 30]];
    let mut id = 0;
    let mut row = |s: &i64| {
        id += 1;
        (Some(*s), Some("JFK"), id)
    };
    seconds.iter().map(|seconds| seconds.iter().map(&mut row).collect()).collect()
}

/// The rows that a late sink has, by `delay`; each once.
fn late_ids(sink: &MemorySink) -> BTreeSet<i64> {
    let id = |row: &str| serde_json::from_str::<serde_json::Value>(row).unwrap()["delay"].as_i64().unwrap();
    let ids: Vec<i64> = late(sink).iter().map(|row| id(&row.4)).collect();
    let unique: BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "a row is there twice: {ids:?}");
    unique
}

/// Rows of windows, and the sum of their `delay`.
fn counted(rig: &Rig) -> (i64, i64) {
    rig.windows().iter().fold((0, 0), |sum, window| (sum.0 + window.2, sum.1 + window.3))
}

#[tokio::test]
async fn a_crash_at_any_place_leaves_each_row_in_a_window_or_among_the_late_ones_even_if_more_rows_come_before_the_restart() {
    let pushes = some_rows();
    let all: i64 = pushes.iter().flatten().map(|row| row.2).sum();
    for nth in 0.. {
        let rig = Rig::new();
        let sink = MemorySink::new();
        let asked = Arc::new(AtomicU64::new(0));
        let open = || {
            let asked = Arc::clone(&asked);
            let limit = ReadLimit { rows: Some(3), ..ReadLimit::default() };
            let query = rig.windowed().read_limit(limit).late_rows_to(Arc::new(sink.clone()));
            query.with_crash_points(move |_, _| asked.fetch_add(1, Ordering::Relaxed) == nth).open()
        };
        let mut running = open().await.unwrap();
        let mut waiting = pushes.iter().map(|rows| batch(rows));
        let mut died = 0;
        while let Some(rows) = waiting.next() {
            rig.push(rows);
            while let Err(error) = drain(&mut running).await {
                assert!(matches!(error, StreamError::Crashed { .. }), "{error}");
                died += 1;
                // The epoch that is made again reads more than the one that died.
                if let Some(more) = waiting.next() {
                    rig.push(more);
                }
                running = open().await.unwrap();
            }
        }
        drop(running);
        // Closes all windows.
        rig.push(batch(&[(Some(100_000), Some("JFK"), 0)]));
        rig.windowed().late_rows_to(Arc::new(sink.clone())).run_available_now().await.unwrap();
        let late = late_ids(&sink);
        let (rows, sum) = counted(&rig);
        assert_eq!(rows + i64::try_from(late.len()).unwrap(), 18, "died at place {nth}");
        assert_eq!(sum + late.iter().sum::<i64>(), all, "died at place {nth}");
        assert!(!late.is_empty());
        rig.windowed().late_rows_to(Arc::new(sink.clone())).open().await.unwrap();
        assert!(rig.files("late").await.is_empty(), "died at place {nth}");
        if died == 0 {
            assert!(nth > 50, "there are many places: {nth}");
            break;
        }
    }
}

#[tokio::test]
async fn a_late_sink_that_fails_stops_the_step_and_gets_its_rows_once_when_it_is_back() {
    for fault in [SinkFault::BeforeCommit, SinkFault::AfterCommit] {
        let rig = Rig::new();
        let sink = MemorySink::new();
        let mut query = rig.windowed().late_rows_to(Arc::new(sink.clone())).open().await.unwrap();
        rig.push(at(&[10, 60]));
        drain(&mut query).await.unwrap();
        rig.push(at(&[1]));
        sink.fail_next(fault);
        let error = query.step().await.unwrap_err();
        assert!(error.to_string().starts_with("commit the late rows of epoch 2 of the query `test`"), "{error}");
        rig.push(at(&[2, 61]));
        drain(&mut query).await.unwrap();
        let found: Vec<i64> = late(&sink).iter().map(|row| row.0).collect();
        assert_eq!(found, [2, 3], "{fault:?}");
        assert_eq!(query.last_epoch(), Some(4));
    }
}

#[tokio::test]
async fn rows_wait_for_a_sink_that_a_run_does_not_have() {
    let rig = Rig::new();
    let sink = MemorySink::new();
    let with_sink = || rig.windowed().late_rows_to(Arc::new(sink.clone()));
    rig.push(at(&[10, 60]));
    with_sink().run_available_now().await.unwrap();
    rig.push(at(&[1]));
    sink.fail_next(SinkFault::BeforeCommit);
    with_sink().run_available_now().await.unwrap_err();
    for seconds in [61, 2, 62] {
        rig.push(at(&[seconds]));
        rig.windowed().run_available_now().await.unwrap();
    }
    assert!(late(&sink).is_empty());
    assert_eq!(rig.files("late").await.len(), 1);
    with_sink().open().await.unwrap();
    let found: Vec<i64> = late(&sink).iter().map(|row| row.0).collect();
    assert_eq!(found, [2], "what was dropped without a sink is only counted");
    rig.push(at(&[63]));
    with_sink().run_available_now().await.unwrap();
    assert!(rig.files("late").await.is_empty());
}

#[tokio::test]
async fn a_processor_gives_its_late_rows() {
    use boathouse_stream::{StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle, TimeMode};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    struct Ignore;
    impl StatefulProcessor for Ignore {
        fn init(&self, _: &mut StateVariables) {}

        fn handle_input_rows(
            &self,
            key: &StateKey<'_>,
            _: RecordBatch,
            handle: &mut StatefulProcessorHandle<'_>,
        ) -> boathouse_base::Result<()> {
            Ok(handle.emit(key.values()?)?)
        }
    }
    let rig = Rig::new();
    let sink = MemorySink::new();
    let output = Arc::new(Schema::new(vec![Field::new("origin", DataType::Utf8, true)]));
    let query = rig.query().late_rows_to(Arc::new(sink.clone())).transform(move |frame| {
        let frame = frame.with_watermark("at", Duration::ZERO)?;
        frame.transform_with_state(&["origin"], &output, TimeMode::None, Arc::new(Ignore))
    });
    let mut query = query.open().await.unwrap();
    for seconds in [100, 200, 1] {
        rig.push(at(&[seconds]));
        drain(&mut query).await.unwrap();
    }
    assert_eq!(late(&sink).len(), 1);
    assert_eq!(rig.sink.rows(), 2);
}
