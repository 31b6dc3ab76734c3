//! The MLflow REST API of tracking, as an axum router.
//!
//! Every route stands below `/api/2.0` (clients) and `/ajax-api/2.0` (the web page).
//!
//! **Source**: MLflow documentation, "REST API"; the JSON rules are in `boathouse-mlwire`.

mod artifacts;
mod experiments;
mod json;
mod logged_models;
mod metrics;
mod runs;

use axum::Router;
use axum::routing::{get, post};
use boathouse_mlwire::Params;

use crate::error::{Error, Result};
use crate::run::View;
use crate::tracker::Tracker;

/// The MLflow version whose API this is: clients ask for it before they trace.
const MLFLOW_VERSION: &str = "3.17.2";

/// All routes of experiments, runs, metrics and artifacts, with `/health` and `/version`.
///
/// # Example
/// ```no_run
/// # async fn serve(tracker: boathouse_mltrack::Tracker) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
/// axum::serve(listener, boathouse_mltrack::http::router(tracker)).await
/// # }
/// ```
/// Then, in Python: `mlflow.set_tracking_uri("http://127.0.0.1:5000")`.
pub fn router(tracker: Tracker) -> Router {
    Router::new()
        .nest("/api/2.0", api())
        .nest("/ajax-api/2.0", api())
        .route("/get-artifact", get(artifacts::get_run_artifact))
        .route("/health", get(async || "OK"))
        .route("/version", get(async || MLFLOW_VERSION))
        .with_state(tracker)
}

fn api() -> Router<Tracker> {
    Router::new()
        .route("/mlflow/experiments/create", post(experiments::create))
        .route("/mlflow/experiments/search", get(experiments::search).post(experiments::search))
        .route("/mlflow/experiments/get", get(experiments::get))
        .route("/mlflow/experiments/get-by-name", get(experiments::get_by_name))
        .route("/mlflow/experiments/delete", post(experiments::delete))
        .route("/mlflow/experiments/restore", post(experiments::restore))
        .route("/mlflow/experiments/update", post(experiments::update))
        .route("/mlflow/experiments/set-experiment-tag", post(experiments::set_tag))
        .route("/mlflow/experiments/delete-experiment-tag", post(experiments::delete_tag))
        .route("/mlflow/runs/create", post(runs::create))
        .route("/mlflow/runs/get", get(runs::get))
        .route("/mlflow/runs/update", post(runs::update))
        .route("/mlflow/runs/delete", post(runs::delete))
        .route("/mlflow/runs/restore", post(runs::restore))
        .route("/mlflow/runs/search", post(runs::search))
        .route("/mlflow/runs/log-metric", post(runs::log_metric))
        .route("/mlflow/runs/log-parameter", post(runs::log_param))
        .route("/mlflow/runs/set-tag", post(runs::set_tag))
        .route("/mlflow/runs/delete-tag", post(runs::delete_tag))
        .route("/mlflow/runs/log-batch", post(runs::log_batch))
        .route("/mlflow/runs/log-inputs", post(runs::log_inputs))
        .route("/mlflow/metrics/get-history", get(metrics::get_history))
        .route("/mlflow/metrics/get-history-bulk-interval", get(metrics::get_history_interval))
        .route("/mlflow/logged-models", post(logged_models::create))
        .route("/mlflow/logged-models/search", post(logged_models::search))
        .route("/mlflow/artifacts/list", get(artifacts::list_run))
        .route("/mlflow-artifacts/artifacts", get(artifacts::list))
        .route("/mlflow-artifacts/artifacts/{*path}", get(artifacts::download).put(artifacts::upload).delete(artifacts::delete))
}

/// `ACTIVE_ONLY`, `DELETED_ONLY` or `ALL`, or their numbers.
fn view(params: &Params, name: &str) -> Result<View> {
    match params.optional_text(name)?.unwrap_or("ACTIVE_ONLY") {
        "ACTIVE_ONLY" | "1" | "" => Ok(View::Active),
        "DELETED_ONLY" | "2" => Ok(View::Deleted),
        "ALL" | "3" => Ok(View::All),
        _ => Err(Error::Wire(params.refuse(name, "expected ACTIVE_ONLY, DELETED_ONLY or ALL"))),
    }
}

/// A list of `{key, value}`.
fn pairs(params: &Params, name: &str) -> Result<Vec<(String, String)>> {
    let pair = |p: &Params| Ok((p.text("key")?.to_owned(), p.optional_text("value")?.unwrap_or_default().to_owned()));
    params.objects(name)?.iter().map(pair).collect()
}

/// MLflow cuts values that are too long, so that automatic logging never fails on them; only the wire does.
fn cut(value: &mut String, limit: usize) {
    if let Some((end, _)) = value.char_indices().nth(limit) {
        tracing::warn!(limit, "mltrack.log: a value is too long and was cut");
        value.truncate(end);
    }
}
