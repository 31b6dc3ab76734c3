//! Runs to the end of what is there, and runs at an interval.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, ManualClock, ReadLimit};
use boathouse_stream::Trigger;

use crate::support::{Rig, at};

#[tokio::test]
async fn available_now_takes_what_was_there_at_the_start_and_no_more() {
    let rig = Rig::new();
    rig.push(at(&[1, 2, 3, 4, 5]));
    let (source, pushes) = (rig.source.clone(), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    // Rows keep coming while it runs.
    let query = rig.query().read_limit(ReadLimit { rows: Some(2), ..ReadLimit::default() }).on_epoch(move |_| {
        assert!(pushes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 20, "it does not end");
        source.push(at(&[6, 7, 8])).unwrap();
    });
    let report = query.run_available_now().await.unwrap();
    assert!(report.input_rows >= 5, "{report:?}");
    assert!(report.epochs <= 6, "{report:?}");
    assert_eq!(report.last_epoch, Some(report.epochs - 1));
}

#[tokio::test]
async fn available_now_without_limits_is_one_epoch_and_then_nothing() {
    let rig = Rig::new();
    for n in 0..4 {
        rig.push(at(&[n]));
    }
    let report = rig.query().run_available_now().await.unwrap();
    assert_eq!((report.epochs, report.input_rows, report.output_rows), (1, 4, 4));
    let again = rig.query().run_available_now().await.unwrap();
    assert_eq!((again.epochs, again.last_epoch), (0, Some(0)));
}

#[tokio::test]
async fn available_now_on_an_empty_source_commits_nothing() {
    let rig = Rig::new();
    let report = rig.windowed().run_available_now().await.unwrap();
    assert_eq!((report.epochs, report.last_epoch), (0, None));
    assert!(rig.sink.epochs().is_empty());
}

#[tokio::test]
async fn an_interval_makes_one_epoch_a_tick_until_the_shutdown() {
    let clock = ManualClock::starting_at_us(0);
    let rig = Rig { env: Env::new(clock.clone(), 1), ..Rig::new() };
    let limit = ReadLimit { rows: Some(1), ..ReadLimit::default() };
    let trigger = Trigger::ProcessingTime(Duration::from_secs(5));
    let mut query = rig.query().trigger(trigger).read_limit(limit).open().await.unwrap();
    rig.push(at(&[1, 2, 3]));
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let sink = rig.sink.clone();
    let driver = async move {
        for tick in 1..=4 {
            // Wait until the query sleeps.
            while clock.until_next_sleeper().is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(clock.until_next_sleeper(), Some(Duration::from_secs(5)));
            assert_eq!(sink.rows(), usize::min(tick, 3), "one row a tick, then idle");
            if tick < 4 {
                clock.advance(Duration::from_secs(5));
            }
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
    };
    let shutdown = async {
        stopped.await.unwrap();
    };
    let (report, ()) = futures::future::join(query.run_until(shutdown), driver).await;
    assert_eq!(report.unwrap().epochs, 3);
}

#[tokio::test]
async fn a_shutdown_before_the_start_ends_a_run_to_the_end_after_its_first_epoch() {
    let rig = Rig::new();
    rig.push(at(&[1, 2, 3]));
    let limit = ReadLimit { rows: Some(1), ..ReadLimit::default() };
    let mut query = rig.query().read_limit(limit).open().await.unwrap();
    let report = query.run_until(std::future::ready(())).await.unwrap();
    assert_eq!(report.epochs, 1);
}
