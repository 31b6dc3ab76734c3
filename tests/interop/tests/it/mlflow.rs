//! The unmodified MLflow client of Python against our tracker and our registry.

use std::time::Duration;

use boathouse_interop::Peers;
use boathouse_mltrack::{RunSearch, Tracker, TrackerSettings};
use boathouse_registry::{Registry, RegistrySettings};
use boathouse_storage::system_env;

/// Both routers on one free port, as an application mounts them; one database file for both.
async fn tell(story: &'static str) -> (Tracker, Registry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("ml.db").display());
    let artifact_root = folder.path().join("artifacts").display().to_string();
    let tracker =
        Tracker::open(TrackerSettings { database_url: database_url.clone(), artifact_root }, system_env()).await.unwrap();
    let registry = Registry::open(RegistrySettings { database_url }, system_env()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = boathouse_mltrack::http::router(tracker.clone()).merge(boathouse_registry::http::router(registry.clone()));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let told = tokio::task::spawn_blocking(move || Peers::from_env().run(story, [url]));
    let said = tokio::time::timeout(Duration::from_secs(300), told).await.unwrap().unwrap();
    server.abort();
    assert_eq!(said.lines().last(), Some("ok"), "{said}");
    (tracker, registry, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mlflow_client_tracks_runs_and_rust_reads_them() {
    let (tracker, _, _folder) = tell("mlflow_tracking.py").await;
    let filter = "params.solver = 'lbfgs' AND metrics.auc > 0.63".to_owned();
    let found = tracker.search_runs(RunSearch { filter, ..RunSearch::default() }).await.unwrap().runs;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].info.run_name, "logistic 2");
    assert_eq!(tracker.get_artifact(&found[0].info.run_id, "notes/read me.txt").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mlflow_client_registers_stages_and_resolves_models() {
    let (_, registry, _folder) = tell("mlflow_registry.py").await;
    let left = registry.search_models(boathouse_registry::Search::default()).await.unwrap();
    assert!(left.items.is_empty(), "the story ends with a deletion");
}
