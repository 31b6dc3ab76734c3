//! Replies: predictions with the version that made them, and errors with a code.

use arrow_array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use boathouse_base::{DomainError, ErrorKind};

use super::router::{MODEL_NAME_HEADER, MODEL_VERSION_HEADER};
use crate::endpoint::Scorer;
use crate::error::{Result, ServingError};
use crate::request::predictions_to_json;

pub(super) fn predictions(scorer: &Scorer, batch: &RecordBatch) -> Result<Response<Body>> {
    let mut response = json(StatusCode::OK, predictions_to_json(batch)?);
    stamp(&mut response, scorer);
    Ok(response)
}

/// Says which version answers.
pub(super) fn stamp(response: &mut Response<Body>, scorer: &Scorer) {
    let headers = response.headers_mut();
    headers.insert(MODEL_VERSION_HEADER, HeaderValue::from(scorer.version()));
    // A name that no header can carry is left out.
    if let Ok(name) = HeaderValue::from_str(scorer.model_name()) {
        headers.insert(MODEL_NAME_HEADER, name);
    }
}

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// **Source**: MLflow, `error_code` of its protocol; the status follows the kind.
pub(super) fn error(error: &ServingError) -> Response<Body> {
    let (status, code) = match (error, error.kind()) {
        (ServingError::ContentType { .. }, _) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_REQUEST"),
        (ServingError::BodyTooLarge { .. }, _) => (StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST"),
        (ServingError::NoEndpoint { .. }, _) => (StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST"),
        (_, ErrorKind::Invalid) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (_, ErrorKind::Denied) => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        (_, ErrorKind::Exhausted) => (StatusCode::TOO_MANY_REQUESTS, "REQUEST_LIMIT_EXCEEDED"),
        (_, ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::Cancelled) => {
            (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE")
        }
        (_, ErrorKind::Unsupported) => (StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    };
    json(status, serde_json::json!({"error_code": code, "message": error.to_string()}).to_string())
}
