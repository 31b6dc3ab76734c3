//! Experiments, runs, and what they log.

use boathouse_base::{DomainError as _, ErrorKind};
use boathouse_mltrack::{DatasetInput, Error, Lifecycle, Metric, NewRun, RunBatch, RunStatus, Tracker, TrackerSettings};
use boathouse_storage::system_env;

use crate::fixture::Fixture;

#[tokio::test]
async fn a_run_keeps_what_was_logged() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("first").await.unwrap();
        run.log_param("lr", 0.1).await.unwrap();
        run.log_params([("depth", 3), ("trees", 100)]).await.unwrap();
        run.log_metrics([("auc", 0.7), ("loss", 0.5)], 1).await.unwrap();
        f.tick();
        run.log_metric("auc", 0.8, 2).await.unwrap();
        run.log_metric("auc", 0.1, 0).await.unwrap();
        run.set_tag("note", "a").await.unwrap();
        run.set_tag("note", "b'; DROP TABLE ml_runs; --").await.unwrap();
        let got = run.get().await.unwrap();
        assert_eq!(got.params["lr"], "0.1");
        assert_eq!(got.params["trees"], "100");
        assert_eq!((got.metrics["auc"].value, got.metrics["auc"].step), (0.8, 2), "the latest is the largest step");
        assert_eq!(got.tags["note"], "b'; DROP TABLE ml_runs; --");
        assert_eq!(got.tags["mlflow.runName"], "first");
        let info = run.clone().end(RunStatus::Finished).await.unwrap();
        assert_eq!((info.status, info.end_time_ms), (RunStatus::Finished, Some(f.env.now_ms())));
        let history = f.tracker.get_metric_history(run.id(), "auc").await.unwrap();
        assert_eq!(history.iter().map(|m| m.step).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(f.tracker.get_metric_history(run.id(), "nothing").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nan_and_infinities_come_back_as_they_were() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("odd").await.unwrap();
        for (step, value) in
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX].into_iter().enumerate()
        {
            run.log_metric("m", value, i64::try_from(step).unwrap()).await.unwrap();
        }
        let values: Vec<f64> = f.tracker.get_metric_history(run.id(), "m").await.unwrap().iter().map(|m| m.value).collect();
        assert!(values[0].is_nan());
        assert_eq!(values[1..], [f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE, f64::MAX]);
        run.log_metric("last", f64::NAN, 9).await.unwrap();
        assert!(run.get().await.unwrap().metrics["last"].value.is_nan());
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_twice_counts_once() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("twice").await.unwrap();
        let metrics: Vec<Metric> = (0..800).map(|i| Metric::new(format!("m{}", i % 7), f64::from(i), 5, i.into())).collect();
        let params = (0..100).map(|i| (format!("p{i}"), i.to_string())).collect();
        let batch = RunBatch { metrics, params, tags: vec![("t".into(), "1".into()), ("t".into(), "2".into())] };
        run.log_batch(batch.clone()).await.unwrap();
        run.log_batch(batch).await.unwrap();
        let got = run.get().await.unwrap();
        assert_eq!((got.params.len(), got.metrics.len(), got.tags["t"].as_str()), (100, 7, "2"));
        assert_eq!(got.metrics["m1"].step, 799);
        assert_eq!(f.tracker.get_metric_history(run.id(), "m1").await.unwrap().len(), 115);
    }
}

#[tokio::test]
async fn a_param_never_changes_and_a_failed_batch_leaves_nothing() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("params").await.unwrap();
        run.log_param("lr", "0.1").await.unwrap();
        run.log_param("lr", "0.1").await.unwrap();
        let batch = RunBatch {
            metrics: vec![Metric::new("m", 1.0, 0, 0)],
            params: vec![("new".into(), "1".into()), ("lr".into(), "0.2".into())],
            tags: vec![("t".into(), "1".into())],
        };
        let error = run.log_batch(batch).await.unwrap_err();
        assert!(
            matches!(&error, Error::ParamChanged { key, old, new, .. } if key == "lr" && old == "0.1" && new == "0.2"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let got = run.get().await.unwrap();
        assert_eq!((got.params.len(), got.metrics.len(), got.tags.contains_key("t")), (1, 0, false));
    }
}

#[tokio::test]
async fn deleted_runs_take_nothing_until_they_are_restored() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("gone").await.unwrap();
        f.tracker.delete_run(run.id()).await.unwrap();
        for error in [
            run.log_metric("m", 1.0, 0).await.unwrap_err(),
            run.set_tag("t", 1).await.unwrap_err(),
            run.log_artifact("a", "x").await.unwrap_err(),
            run.clone().end(RunStatus::Finished).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::RunDeleted { .. }), "{error}");
        }
        assert_eq!(run.get().await.unwrap().info.lifecycle, Lifecycle::Deleted);
        f.tracker.restore_run(run.id()).await.unwrap();
        run.log_metric("m", 1.0, 0).await.unwrap();
    }
}

