//! Files that runs leave behind.

use boathouse_base::{DomainError as _, ErrorKind};
use boathouse_mltrack::NewExperiment;
use bytes::Bytes;

use crate::fixture::Fixture;

#[tokio::test]
async fn artifacts_are_listed_level_by_level_and_read_back() {
    let f = Fixture::file().await;
    let run = f.experiment().await.start_run("files").await.unwrap();
    for (path, bytes) in [("model/MLmodel", "flavors"), ("model/data/weights é.bin", "12345"), ("roc.svg", "<svg/>")] {
        run.log_artifact(path, bytes).await.unwrap();
    }
    let list = async |folder: &str| {
        let entries = f.tracker.list_artifacts(run.id(), folder).await.unwrap();
        entries.into_iter().map(|e| (e.path, e.size_bytes)).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, [("model".into(), None), ("roc.svg".into(), Some(6))]);
    assert_eq!(list("model").await, [("model/MLmodel".into(), Some(7)), ("model/data".into(), None)]);
    assert_eq!(list("model/data/").await, [("model/data/weights é.bin".into(), Some(5))]);
    assert!(list("nothing").await.is_empty());
    assert_eq!(f.tracker.get_artifact(run.id(), "model/data/weights é.bin").await.unwrap(), "12345");
    let error = f.tracker.get_artifact(run.id(), "model").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_path_that_leaves_the_run_is_refused() {
    let f = Fixture::file().await;
    let run = f.experiment().await.start_run("files").await.unwrap();
    for path in ["../other/artifacts/x", "/etc/passwd", "a/../../x", "", "a\\..\\b", "%2e%2e/x"] {
        for error in [run.log_artifact(path, "x").await.unwrap_err(), f.tracker.get_artifact(run.id(), path).await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn artifacts_of_a_foreign_location_are_left_to_the_client() {
    let f = Fixture::file().await;
    let new = NewExperiment { name: "foreign".into(), artifact_location: Some("s3://bucket/x/".into()), tags: Vec::new() };
    let experiment = f.tracker.create_experiment(new).await.unwrap();
    let run = f.tracker.create_run(&experiment.experiment_id, Default::default()).await.unwrap();
    assert_eq!(run.info.artifact_uri, format!("s3://bucket/x/{}/artifacts", run.info.run_id));
    let error = f.tracker.log_artifact(&run.info.run_id, "a", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(f.tracker.artifact_location(&run.info.run_id).await.unwrap(), run.info.artifact_uri);
}

#[tokio::test]
async fn a_streamed_artifact_is_whole_or_absent_and_can_be_deleted() {
    let f = Fixture::file().await;
    let run = f.experiment().await.start_run("files").await.unwrap();
    let parts = |last: Result<Bytes, &'static str>| futures::stream::iter([Ok(Bytes::from(vec![7; 9 << 20])), last]);
    let size = f.tracker.log_artifact_stream(run.id(), "a/big", parts(Ok("end".into()))).await.unwrap();
    assert_eq!(size, (9 << 20) + 3);
    assert!(f.tracker.get_artifact(run.id(), "a/big").await.unwrap().ends_with(b"\x07end"));
    let error = f.tracker.log_artifact_stream(run.id(), "a/broken", parts(Err("lost"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    run.log_artifact("a/small", "x").await.unwrap();
    assert_eq!(f.tracker.list_artifacts(run.id(), "a").await.unwrap().len(), 2, "the broken one left nothing");
    assert_eq!(f.tracker.delete_artifact(run.id(), "a").await.unwrap(), 2);
    assert!(f.tracker.list_artifacts(run.id(), "").await.unwrap().is_empty());
}
