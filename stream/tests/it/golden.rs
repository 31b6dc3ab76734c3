//! The watermark, as Spark moves it.

use crate::support::{Rig, at, windows};
use boathouse_base::OutputMode;
use boathouse_stream::StepOutcome;

/// Run on Spark 4.3: delay 10 s, tumbling count of 10 s, append mode, one file a batch; ten batches, three of them empty.
#[tokio::test]
async fn watermarks_late_rows_and_emitted_windows_are_those_of_spark() {
    let rig = Rig::new();
    let mut query = rig.windowed().open().await.unwrap();
    let mut watermarks = Vec::new();
    let mut emitted = Vec::new();
    let mut late = Vec::new();
    let mut epochs_without_rows = Vec::new();
    for (n, seconds) in [vec![10, 12], vec![25], vec![9], vec![14], vec![31], vec![20], vec![19]].into_iter().enumerate() {
        rig.push(at(&seconds));
        while let StepOutcome::Epoch(progress) = query.step().await.unwrap() {
            if progress.input_rows > 0 {
                watermarks.push(progress.next_watermark_us.unwrap() / 1_000_000);
            } else {
                epochs_without_rows.push(progress.epoch);
            }
            if progress.late_rows > 0 {
                late.push((n, progress.late_rows));
            }
            if progress.output_rows > 0 {
                emitted.push(progress.epoch);
            }
        }
    }
    assert_eq!(watermarks, [2, 15, 15, 15, 21, 21, 21]);
    assert_eq!(late, [(2, 1), (6, 1)], "9 and 19 are late; 14 and 20 are not");
    assert_eq!(rig.windows(), [(20, Some("JFK".to_owned()), 3, 3)]);
    assert_eq!(epochs_without_rows, [1, 3, 7]);
    assert_eq!(emitted, [7], "the window is emitted in the epoch without rows at watermark 21");
    assert_eq!(query.last_epoch(), Some(9), "ten epochs");
}

/// The same on Spark in update mode: changed windows are emitted at once, and those that are over are forgotten silently.
#[tokio::test]
async fn update_mode_emits_what_changed_as_spark_does() {
    let rig = Rig::new();
    let mut query = rig.windowed().output_mode(OutputMode::Update).open().await.unwrap();
    for seconds in [vec![10, 12], vec![25], vec![9], vec![14], vec![31], vec![20], vec![19]] {
        rig.push(at(&seconds));
        while let StepOutcome::Epoch(_) = query.step().await.unwrap() {}
    }
    let emitted: Vec<(i64, i64)> = rig.sink.batches().iter().flat_map(windows).map(|(end, _, n, _)| (end, n)).collect();
    assert_eq!(emitted, [(20, 2), (30, 1), (20, 3), (40, 1), (30, 2)]);
    assert_eq!(query.last_epoch(), Some(9), "ten epochs");
}

#[tokio::test]
async fn a_row_that_comes_in_the_epoch_that_closes_its_window_still_counts() {
    let rig = Rig::new();
    // Three epochs without a pause: no epoch without rows lies between them.
    for seconds in [[10, 12], [31, 32], [15, 33]] {
        rig.push(at(&seconds));
    }
    let limit = boathouse_base::ReadLimit { rows: Some(2), ..Default::default() };
    let mut query = rig.windowed().read_limit(limit).open().await.unwrap();
    for _ in 0..3 {
        query.step().await.unwrap();
    }
    assert_eq!(query.last_progress().unwrap().watermark_us, Some(22_000_000), "it closes the window that ends at 20");
    assert_eq!(query.last_progress().unwrap().late_rows, 0, "its row is late only for the epoch after");
    let emitted: Vec<_> = rig.sink.batches().iter().flat_map(windows).collect();
    assert_eq!(emitted, [(20, Some("JFK".to_owned()), 3, 3)]);
}
