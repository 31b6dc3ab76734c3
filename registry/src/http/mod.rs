//! The MLflow REST API of the registry, as an axum router.
//!
//! Every route stands below `/api/2.0` (clients) and `/ajax-api/2.0` (the web page).
//!
//! **Source**: MLflow documentation, "REST API"; the JSON rules are in `boathouse-mlwire`.

mod json;
mod models;
mod versions;

use axum::Router;
use axum::routing::{delete, get, patch, post};
use boathouse_mlwire::Params;

use crate::error::{Error, Result};
use crate::model::Search;
use crate::registry::Registry;

/// All routes of registered models, versions and aliases. Mount it beside the tracker's.
///
/// # Example
/// ```no_run
/// # async fn serve(registry: boathouse_registry::Registry) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:5001").await?;
/// axum::serve(listener, boathouse_registry::http::router(registry)).await
/// # }
/// ```
/// Then, in Python: `mlflow.set_registry_uri("http://127.0.0.1:5001")`.
pub fn router(registry: Registry) -> Router {
    Router::new().nest("/api/2.0/mlflow", api()).nest("/ajax-api/2.0/mlflow", api()).with_state(registry)
}

fn api() -> Router<Registry> {
    Router::new()
        .route("/registered-models/create", post(models::create))
        .route("/registered-models/rename", post(models::rename))
        .route("/registered-models/update", patch(models::update))
        .route("/registered-models/delete", delete(models::delete))
        .route("/registered-models/get", get(models::get))
        .route("/registered-models/search", get(models::search))
        .route("/registered-models/get-latest-versions", get(models::latest_versions).post(models::latest_versions))
        .route("/registered-models/set-tag", post(models::set_tag))
        .route("/registered-models/delete-tag", delete(models::delete_tag))
        .route("/registered-models/alias", get(models::get_alias).post(models::set_alias).delete(models::delete_alias))
        .route("/model-versions/create", post(versions::create))
        .route("/model-versions/update", patch(versions::update))
        .route("/model-versions/transition-stage", post(versions::transition))
        .route("/model-versions/delete", delete(versions::delete))
        .route("/model-versions/get", get(versions::get))
        .route("/model-versions/search", get(versions::search))
        .route("/model-versions/get-download-uri", get(versions::download_uri))
        .route("/model-versions/set-tag", post(versions::set_tag))
        .route("/model-versions/delete-tag", delete(versions::delete_tag))
}

/// A version is a number, as text.
fn version(params: &Params) -> Result<u64> {
    let text = match params.optional_int("version") {
        Ok(Some(number)) => return u64::try_from(number).map_err(|_| wrong_version(params)),
        _ => params.text("version")?,
    };
    text.parse().map_err(|_| wrong_version(params))
}

fn wrong_version(params: &Params) -> Error {
    Error::Wire(params.refuse("version", "expected a version number"))
}

fn pairs(params: &Params, name: &str) -> Result<Vec<(String, String)>> {
    let pair = |p: &Params| Ok((p.text("key")?.to_owned(), p.optional_text("value")?.unwrap_or_default().to_owned()));
    params.objects(name)?.iter().map(pair).collect()
}

fn search(params: &Params, default: usize, most: usize) -> Result<Search> {
    Ok(Search {
        filter: params.optional_text("filter")?.unwrap_or_default().to_owned(),
        order_by: params.texts("order_by")?,
        max_results: params.max_results(default, most)?,
        page_token: params.optional_text("page_token")?.map(str::to_owned),
    })
}
