//! Rows through a transformation into a sink.

use std::sync::{Arc, Mutex};

use boathouse_base::memory::SinkFault;
use boathouse_base::{Progress, ProgressEvent, ReadLimit};
use boathouse_stream::StepOutcome;
use datafusion::prelude::{SessionContext, col, lit};

use crate::support::{Rig, at, batch, drain};

fn delays(range: std::ops::Range<i64>) -> datafusion::arrow::array::RecordBatch {
    batch(&range.map(|delay| (Some(delay), Some("JFK"), delay)).collect::<Vec<_>>())
}

#[tokio::test]
async fn rows_pass_in_order_once_each_in_epochs_of_the_read_limit() {
    let rig = Rig::new();
    rig.push(delays(0..10));
    let limit = ReadLimit { rows: Some(4), ..ReadLimit::default() };
    let mut query = rig.query().read_limit(limit).open().await.unwrap();
    assert_eq!(drain(&mut query).await.unwrap(), 3);
    rig.push(delays(10..12));
    assert_eq!(drain(&mut query).await.unwrap(), 1);
    assert_eq!(rig.delays(), (0..12).collect::<Vec<_>>());
    let read: Vec<u64> = query.recent_progress().map(|progress| progress.input_rows).collect();
    assert_eq!(read, [4, 4, 2, 2]);
    assert_eq!(rig.source.committed().unwrap().as_str(), "12", "the source was told");
    assert_eq!(query.step().await.unwrap(), StepOutcome::Idle);
}

#[tokio::test]
async fn sql_and_functions_transform_the_same_rows() {
    for sql in [true, false] {
        let rig = Rig::new();
        rig.push(delays(0..5));
        let query = rig.query();
        let query = match sql {
            true => query.sql("SELECT delay * 10 AS delay FROM source WHERE delay > 2"),
            false => query
                .transform(|frame| frame.filter(col("delay").gt(lit(2)))?.select(vec![(col("delay") * lit(10)).alias("delay")])),
        };
        let report = query.run_available_now().await.unwrap();
        assert_eq!(rig.delays(), [30, 40]);
        assert_eq!((report.input_rows, report.output_rows, report.epochs), (5, 2, 1));
    }
}

#[tokio::test]
async fn an_epoch_whose_rows_are_all_filtered_out_still_moves_the_position() {
    let rig = Rig::new();
    rig.push(delays(0..5));
    let query = rig.query().sql("SELECT * FROM source WHERE delay < 0");
    assert_eq!(query.clone().run_available_now().await.unwrap().epochs, 1);
    assert_eq!(query.run_available_now().await.unwrap().epochs, 0);
}

#[tokio::test]
async fn a_joined_table_shows_its_newest_rows_in_each_epoch() {
    let rig = Rig::new();
    let session = SessionContext::new();
    let carriers = |count: i64| {
        let statement = format!("CREATE OR REPLACE VIEW known AS SELECT value AS delay FROM generate_series(0, {})", count - 1);
        let session = session.clone();
        async move { session.sql(&statement).await.unwrap().collect().await.unwrap() }
    };
    carriers(2).await;
    let query = rig.query().session(session.clone()).sql("SELECT s.delay FROM source s JOIN known k ON s.delay = k.delay");
    let mut query = query.open().await.unwrap();
    rig.push(delays(0..4));
    drain(&mut query).await.unwrap();
    carriers(4).await;
    rig.push(delays(0..4));
    drain(&mut query).await.unwrap();
    let mut found = rig.delays();
    found.sort_unstable();
    assert_eq!(found, [0, 0, 1, 1, 2, 3]);
    assert!(!session.table_exist("source").unwrap(), "nothing was registered in the session");
}

#[tokio::test]
async fn a_commit_that_fails_is_tried_again_and_one_whose_answer_was_lost_is_not_repeated() {
    for fault in [SinkFault::BeforeCommit, SinkFault::AfterCommit] {
        let rig = Rig::new();
        let mut query = rig.query().open().await.unwrap();
        for n in 0..3 {
            rig.push(delays(n..n + 1));
            if n == 1 {
                rig.sink.fail_next(fault);
                query.step().await.unwrap_err();
            }
            drain(&mut query).await.unwrap();
        }
        assert_eq!(rig.delays(), [0, 1, 2], "{fault:?}");
        assert_eq!(query.last_epoch(), Some(2));
    }
}

#[tokio::test]
async fn observers_see_rows_and_epochs() {
    let rig = Rig::new();
    rig.push(delays(0..3));
    let seen: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let (phases, epochs) = (Arc::clone(&seen), Arc::new(Mutex::new(Vec::new())));
    let observed = Arc::clone(&epochs);
    let query = rig
        .query()
        .with_progress(Progress::new(move |event: ProgressEvent<'_>| {
            phases.lock().unwrap().push((event.phase.to_owned(), event.done))
        }))
        .on_epoch(move |progress| observed.lock().unwrap().push(progress.to_json()));
    query.run_available_now().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [("rows".to_owned(), 3), ("epochs".to_owned(), 1)]);
    let epochs = epochs.lock().unwrap();
    assert_eq!(epochs[0]["numInputRows"], 3);
    assert_eq!(epochs[0]["sink"]["numOutputRows"], 3);
    assert_eq!(epochs[0]["sources"][0]["endOffset"], 3);
}

#[tokio::test]
async fn a_watermark_without_a_window_is_reported_and_drops_nothing() {
    let rig = Rig::new();
    rig.push(at(&[100]));
    let mut query = rig.query().watermark("at", std::time::Duration::from_secs(10)).open().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(query.last_progress().unwrap().next_watermark_us, Some(90_000_000));
    rig.push(at(&[1]));
    assert_eq!(drain(&mut query).await.unwrap(), 1, "and no epoch without rows");
    assert_eq!(rig.sink.rows(), 2);
    assert_eq!(query.last_progress().unwrap().watermark_us, Some(90_000_000));
}

#[tokio::test]
async fn a_dropped_step_is_made_again() {
    let rig = Rig::new();
    rig.push(delays(0..3));
    let mut query = rig.query().open().await.unwrap();
    {
        let mut step = std::pin::pin!(query.step());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Polled once or not at all: dropped wherever it is.
        let _ = std::future::Future::poll(step.as_mut(), &mut context);
    }
    drain(&mut query).await.unwrap();
    assert_eq!(rig.delays(), [0, 1, 2]);
}
