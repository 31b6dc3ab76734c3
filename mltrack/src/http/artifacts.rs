//! `/mlflow/artifacts/…`, `/mlflow-artifacts/…` and `/get-artifact`

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use boathouse_mlwire::{HttpResult, Object, WireRequest, empty};

use super::json;
use crate::artifact::{ArtifactPath, run_folder};
use crate::tracker::Tracker;

/// The files of a run, named relative to its folder.
pub(super) async fn list_run(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let run_id = params.text_of(&["run_id", "run_uuid"])?;
    let entries = tracker.list_artifacts(run_id, params.optional_text("path")?.unwrap_or_default()).await?;
    let root_uri = tracker.get_run_info(run_id).await?.artifact_uri;
    Ok(Json(Object::new().put("root_uri", root_uri).put_list("files", &entries, json::artifact).json()))
}

/// The files below a path of the artifact root, named relative to it.
pub(super) async fn list(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult {
    let folder = match params.optional_text("path")? {
        None | Some("") => String::new(),
        Some(path) => path.parse::<ArtifactPath>()?.to_string(),
    };
    let entries = tracker.inner.artifacts.list(&folder).await?;
    Ok(Json(Object::new().put_list("files", &entries, json::artifact).json()))
}

pub(super) async fn download(State(tracker): State<Tracker>, Path(path): Path<String>) -> HttpResult<Response> {
    send(&tracker, &path.parse()?).await
}

/// A file of a run by query: what the web page links to.
pub(super) async fn get_run_artifact(State(tracker): State<Tracker>, WireRequest(params): WireRequest) -> HttpResult<Response> {
    let info = tracker.get_run_info(params.text_of(&["run_id", "run_uuid"])?).await?;
    let path: ArtifactPath = params.text("path")?.parse()?;
    let folder = run_folder(&info.artifact_uri, "read an artifact")?;
    send(&tracker, &format!("{folder}/{path}").parse()?).await
}

async fn send(tracker: &Tracker, path: &ArtifactPath) -> HttpResult<Response> {
    let (size, stream) = tracker.inner.artifacts.get_stream(path).await?;
    // A browser must never run what a run left behind.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((StatusCode::OK, headers, Body::from_stream(stream)).into_response())
}

pub(super) async fn upload(State(tracker): State<Tracker>, Path(path): Path<String>, body: Body) -> HttpResult {
    let path: ArtifactPath = path.parse()?;
    tracker.inner.artifacts.put_stream(&path, body.into_data_stream()).await?;
    Ok(empty())
}

pub(super) async fn delete(State(tracker): State<Tracker>, Path(path): Path<String>) -> HttpResult {
    tracker.inner.artifacts.delete(&path.parse()?).await?;
    Ok(empty())
}
