//! What listeners are told, and what tables of queries show.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boathouse_base::memory::SinkFault;
use boathouse_base::{Env, ErrorKind, ManualClock};
use boathouse_stream::{
    EpochProgress, QueryIdle, QueryStarted, QueryTerminated, StepOutcome, StreamListener, StreamQuery, StreamingQueries,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;

use crate::support::{Rig, at, drain};

/// Writes down what it is told.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl StreamListener for Diary {
    fn on_query_started(&self, event: &QueryStarted) {
        self.write(format!("started {} at {}", event.name, event.timestamp_us));
    }

    fn on_query_progress(&self, progress: &EpochProgress) {
        self.write(format!("progress {} with {} rows", progress.epoch, progress.input_rows));
    }

    fn on_query_idle(&self, event: &QueryIdle) {
        self.write(format!("idle at {}", event.timestamp_us));
    }

    fn on_query_terminated(&self, event: &QueryTerminated) {
        self.write(format!("terminated {:?} {:?}", event.kind, event.exception));
    }
}

#[tokio::test]
async fn a_listener_is_told_of_each_run_from_its_begin_to_its_end_and_of_idleness_every_ten_seconds() {
    let rig = Rig::new();
    let clock = ManualClock::starting_at_us(0);
    let diary = Arc::new(Diary::default());
    let query = rig.query().env(Env::new(clock.clone(), 7)).listener(Arc::clone(&diary) as _);
    let mut running = query.clone().open().await.unwrap();
    assert_eq!(running.step().await.unwrap(), StepOutcome::Idle);
    rig.push(at(&[1, 2]));
    drain(&mut running).await.unwrap();
    assert_eq!(diary.read(), ["started test at 0", "idle at 0", "progress 0 with 2 rows"]);
    for _ in 0..21 {
        clock.advance(Duration::from_secs(1));
        running.step().await.unwrap();
    }
    assert_eq!(diary.read(), ["idle at 10000000", "idle at 20000000"]);
    drop(running);
    assert_eq!(diary.read(), ["terminated None None"]);
    query.run_available_now().await.unwrap();
    assert_eq!(diary.read(), ["started test at 21000000", "idle at 21000000", "terminated None None"]);
}

#[tokio::test]
async fn the_end_of_a_run_names_the_error_of_its_last_step_unless_it_went_on() {
    let rig = Rig::new();
    let diary = Arc::new(Diary::default());
    let query = || rig.query().listener(Arc::clone(&diary) as _);
    rig.push(at(&[1]));
    rig.sink.fail_next(SinkFault::BeforeCommit);
    let error = query().run_available_now().await.unwrap_err();
    let told = diary.read();
    assert_eq!(told.len(), 2);
    assert_eq!(told[1], format!("terminated {:?} {:?}", Some(ErrorKind::Unavailable), Some(error.to_string())));
    let mut running = query().open().await.unwrap();
    rig.sink.fail_next(SinkFault::BeforeCommit);
    running.step().await.unwrap_err();
    running.step().await.unwrap();
    drop(running);
    assert_eq!(diary.read().last().unwrap(), "terminated None None");
}

/// Rows as text.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        let line = |row: usize| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ");
        rows.extend((0..batch.num_rows()).map(line));
    }
    rows
}

