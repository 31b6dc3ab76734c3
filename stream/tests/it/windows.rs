//! Windows against a slow, obvious model.

use std::collections::BTreeMap;
use std::time::Duration;

use boathouse_base::{OutputMode, ReadLimit};
use boathouse_stream::TumblingWindow;
use datafusion::arrow::array::types::{Float64Type, Int64Type};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::functions_aggregate::expr_fn::{count_distinct, stddev};
use datafusion::prelude::col;
use proptest::prelude::*;

use crate::support::{Rig, Row, at, batch, drain};

const ORIGINS: [Option<&str>; 3] = [Some("JFK"), Some("LGA"), None];

/// What append mode must have emitted: epochs of these rows, then one without rows, width and delay of 10 s.
fn model(epochs: &[Vec<Row>]) -> Vec<(i64, Option<String>, i64, i64)> {
    let mut open: BTreeMap<(i64, Option<String>), (i64, i64)> = BTreeMap::new();
    let mut emitted = Vec::new();
    let (mut before, mut now) = (i64::MIN, i64::MIN);
    for rows in epochs.iter().map(Vec::as_slice).chain([&[][..]]) {
        for (t, origin, delay) in rows {
            let Some(t) = t else { continue };
            let end = t.div_euclid(10) * 10 + 10;
            if end > before {
                let group = open.entry((end, origin.map(str::to_owned))).or_default();
                *group = (group.0 + 1, group.1 + delay);
            }
        }
        let closed: Vec<_> = open.keys().filter(|(end, _)| *end <= now).cloned().collect();
        for key in closed {
            let (n, delay) = open.remove(&key).unwrap();
            emitted.push((key.0, key.1, n, delay));
        }
        before = now;
        now = now.max(rows.iter().filter_map(|row| row.0).max().map_or(i64::MIN, |max| max - 10));
    }
    emitted.sort();
    emitted
}

fn rows() -> impl Strategy<Value = Vec<(Option<i64>, usize, i64)>> {
    let row = (proptest::option::weighted(0.95, -50..300_i64), 0..3_usize, -5..50_i64);
    proptest::collection::vec(row, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn append_mode_emits_what_the_model_emits(rows in rows(), size in 1..9_usize, restarts in any::<bool>()) {
        let rows: Vec<Row> = rows.into_iter().map(|(t, origin, delay)| (t, ORIGINS[origin], delay)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = Rig::new();
        rig.push(batch(&rows));
        let open = || rig.windowed().read_limit(ReadLimit { rows: Some(size as u64), ..ReadLimit::default() }).open();
        runtime.block_on(async {
            let mut query = open().await.unwrap();
            while let boathouse_stream::StepOutcome::Epoch(_) = query.step().await.unwrap() {
                if restarts {
                    query = open().await.unwrap();
                }
            }
        });
        let epochs: Vec<Vec<Row>> = rows.chunks(size).map(<[Row]>::to_vec).collect();
        prop_assert_eq!(rig.windows(), model(&epochs));
    }
}

#[tokio::test]
async fn every_aggregate_is_combined_over_epochs() {
    let rig = Rig::new();
    let window = TumblingWindow::over("at", Duration::from_secs(100))
        .count("n")
        .sum("delay", "sum")
        .min("delay", "min")
        .max("delay", "max")
        .avg("delay", "mean")
        .aggregate("deviation", stddev(col("delay")))
        .aggregate("distinct", count_distinct(col("delay")));
    let mut query = rig.query().watermark("at", Duration::ZERO).window(window).open().await.unwrap();
    for delays in [[2, 4], [4, 4], [5, 5], [7, 9]] {
        rig.push(batch(&delays.map(|delay| (Some(delay), Some("JFK"), delay))));
        drain(&mut query).await.unwrap();
    }
    rig.push(at(&[500]));
    drain(&mut query).await.unwrap();
    let batches = rig.sink.batches();
    let result = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    let names: Vec<String> = result.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["window_start", "window_end", "n", "sum", "min", "max", "mean", "deviation", "distinct"]);
    assert!(matches!(result.column(1).data_type(), DataType::Timestamp(_, Some(zone)) if zone.as_ref() == "UTC"));
    let whole = |name: &str| result.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    let float = |name: &str| result.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(0);
    assert_eq!(["n", "sum", "min", "max", "distinct"].map(whole), [8, 40, 2, 9, 5]);
    assert!((float("mean") - 5.0).abs() < 1e-12);
    assert!((float("deviation") - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
}

#[tokio::test]
async fn complete_mode_replaces_the_target_by_all_windows_and_drops_no_late_row() {
    let rig = Rig::new();
    let query = || rig.windowed().output_mode(OutputMode::Complete);
    rig.push(at(&[10, 100]));
    query().run_available_now().await.unwrap();
    rig.push(at(&[12, 13]));
    query().run_available_now().await.unwrap();
    let jfk = || Some("JFK".to_owned());
    assert_eq!(rig.windows(), [(20, jfk(), 3, 3), (110, jfk(), 1, 1)]);
    assert_eq!(query().run_available_now().await.unwrap().epochs, 0);
}

#[tokio::test]
async fn rows_without_an_event_time_are_counted_and_in_no_window() {
    let rig = Rig::new();
    rig.push(batch(&[(None, Some("JFK"), 1), (Some(5), Some("JFK"), 1)]));
    let mut query = rig.windowed().open().await.unwrap();
    query.step().await.unwrap();
    assert_eq!(query.last_progress().unwrap().null_event_time_rows, 1);
    assert_eq!(query.last_progress().unwrap().operators[0].rows, 1);
    rig.push(at(&[90]));
    drain(&mut query).await.unwrap();
    assert_eq!(rig.windows(), [(10, Some("JFK".to_owned()), 1, 1)]);
}

#[tokio::test]
async fn an_epoch_rewrites_only_the_windows_that_it_touches() {
    let rig = Rig::new();
    let day: Vec<Row> = (0..8_000).map(|n| (Some(n * 10), Some("JFK"), 1)).collect();
    rig.push(batch(&day));
    // The watermark is far behind: everything stays open.
    let open = || rig.windowed().watermark("at", Duration::from_secs(1_000_000)).open();
    let mut query = open().await.unwrap();
    drain(&mut query).await.unwrap();
    let size = |entries: Vec<boathouse_storage::ObjectEntry>| entries.last().unwrap().size_bytes;
    let first = size(rig.checkpoint.list("state").await.unwrap());
    rig.push(at(&[5]));
    drain(&mut query).await.unwrap();
    let second = size(rig.checkpoint.list("state").await.unwrap());
    assert!(second * 100 < first, "one window of 8,000 was written: {second} of {first} bytes");
    for n in 0..30 {
        rig.push(at(&[n * 10]));
        drain(&mut query).await.unwrap();
        assert!(rig.files("state").await.len() <= 8);
    }
    let progress = query.last_progress().unwrap();
    assert_eq!(progress.operators[0].rows, 8_000);
    query = open().await.unwrap();
    rig.push(at(&[2_000_000]));
    drain(&mut query).await.unwrap();
    let total: i64 = rig.windows().iter().map(|row| row.2).sum();
    assert_eq!(total, 8_031);
    assert_eq!(rig.sink.batches().iter().map(RecordBatch::num_rows).sum::<usize>(), 8_000);
}
