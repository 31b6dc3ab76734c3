//! The wire.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fixture::Fixture;

async fn call(f: &Fixture, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let uri = format!("/api/2.0/mlflow{}", path.replace(' ', "%20"));
    let request = Request::builder().method(method).uri(uri).body(Body::from(body)).unwrap();
    let response = boathouse_registry::http::router(f.registry.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&bytes))))
}

async fn ok(f: &Fixture, method: &str, path: &str, body: Value) -> Value {
    let (status, json) = call(f, method, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {json}");
    json
}

#[tokio::test]
async fn a_model_from_create_to_delete_as_a_client_sends_it() {
    for f in Fixture::each().await {
        let name = format!("wire {}", f.env.uuid());
        let body = json!({"name": name, "description": "d", "tags": [{"key": "a", "value": "b"}]});
        let model = ok(&f, "POST", "/registered-models/create", body).await;
        assert_eq!(model["registered_model"]["tags"], json!([{"key": "a", "value": "b"}]));
        for _ in 0..2 {
            let body = json!({"name": name, "source": "mlflow-artifacts:/1/r/artifacts/model", "run_id": "r"});
            ok(&f, "POST", "/model-versions/create", body).await;
        }
        let body = json!({"name": name, "version": "1", "stage": "production", "archive_existing_versions": true});
        let moved = ok(&f, "POST", "/model-versions/transition-stage", body).await;
        assert_eq!(moved["model_version"]["current_stage"], "Production");
        assert_eq!(moved["model_version"]["version"], "1", "a version is text on the wire");
        assert_eq!(moved["model_version"]["status"], "READY");
        ok(&f, "POST", "/registered-models/alias", json!({"name": name, "alias": "champion", "version": "2"})).await;
        let by_alias = ok(&f, "GET", &format!("/registered-models/alias?name={name}&alias=champion"), Value::Null).await;
        assert_eq!(by_alias["model_version"]["aliases"], json!(["champion"]));
        let uri = ok(&f, "GET", &format!("/model-versions/get-download-uri?name={name}&version=2"), Value::Null).await;
        assert_eq!(uri["artifact_uri"], "mlflow-artifacts:/1/r/artifacts/model");
        let latest =
            ok(&f, "POST", "/registered-models/get-latest-versions", json!({"name": name, "stages": ["Production"]})).await;
        assert_eq!(latest["model_versions"].as_array().unwrap().len(), 1);
        let found =
            ok(&f, "GET", &format!("/model-versions/search?filter=name%3D'{name}'&order_by=version_number%20ASC"), Value::Null)
                .await;
        assert_eq!(found["model_versions"][1]["version"], "2");
        ok(&f, "POST", "/model-versions/set-tag", json!({"name": name, "version": "2", "key": "k", "value": "v"})).await;
        ok(&f, "DELETE", "/model-versions/delete-tag", json!({"name": name, "version": "2", "key": "k"})).await;
        ok(&f, "PATCH", "/model-versions/update", json!({"name": name, "version": "2", "description": "new"})).await;
        ok(&f, "DELETE", "/registered-models/alias", json!({"name": name, "alias": "champion"})).await;
        ok(&f, "DELETE", "/model-versions/delete", json!({"name": name, "version": "2"})).await;
        ok(&f, "PATCH", "/registered-models/update", json!({"name": name, "description": "other"})).await;
        let renamed = ok(&f, "POST", "/registered-models/rename", json!({"name": name, "new_name": format!("{name} b")})).await;
        assert_eq!(renamed["registered_model"]["description"], "other");
        ok(&f, "DELETE", "/registered-models/delete", json!({"name": format!("{name} b")})).await;
        let (status, _) = call(&f, "GET", &format!("/registered-models/get?name={name} b"), Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn mistakes_get_the_code_that_clients_test_for() {
    let f = Fixture::file().await;
    let name = f.model(1).await;
    for (method, path, body, status, code, text) in [
        ("POST", "/registered-models/create", json!({"name": name}), 400, "RESOURCE_ALREADY_EXISTS", "already exists"),
        (
            "POST",
            "/registered-models/create",
            json!({}),
            400,
            "INVALID_PARAMETER_VALUE",
            "Missing value for required parameter 'name'",
        ),
        (
            "GET",
            "/registered-models/get?name=nope",
            Value::Null,
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "Registered Model with name=nope not found",
        ),
        ("GET", "/model-versions/get?name=nope&version=x", Value::Null, 400, "INVALID_PARAMETER_VALUE", "version number"),
        (
            "POST",
            "/model-versions/transition-stage",
            json!({"name": name, "version": "1", "stage": "Prod"}),
            400,
            "INVALID_PARAMETER_VALUE",
            "None, Staging, Production, Archived",
        ),
        (
            "POST",
            "/registered-models/alias",
            json!({"name": name, "version": "1", "alias": "v1"}),
            400,
            "INVALID_PARAMETER_VALUE",
            "alias",
        ),
        ("GET", "/registered-models/search?filter=name%20~%20'x'", Value::Null, 400, "INVALID_PARAMETER_VALUE", "at character 6"),
        ("GET", "/registered-models/search?max_results=1001", Value::Null, 400, "INVALID_PARAMETER_VALUE", "1000"),
    ] {
        let (found, json) = call(&f, method, path, body).await;
        assert_eq!((found.as_u16(), json["error_code"].as_str().unwrap()), (status, code), "{path}: {json}");
        assert!(json["message"].as_str().unwrap().contains(text), "{path}: {json}");
    }
}