#[tokio::test]
async fn queries_progress_and_state_are_tables_that_show_what_is_so_when_they_are_read() {
    let rig = Rig::new();
    let queries = StreamingQueries::new();
    let session = SessionContext::new();
    queries.register(&session, "streams").unwrap();
    let ask = async |sql: &str| texts(&session.sql(sql).await.unwrap().collect().await.unwrap());
    assert!(ask("SELECT * FROM streams.queries").await.is_empty());

    let query = || rig.windowed().listener(Arc::new(queries.clone()) as _);
    rig.push(at(&[10, 12, 31]));
    let mut running = query().open().await.unwrap();
    drain(&mut running).await.unwrap();
    rig.push(at(&[9]));
    running.step().await.unwrap();
    let columns = "name, status, is_active, batch_id, num_input_rows, num_output_rows, num_rows_dropped_by_watermark, watermark";
    let sql = format!("SELECT {columns} FROM streams.queries");
    assert_eq!(ask(&sql).await, ["test | running | true | 2 | 4 | 1 | 1 | 1970-01-01T00:00:21Z"]);
    let sql =
        "SELECT batch_id, num_input_rows, num_output_rows, event_time_max, watermark FROM streams.progress ORDER BY batch_id";
    let expected = [
        "0 | 3 | 0 | 1970-01-01T00:00:31Z | null",
        "1 | 0 | 1 | null | 1970-01-01T00:00:21Z",
        "2 | 1 | 0 | 1970-01-01T00:00:09Z | 1970-01-01T00:00:21Z",
    ];
    assert_eq!(ask(sql).await, expected);
    let sql = "SELECT batch_id, operator, operator_name, num_rows_total, num_rows_updated, num_rows_removed, \
               num_rows_dropped_by_watermark, state_files FROM streams.state ORDER BY batch_id";
    let expected = [
        "0 | stateStoreSave[origin, window(at, 10s)] | stateStoreSave | 2 | 2 | 0 | 0 | 1",
        "1 | stateStoreSave[origin, window(at, 10s)] | stateStoreSave | 1 | 0 | 1 | 0 | 1",
        "2 | stateStoreSave[origin, window(at, 10s)] | stateStoreSave | 1 | 0 | 0 | 1 | 1",
    ];
    assert_eq!(ask(sql).await, expected);
    let json = ask("SELECT json FROM streams.progress WHERE batch_id = 2").await;
    let json: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(json["numInputRows"], 1);

    running.step().await.unwrap();
    drop(running);
    rig.push(at(&[32]));
    rig.sink.fail_next(SinkFault::BeforeCommit);
    let error = query().run_available_now().await.unwrap_err();
    let sql = "SELECT status, is_active, exception FROM streams.queries ORDER BY started, status DESC";
    assert_eq!(ask(sql).await, ["stopped | false | null".to_owned(), format!("failed | false | {error}")]);
    assert_eq!(ask("SELECT count(DISTINCT id), count(DISTINCT run_id) FROM streams.queries").await, ["1 | 2"]);
}

#[tokio::test]
async fn runs_and_epochs_are_remembered_up_to_a_hundred() {
    let rig = Rig::new();
    let queries = StreamingQueries::new();
    let query = || -> StreamQuery { rig.query().listener(Arc::new(queries.clone()) as _) };
    let mut running = query().open().await.unwrap();
    for n in 0..130 {
        rig.push(at(&[n]));
        drain(&mut running).await.unwrap();
    }
    assert_eq!(queries.progress().unwrap().num_rows(), 100);
    assert_eq!(queries.state().unwrap().num_rows(), 0, "nothing is remembered");
    for _ in 0..120 {
        query().run_available_now().await.unwrap();
    }
    assert_eq!(queries.queries().unwrap().num_rows(), 100);
    let active = texts(&[queries.queries().unwrap()]).iter().filter(|row| row.contains("| true |")).count();
    assert_eq!(active, 1, "the run that goes on is not forgotten");
}

/// The fields that Spark's Python client reads without asking whether they are there.
#[tokio::test]
async fn progress_has_every_field_that_a_client_of_spark_reads() {
    let rig = Rig::new();
    rig.push(at(&[10, 12]));
    let mut query = rig.windowed().open().await.unwrap();
    query.step().await.unwrap();
    let json = query.last_progress().unwrap().to_json();
    let has = |value: &serde_json::Value, names: &[&str]| {
        let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let missing: Vec<&&str> = names.iter().filter(|name| !found.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?} of {value}");
    };
    has(
        &json,
        &[
            "id",
            "runId",
            "name",
            "timestamp",
            "batchId",
            "batchDuration",
            "numInputRows",
            "inputRowsPerSecond",
            "processedRowsPerSecond",
            "durationMs",
            "eventTime",
            "stateOperators",
            "sources",
            "sink",
            "observedMetrics",
        ],
    );
    has(
        &json["stateOperators"][0],
        &[
            "operatorName",
            "numRowsTotal",
            "numRowsUpdated",
            "numRowsRemoved",
            "allUpdatesTimeMs",
            "allRemovalsTimeMs",
            "commitTimeMs",
            "memoryUsedBytes",
            "numRowsDroppedByWatermark",
            "numShufflePartitions",
            "numStateStoreInstances",
            "customMetrics",
        ],
    );
    has(
        &json["sources"][0],
        &[
            "description",
            "startOffset",
            "endOffset",
            "latestOffset",
            "numInputRows",
            "inputRowsPerSecond",
            "processedRowsPerSecond",
            "metrics",
        ],
    );
    has(&json["sink"], &["description", "numOutputRows", "metrics"]);
    has(&json["eventTime"], &["max", "min", "avg"]);
    assert_eq!(json["stateOperators"][0]["numStateStoreInstances"], 1);
    assert_eq!(json["sources"][0]["latestOffset"], 2);
}
