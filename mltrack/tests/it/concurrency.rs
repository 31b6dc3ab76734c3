//! Many writers at once.

use std::time::Duration;

use boathouse_mltrack::{Tracker, TrackerSettings};
use boathouse_storage::system_env;

use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_that_log_to_one_run_lose_nothing() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("shared").await.unwrap();
        let tasks = (0..8_i32).map(|task| {
            let run = run.clone();
            tokio::spawn(async move {
                for step in 0..25_i64 {
                    run.log_metric(&format!("own{task}"), f64::from(task), step).await.unwrap();
                    run.log_metrics([("shared", f64::from(task))], step * 8 + i64::from(task)).await.unwrap();
                }
                run.log_param("same", "value").await.unwrap();
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let got = run.get().await.unwrap();
        assert_eq!((got.metrics.len(), got.metrics["shared"].step, got.params.len()), (9, 199, 1));
        assert_eq!(f.tracker.get_metric_history(run.id(), "shared").await.unwrap().len(), 200);
    }
}

/// Two trackers are two pools, as two processes would be: they meet in the file only.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trackers_that_share_a_file_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TrackerSettings {
        database_url: format!("sqlite://{}", folder.path().join("ml.db").display()),
        artifact_root: folder.path().display().to_string(),
    };
    // Each on a thread of its own: they turn WAL on at the same moment.
    let opening = (0..4).map(|_| tokio::spawn(Tracker::open(settings.clone(), system_env())));
    let opened = futures::future::join_all(opening).await;
    let trackers: Vec<Tracker> = opened.into_iter().map(|opened| opened.unwrap().unwrap()).collect();
    let run = trackers[0].experiment("e").get_or_create().await.unwrap().start_run("r").await.unwrap();
    let tasks: Vec<_> = trackers
        .iter()
        .cloned()
        .enumerate()
        .map(|(i, tracker)| {
            let id = run.id().to_owned();
            tokio::spawn(async move {
                let run = tracker.run(&id).await.unwrap();
                for step in 0..25 {
                    run.log_metric(&format!("m{i}"), 1.0, step).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for (i, tracker) in trackers.iter().enumerate() {
        assert_eq!(tracker.get_metric_history(run.id(), &format!("m{i}")).await.unwrap().len(), 25);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_the_tracker_usable() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("dropped").await.unwrap();
        for i in 0..40_u64 {
            let call = run.log_metric("m", 1.0, i64::try_from(i).unwrap());
            let _ = tokio::time::timeout(Duration::from_micros(i * 20), call).await;
        }
        run.log_metric("m", 2.0, 1000).await.unwrap();
        let history = f.tracker.get_metric_history(run.id(), "m").await.unwrap();
        assert_eq!(history.last().map(|m| m.value), Some(2.0));
        assert!(history.len() <= 41);
    }
}
