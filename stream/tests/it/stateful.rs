//! What processors with state of their own can do, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, OutputMode, Result};
use boathouse_stream::{
    StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle, StreamFrame, StreamQuery, TimeMode,
};
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;

use crate::stateful_oracle::{Rig, batch};

/// A processor from functions.
struct Ad<I, R> {
    init: I,
    rows: R,
}

impl<I, R> StatefulProcessor for Ad<I, R>
where
    I: Fn(&mut StateVariables) + Send + Sync,
    R: Fn(&StateKey<'_>, RecordBatch, &mut StatefulProcessorHandle<'_>) -> Result<()> + Send + Sync,
{
    fn init(&self, states: &mut StateVariables) {
        (self.init)(states);
    }

    fn handle_input_rows(&self, key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        (self.rows)(key, rows, handle)
    }
}

fn counts() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("n", DataType::Int64, false)]))
}

/// A query over a rig with a processor by the key `k`, without a watermark.
fn with<I, R>(rig: &Rig, mode: TimeMode, init: I, rows: R) -> StreamQuery
where
    I: Fn(&mut StateVariables) + Send + Sync + 'static,
    R: Fn(&StateKey<'_>, RecordBatch, &mut StatefulProcessorHandle<'_>) -> Result<()> + Send + Sync + 'static,
{
    let processor: Arc<dyn StatefulProcessor> = Arc::new(Ad { init, rows });
    StreamQuery::named("ad")
        .source(Arc::new(rig.source.clone()))
        .sink(Arc::new(rig.sink.clone()))
        .checkpoint(rig.checkpoint.clone())
        .env(Env::new(rig.clock.clone(), 7))
        .transform(move |frame| frame.transform_with_state(&["k"], &counts(), mode, Arc::clone(&processor)))
}

fn count(states: &mut StateVariables) {
    states.value("n", [Field::new("n", DataType::Int64, false)]);
}

fn counting(key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
    let mut state = handle.value("n")?;
    let n = state.get_as::<i64>()?.unwrap_or(0) + i64::try_from(rows.num_rows()).unwrap();
    state.update([n])?;
    let mut row = key.values()?;
    row.push(ScalarValue::from(n));
    Ok(handle.emit(row)?)
}

#[tokio::test]
async fn the_first_epochs_of_a_running_count_are_those_of_spark() {
    let rig = Rig::new();
    let mut query = with(&rig, TimeMode::None, count, counting).open().await.unwrap();
    let mut found = Vec::new();
    for keys in [&[1][..], &[1, 2], &[1, 1, 3]] {
        rig.source.push(batch(&keys.iter().map(|key| (0, Some(*key), 0)).collect::<Vec<_>>())).unwrap();
        query.step().await.unwrap();
        let batches = rig.sink.epochs().last().unwrap().batches.clone();
        for batch in batches {
            let keys = batch.column(0).as_string::<i32>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            found.extend(keys.iter().zip(counts.values()).map(|(key, n)| (key.unwrap().to_owned(), *n)));
        }
    }
    let expected = [("k1", 1), ("k1", 2), ("k2", 1), ("k1", 4), ("k3", 1)];
    assert_eq!(found, expected.map(|(key, n)| (key.to_owned(), n)));
    let operator = &query.last_progress().unwrap().operators[0];
    assert_eq!((operator.kind, operator.rows, operator.updated_rows), ("transformWithStateExec", 3, 2));
}

#[tokio::test]
async fn a_due_timer_makes_an_epoch_without_rows_also_after_a_restart_and_only_one() {
    let rig = Rig::new();
    let query = || rig.query(TimeMode::ProcessingTime, 100);
    // Due in 3 seconds; it stands at an odd second, so it does not set another.
    rig.source.push(batch(&[(0, Some(1), 3)])).unwrap();
    query().run_available_now().await.unwrap();
    assert_eq!(rig.epochs().len(), 1);
    rig.clock.advance(Duration::from_secs(3));
    assert_eq!(query().run_available_now().await.unwrap().epochs, 0, "its time has come, and not passed");
    rig.clock.advance(Duration::from_micros(1));
    let report = query().run_available_now().await.unwrap();
    assert_eq!((report.epochs, report.output_rows), (1, 1));
    assert_eq!(query().run_available_now().await.unwrap().epochs, 0);
    assert!(rig.epochs()[1][0].starts_with("timer"));
}