#[tokio::test]
async fn an_experiment_takes_its_runs_along_when_it_is_deleted() {
    for f in Fixture::each().await {
        let experiment = f.experiment().await;
        let run = experiment.start_run("a").await.unwrap();
        f.tracker.delete_experiment(experiment.id()).await.unwrap();
        assert_eq!(run.get().await.unwrap().info.lifecycle, Lifecycle::Deleted);
        assert!(matches!(experiment.start_run("b").await.unwrap_err(), Error::ExperimentDeleted { .. }));
        let error = f.tracker.experiment(&experiment.experiment().name).create().await.unwrap_err();
        assert!(matches!(error, Error::ExperimentExists { state: "deleted", .. }), "{error}");
        f.tracker.restore_experiment(experiment.id()).await.unwrap();
        assert_eq!(run.get().await.unwrap().info.lifecycle, Lifecycle::Active);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    for f in Fixture::each().await {
        let t = &f.tracker;
        for error in [
            t.get_run("no such run").await.unwrap_err(),
            t.get_experiment("4611686018427387904").await.unwrap_err(),
            t.get_experiment("not a number").await.unwrap_err(),
            t.get_experiment_by_name("no such name").await.unwrap_err(),
            t.create_run("4611686018427387904", NewRun::default()).await.unwrap_err(),
            t.log_param("no such run", "k", "v").await.unwrap_err(),
            t.delete_run("no such run").await.unwrap_err(),
            t.get_metric_history("no such run", "m").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

#[tokio::test]
async fn of_many_that_get_or_create_an_experiment_one_makes_it() {
    for f in Fixture::each().await {
        let name = format!("shared {}", f.env.uuid());
        let ids = futures::future::join_all((0..8).map(|_| f.tracker.experiment(&name).get_or_create())).await;
        let ids: Vec<String> = ids.into_iter().map(|e| e.unwrap().id().to_owned()).collect();
        assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
    }
}

#[tokio::test]
async fn inputs_name_the_data_that_was_read() {
    for f in Fixture::each().await {
        let run = f.experiment().await.start_run("inputs").await.unwrap();
        let input = DatasetInput::table_version("silver", "file:///lake/silver", 12, "training");
        run.log_input(input.clone()).await.unwrap();
        run.log_input(input.clone()).await.unwrap();
        run.log_input(DatasetInput::table_version("weather", "file:///lake/weather", 3, "training")).await.unwrap();
        let got = run.get().await.unwrap().inputs;
        assert_eq!(got.len(), 2);
        assert_eq!(got[0], input);
        let empty = DatasetInput::default();
        assert_eq!(run.log_input(empty).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn renaming_an_experiment_to_a_taken_name_is_refused() {
    for f in Fixture::each().await {
        let (a, b) = (f.experiment().await, f.experiment().await);
        let error = f.tracker.rename_experiment(a.id(), &b.experiment().name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let name = format!("renamed {}", f.env.uuid());
        f.tracker.rename_experiment(a.id(), &name).await.unwrap();
        assert_eq!(f.tracker.get_experiment_by_name(&name).await.unwrap().experiment_id, a.id());
    }
}

#[tokio::test]
async fn a_tracker_that_is_opened_again_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let settings = TrackerSettings {
        database_url: folder.path().join("ml.db").display().to_string(),
        artifact_root: folder.path().join("artifacts").display().to_string(),
    };
    let tracker = Tracker::open(settings.clone(), system_env()).await.unwrap();
    let run = tracker.experiment("e").get_or_create().await.unwrap().start_run("r").await.unwrap();
    run.log_artifact("model/a.txt", "hello").await.unwrap();
    tracker.close().await;
    let tracker = Tracker::open(settings, system_env()).await.unwrap();
    let run = tracker.run(run.id()).await.unwrap();
    assert_eq!(run.get().await.unwrap().info.run_name, "r");
    assert_eq!(tracker.get_artifact(run.id(), "model/a.txt").await.unwrap(), "hello");
    let location: boathouse_storage::Location = run.artifact_location().await.unwrap().parse().unwrap();
    let storage = boathouse_storage::Storage::open(&location).unwrap();
    assert_eq!(storage.get("model/a.txt").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database at all, only a text that is long enough to be read as a header of one. ".repeat(20))
        .unwrap();
    let settings =
        TrackerSettings { database_url: path.display().to_string(), artifact_root: folder.path().display().to_string() };
    let error = Tracker::open(settings, system_env()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
}
