//! The routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, header};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer;
use crate::endpoint::Endpoint;
use crate::error::{Result, ServingError};
use crate::request::{rows_from_csv, rows_from_json};

/// The reply header that holds the version which answered.
pub const MODEL_VERSION_HEADER: HeaderName = HeaderName::from_static("x-boathouse-model-version");

/// The reply header that holds the registered model which answered.
pub const MODEL_NAME_HEADER: HeaderName = HeaderName::from_static("x-boathouse-model-name");

/// Limits of the HTTP face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpSettings {
    /// Largest request body.
    pub max_body_bytes: usize,
}

impl Default for HttpSettings {
    /// 16 MiB.
    fn default() -> Self {
        Self { max_body_bytes: 16 << 20 }
    }
}

/// One endpoint, as `mlflow models serve` would show it, and also by its name.
///
/// | route | |
/// | --- | --- |
/// | `POST /invocations` | scores `application/json` or `text/csv` |
/// | `GET /ping`, `GET /health` | 200 and empty when every endpoint has a model, 503 before |
/// | `GET /version` | the [`EndpointStatus`](crate::EndpointStatus) of each endpoint, and the version of this crate |
/// | `POST /serving-endpoints/{name}/invocations` | as `/invocations` |
/// | `GET /serving-endpoints/{name}` | the status of one endpoint |
///
/// Errors are `{"error_code": …, "message": …}`: 400 names the column that does not fit, 404 an unknown
/// endpoint, 413 a body above the limit, 415 another content type, 503 no model yet.
///
/// **Source**: MLflow, "Inference server specification"; Databricks, "Query serving endpoints".
pub fn router(endpoint: Endpoint) -> Router {
    router_of([endpoint], &HttpSettings::default())
}

/// Several endpoints, each by its name. `/invocations` is there when there is exactly one. Of two endpoints
/// with one name the later stands.
pub fn router_of(endpoints: impl IntoIterator<Item = Endpoint>, settings: &HttpSettings) -> Router {
    let endpoints: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (e.name().to_owned(), e)).collect();
    let mut router = Router::new()
        .route("/ping", get(health))
        .route("/health", get(health))
        .route("/version", get(version))
        .route("/serving-endpoints/{name}", get(status))
        .route("/serving-endpoints/{name}/invocations", post(invoke_by_name));
    if endpoints.len() == 1 {
        router = router.route("/invocations", post(invoke));
    }
    let state = Arc::new(Served { endpoints, max_body_bytes: settings.max_body_bytes });
    router.layer(DefaultBodyLimit::max(settings.max_body_bytes)).with_state(state)
}

struct Served {
    endpoints: BTreeMap<String, Endpoint>,
    max_body_bytes: usize,
}

impl Served {
    fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.endpoints
            .get(name)
            .ok_or_else(|| ServingError::NoEndpoint { name: name.to_owned(), known: self.endpoints.keys().cloned().collect() })
    }
}

type Shared = State<Arc<Served>>;
type ReadBody = Result<Bytes, BytesRejection>;

async fn invoke(State(served): Shared, headers: HeaderMap, body: ReadBody) -> Response<Body> {
    match served.endpoints.values().next() {
        Some(endpoint) => answer_with(endpoint, &served, &headers, body).await,
        None => answer::error(&ServingError::NoEndpoint { name: String::new(), known: Vec::new() }),
    }
}

async fn invoke_by_name(State(served): Shared, Path(name): Path<String>, headers: HeaderMap, body: ReadBody) -> Response<Body> {
    match served.endpoint(&name) {
        Ok(endpoint) => answer_with(endpoint, &served, &headers, body).await,
        Err(error) => answer::error(&error),
    }
}

async fn answer_with(endpoint: &Endpoint, served: &Served, headers: &HeaderMap, body: ReadBody) -> Response<Body> {
    let response = score(endpoint, served, headers, body).await;
    endpoint.count(response.is_ok());
    response.unwrap_or_else(|error| {
        tracing::debug!(endpoint = endpoint.name(), %error, "serving.invoke: refused");
        answer::error(&error)
    })
}

/// One version from here to the reply, whatever is promoted meanwhile.
async fn score(endpoint: &Endpoint, served: &Served, headers: &HeaderMap, body: ReadBody) -> Result<Response<Body>> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("?"));
    let media = content_type.split(';').next().unwrap_or("").trim();
    let is_csv = media.eq_ignore_ascii_case("text/csv");
    if !is_csv && !media.eq_ignore_ascii_case("application/json") {
        return Err(ServingError::ContentType { found: content_type.to_owned() });
    }
    let body = body.map_err(|rejected| {
        if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ServingError::BodyTooLarge { limit_bytes: served.max_body_bytes }
        } else {
            ServingError::BodyBroken { message: rejected.body_text() }
        }
    })?;
    let scorer = endpoint.scorer()?;
    let rows =
        if is_csv { rows_from_csv(&body, scorer.request_schema())? } else { rows_from_json(&body, scorer.request_schema())? };
    let predictions = scorer.predict_checked(rows).await?;
    answer::predictions(&scorer, &predictions)
}

async fn health(State(served): Shared) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    for endpoint in served.endpoints.values() {
        match endpoint.scorer() {
            Ok(scorer) if served.endpoints.len() == 1 => answer::stamp(&mut response, &scorer),
            Ok(_) => {}
            Err(error) => return answer::error(&error),
        }
    }
    response
}

async fn version(State(served): Shared) -> Response<Body> {
    let endpoints: Vec<_> = served.endpoints.values().map(Endpoint::status).collect();
    let body = serde_json::json!({"boathouse": env!("CARGO_PKG_VERSION"), "endpoints": endpoints});
    answer::json(StatusCode::OK, body.to_string())
}

async fn status(State(served): Shared, Path(name): Path<String>) -> Response<Body> {
    match served.endpoint(&name) {
        Ok(endpoint) => answer::json(StatusCode::OK, serde_json::json!(endpoint.status()).to_string()),
        Err(error) => answer::error(&error),
    }
}