#[tokio::test]
async fn what_a_variable_holds_survives_that_others_come_and_go_and_its_own_columns_must_stay() {
    let rig = Rig::new();
    rig.source.push(batch(&[(0, Some(1), 0), (0, Some(1), 0)])).unwrap();
    with(&rig, TimeMode::None, count, counting).run_available_now().await.unwrap();
    let more = |states: &mut StateVariables| {
        states.list("seen", [Field::new("v", DataType::Int64, true)]);
        count(states);
    };
    rig.source.push(batch(&[(0, Some(1), 0)])).unwrap();
    with(&rig, TimeMode::None, more, counting).run_available_now().await.unwrap();
    let batches = rig.sink.batches();
    assert_eq!(batches.last().unwrap().column(1).as_primitive::<Int64Type>().values(), &[3]);
    let as_list = |states: &mut StateVariables| {
        states.list("n", [Field::new("n", DataType::Int64, false)]);
    };
    rig.source.push(batch(&[(0, Some(1), 0)])).unwrap();
    for (query, stored) in [
        (with(&rig, TimeMode::None, as_list, counting), "the column `value.n` of its state is no longer computed"),
        (with(&rig, TimeMode::ProcessingTime, count, counting), "the column `no_timer.us` of its state is no longer computed"),
    ] {
        let error = query.run_available_now().await.unwrap_err();
        assert!(error.to_string().contains(stored), "{error}");
    }
}

#[tokio::test]
async fn misuse_is_refused_with_the_key_and_what_was_attempted() {
    type Rows = fn(&StateKey<'_>, RecordBatch, &mut StatefulProcessorHandle<'_>) -> Result<()>;
    let cases: [(Rows, &str); 7] = [
        (
            |_, _, handle| handle.value("m").map(drop).map_err(Into::into),
            "use the value state `m`: the processor declares [value n]",
        ),
        (
            |_, _, handle| handle.list("n").map(drop).map_err(Into::into),
            "use `n` as a list state: it was declared as a value state",
        ),
        (|_, _, handle| Ok(handle.value("n")?.update(["one"])?), "`n` has the type Int64, and the value one has the type Utf8"),
        (|_, _, handle| Ok(handle.value("n")?.update([ScalarValue::Null])?), "`n` was declared without nulls"),
        (|_, _, handle| Ok(handle.register_timer(1)?), "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_TIME_MODE"),
        (
            |_, _, handle| Ok(handle.emit([1_i64])?),
            "write to the result: it has the columns [k Utf8, n Int64], and the row has 1 values",
        ),
        (|_, rows, handle| Ok(handle.emit_batch(&rows)?), "emit a batch: the result has the columns [k Utf8, n Int64]"),
    ];
    for (rows, expected) in cases {
        let rig = Rig::new();
        rig.source.push(batch(&[(0, Some(3), 0)])).unwrap();
        let error = with(&rig, TimeMode::None, count, rows).run_available_now().await.unwrap_err();
        assert!(error.to_string().contains("handle the rows of the key [k3]: "), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(rig.sink.epochs().is_empty());
    }
}

#[tokio::test]
async fn modes_and_plans_that_a_processor_does_not_allow_are_refused_by_the_class_of_spark() {
    let fresh = || {
        let rig = Rig::new();
        rig.source.push(batch(&[(0, Some(1), 0)])).unwrap();
        rig
    };
    let rig = fresh();
    let complete = with(&rig, TimeMode::None, count, counting).output_mode(OutputMode::Complete).run_available_now().await;
    assert!(
        complete
            .unwrap_err()
            .to_string()
            .contains("transformWithState in complete mode [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]")
    );
    let rig = fresh();
    let event_time = with(&rig, TimeMode::EventTime, count, counting).run_available_now().await;
    assert!(event_time.unwrap_err().to_string().contains("[UNSUPPORTED_STREAMING_OPERATOR_WITHOUT_WATERMARK]"));
    let chained = |rig: &Rig| {
        let processor: Arc<dyn StatefulProcessor> = Arc::new(Ad { init: count, rows: counting });
        with(rig, TimeMode::None, count, counting).transform(move |frame| {
            let frame = frame.transform_with_state(&["k"], &counts(), TimeMode::None, Arc::clone(&processor))?;
            frame.drop_duplicates(&["n"])
        })
    };
    let update = chained(&fresh()).output_mode(OutputMode::Update).run_available_now().await;
    assert!(update.unwrap_err().to_string().contains("second operator that remembers"));
    assert_eq!(chained(&fresh()).run_available_now().await.unwrap().output_rows, 1, "in append mode operators follow each other");
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_one_look_up_and_one_file() {
    let rig = Rig::new();
    let keys: i64 = 100_000;
    let many = || {
        let columns = [
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(0..keys)) as ArrayRef, true),
            ("k", Arc::new(StringArray::from_iter_values((0..keys).map(|key| key.to_string()))), true),
            ("v", Arc::new(Int64Array::from_iter_values(0..keys)), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let mut query = with(&rig, TimeMode::None, count, counting).open().await.unwrap();
    for _ in 0..2 {
        rig.source.push(many()).unwrap();
        query.step().await.unwrap();
    }
    let operator = &query.last_progress().unwrap().operators[0];
    assert_eq!((operator.rows, operator.updated_rows, operator.files), (100_000, 100_000, 1));
    let batches = rig.sink.epochs().last().unwrap().batches.clone();
    let all: i64 = batches.iter().map(|batch| batch.column(1).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum();
    assert_eq!(all, 2 * keys);
}
