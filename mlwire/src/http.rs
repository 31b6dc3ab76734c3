//! Requests and answers of the MLflow REST API, for axum.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Query};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use boathouse_base::{DomainError, ErrorKind};

use crate::error::Error;
use crate::object::Object;
use crate::params::Params;

/// The largest request body that is read into memory: a dataset profile may have 16 MiB.
pub const MAX_BODY_BYTES: usize = 20 << 20;

/// An error as MLflow clients read it: a status, and `{"error_code", "message"}`.
///
/// Any [`DomainError`] becomes one by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// An answer, or an error that MLflow clients can read.
pub type HttpResult<T = Json<serde_json::Value>> = Result<T, HttpError>;

impl HttpError {
    /// The error for a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let (status, code) = match kind {
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST"),
            ErrorKind::AlreadyExists => (StatusCode::BAD_REQUEST, "RESOURCE_ALREADY_EXISTS"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "RESOURCE_CONFLICT"),
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE"),
            ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED"),
            ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "DATA_LOSS"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE"),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            ErrorKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            // 499, as MLflow answers: no registered status says it.
            ErrorKind::Cancelled => (StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST), "CANCELLED"),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        };
        Self { status, code, message: message.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code of MLflow.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl<E: DomainError> From<E> for HttpError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::new(error.kind(), message)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = Object::new().put("error_code", self.code).put("message", self.message).json();
        (self.status, Json(body)).into_response()
    }
}

/// The parameters of a request: the query string and the JSON body together, whatever the method.
///
/// The MLflow client sends bodies with POST, PATCH and DELETE, and query strings with GET. The content type is not looked
/// at, as MLflow's own server does not.
#[derive(Debug, Clone)]
pub struct WireRequest(pub Params);

impl<S: Send + Sync> FromRequest<S> for WireRequest {
    type Rejection = HttpError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, HttpError> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|e| Error::Body { reason: format!("the query string: {e}") })?;
        let query = Params::from_query(query.0);
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|n| n > MAX_BODY_BYTES) {
            return Err(Error::Body { reason: format!("larger than {MAX_BODY_BYTES} bytes") }.into());
        }
        let body =
            axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|e| Error::Body { reason: e.to_string() })?;
        Ok(Self(Params::from_json(&body)?.or(query)))
    }
}

/// An empty answer: `{}`.
pub fn empty() -> Json<serde_json::Value> {
    Json(Object::new().json())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(uri: &str, body: &str) -> Result<Params, HttpError> {
        let request = Request::builder().uri(uri).body(Body::from(body.to_owned())).unwrap();
        WireRequest::from_request(request, &()).await.map(|r| r.0)
    }

    #[tokio::test]
    async fn a_request_joins_query_and_body() {
        let params = read("/x?run_id=a%20b&order_by=m&order_by=n+o", r#"{"key":"k"}"#).await.unwrap();
        assert_eq!(params.text("run_id").unwrap(), "a b");
        assert_eq!(params.texts("order_by").unwrap(), ["m", "n o"]);
        assert_eq!(params.text("key").unwrap(), "k");
    }

    #[tokio::test]
    async fn a_body_that_is_no_object_is_a_400_with_a_code() {
        let error = read("/x", "[1]").await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (400, "INVALID_PARAMETER_VALUE"));
        let response = error.into_response();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["error_code"], "INVALID_PARAMETER_VALUE");
        assert!(json["message"].as_str().unwrap().contains("a list"), "{json}");
    }

    #[test]
    fn every_kind_has_the_status_of_mlflow() {
        for (kind, status) in [
            (ErrorKind::NotFound, 404),
            (ErrorKind::AlreadyExists, 400),
            (ErrorKind::Conflict, 409),
            (ErrorKind::Invalid, 400),
            (ErrorKind::Unsupported, 501),
            (ErrorKind::Corrupt, 500),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Denied, 403),
            (ErrorKind::Exhausted, 429),
            (ErrorKind::Cancelled, 499),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(HttpError::new(kind, "x").status().as_u16(), status, "{kind}");
        }
    }
}
