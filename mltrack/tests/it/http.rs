//! The wire.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fixture::Fixture;

async fn raw(f: &Fixture, method: &str, uri: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
    let response = boathouse_mltrack::http::router(f.tracker.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap().to_vec())
}

async fn call(f: &Fixture, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, bytes) = raw(f, method, &format!("/api/2.0{path}"), body).await;
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&bytes))))
}

async fn ok(f: &Fixture, method: &str, path: &str, body: Value) -> Value {
    let (status, json) = call(f, method, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {json}");
    json
}

async fn new_run(f: &Fixture) -> String {
    let run = ok(f, "POST", "/mlflow/runs/create", json!({"experiment_id": "0", "start_time": 5, "unknown": [1]})).await;
    run["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_as_a_client_sends_it() {
    for f in Fixture::each().await {
        let name = format!("wire {}", f.env.uuid());
        let created =
            ok(&f, "POST", "/mlflow/experiments/create", json!({"name": name, "tags": [{"key": "a", "value": "b"}]})).await;
        let id = created["experiment_id"].as_str().unwrap();
        let by_name = format!("/mlflow/experiments/get-by-name?experiment_name={}", name.replace(' ', "+"));
        let experiment = ok(&f, "GET", &by_name, Value::Null).await;
        assert_eq!(experiment["experiment"]["artifact_location"], format!("mlflow-artifacts:/{id}"));
        assert_eq!(experiment["experiment"]["tags"], json!([{"key": "a", "value": "b"}]));

        let body =
            json!({"experiment_id": id, "start_time": 5, "run_name": "r", "tags": [{"key": "mlflow.user", "value": "me"}]});
        let run = ok(&f, "POST", "/mlflow/runs/create", body).await;
        let run_id = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        assert_eq!(run["run"]["info"]["run_uuid"], run_id);
        assert_eq!(run["run"]["info"]["artifact_uri"], format!("mlflow-artifacts:/{id}/{run_id}/artifacts"));
        assert!(run["run"]["info"].get("end_time").is_none(), "what is not set is left out");

        let metric = json!({"run_id": run_id, "run_uuid": run_id, "key": "m", "value": "NaN", "timestamp": "7", "step": 1});
        ok(&f, "POST", "/mlflow/runs/log-metric", metric).await;
        ok(&f, "POST", "/mlflow/runs/log-parameter", json!({"run_uuid": run_id, "key": "p", "value": "x".repeat(7000)})).await;
        let batch = json!({"run_id": run_id, "metrics": [{"key": "m", "value": 2.5, "timestamp": 8, "step": 2}],
            "params": [{"key": "q", "value": ""}], "tags": [{"key": "t", "value": "v"}]});
        ok(&f, "POST", "/mlflow/runs/log-batch", batch).await;
        let update = json!({"run_id": run_id, "status": "FINISHED", "end_time": 99});
        assert_eq!(ok(&f, "POST", "/mlflow/runs/update", update).await["run_info"]["end_time"], 99);

        let search = json!({"experiment_ids": [id], "filter": "metrics.m > 2 AND params.q = ''", "order_by": ["metrics.m DESC"]});
        let found = ok(&f, "POST", "/mlflow/runs/search", search).await;
        let data = &found["runs"][0]["data"];
        assert_eq!(data["metrics"], json!([{"key": "m", "value": 2.5, "timestamp": 8, "step": 2}]));
        assert_eq!(data["params"][0]["value"].as_str().unwrap().len(), 6000, "long values are cut on the wire");
        let history = ok(&f, "GET", &format!("/mlflow/metrics/get-history?run_id={run_id}&metric_key=m"), Value::Null).await;
        assert_eq!(history["metrics"][0]["value"], "NaN");
        let bulk = format!("/mlflow/metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=m&max_results=10");
        assert_eq!(ok(&f, "GET", &bulk, Value::Null).await["metrics"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn mistakes_get_the_code_and_text_that_clients_test_for() {
    let f = Fixture::file().await;
    let run_id = new_run(&f).await;
    ok(&f, "POST", "/mlflow/runs/log-parameter", json!({"run_id": run_id, "key": "p", "value": "1"})).await;
    for (method, path, body, status, code, text) in [
        ("GET", "/mlflow/runs/get", Value::Null, 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'run_id'"),
        ("GET", "/mlflow/runs/get?run_id=nope", Value::Null, 404, "RESOURCE_DOES_NOT_EXIST", "nope"),
        ("POST", "/mlflow/experiments/create", json!({"name": "Default"}), 400, "RESOURCE_ALREADY_EXISTS", "Default"),
        (
            "POST",
            "/mlflow/runs/log-parameter",
            json!({"run_id": run_id, "key": 31, "value": "1"}),
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid value 31 for parameter 'key' supplied",
        ),
        (
            "POST",
            "/mlflow/runs/log-parameter",
            json!({"run_id": run_id, "key": "p", "value": "2"}),
            400,
            "INVALID_PARAMETER_VALUE",
            "Changing param values is not allowed",
        ),
        (
            "POST",
            "/mlflow/runs/log-batch",
            json!({"run_id": run_id, "metrics": [{"key": "m"}]}),
            400,
            "INVALID_PARAMETER_VALUE",
            "Missing value for required parameter 'metrics[0].value'",
        ),
        ("POST", "/mlflow/runs/update", json!({"run_id": run_id, "status": "DONE"}), 400, "INVALID_PARAMETER_VALUE", "FINISHED"),
        (
            "POST",
            "/mlflow/runs/search",
            json!({"experiment_ids": ["0"], "filter": "x ="}),
            400,
            "INVALID_PARAMETER_VALUE",
            "at character",
        ),
        (
            "POST",
            "/mlflow/runs/search",
            json!({"experiment_ids": ["0"], "max_results": 50001}),
            400,
            "INVALID_PARAMETER_VALUE",
            "50000",
        ),
        (
            "POST",
            "/mlflow/runs/search",
            json!({"experiment_ids": ["0"], "run_view_type": "SOME"}),
            400,
            "INVALID_PARAMETER_VALUE",
            "ALL",
        ),
        ("GET", "/mlflow-artifacts/artifacts/a/%2e%2e/b", Value::Null, 400, "INVALID_PARAMETER_VALUE", "`..`"),
        ("GET", "/mlflow-artifacts/artifacts/a/%252e%252e/b", Value::Null, 400, "INVALID_PARAMETER_VALUE", "encoded dot"),
        ("GET", "/mlflow-artifacts/artifacts?path=../x", Value::Null, 400, "INVALID_PARAMETER_VALUE", "`..`"),
        ("GET", "/mlflow-artifacts/artifacts/nothing", Value::Null, 404, "RESOURCE_DOES_NOT_EXIST", "no such file"),
    ] {
        let (found, json) = call(&f, method, path, body).await;
        assert_eq!((found.as_u16(), json["error_code"].as_str().unwrap()), (status, code), "{path}: {json}");
        assert!(json["message"].as_str().unwrap().contains(text), "{path}: {json}");
    }
}

#[tokio::test]
async fn artifacts_stream_up_and_down_through_the_proxy() {
    let f = Fixture::file().await;
    let run_id = new_run(&f).await;
    let base = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts");
    // Larger than one part: it goes up in pieces.
    let large: Vec<u8> = (0..20_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = large.chunks(700_001).map(|c| Ok(c.to_vec())).collect();
    let (status, _) =
        raw(&f, "PUT", &format!("{base}/model/big%20file.bin"), Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!(status, StatusCode::OK);
    let (_, bytes) = raw(&f, "GET", &format!("{base}/model/big%20file.bin"), Body::empty()).await;
    assert!(bytes == large);
    let listed = ok(&f, "GET", &format!("/mlflow/artifacts/list?run_id={run_id}&path=model"), Value::Null).await;
    assert_eq!(listed["files"], json!([{"path": "model/big file.bin", "is_dir": false, "file_size": 20_000_000}]));
    let proxied = ok(&f, "GET", &format!("/mlflow-artifacts/artifacts?path=0/{run_id}/artifacts/model"), Value::Null).await;
    assert_eq!(proxied["files"][0]["path"], "big file.bin", "relative to what was asked for");
    let (_, by_query) = raw(&f, "GET", &format!("/get-artifact?run_id={run_id}&path=model/big+file.bin"), Body::empty()).await;
    assert_eq!(by_query.len(), large.len());
    let (status, _) = raw(&f, "DELETE", &format!("{base}/model"), Body::empty()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ok(&f, "GET", &format!("/mlflow/artifacts/list?run_id={run_id}"), Value::Null).await.get("files"), None);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_no_file() {
    let f = Fixture::file().await;
    let run_id = new_run(&f).await;
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/x");
    let broken = futures::stream::iter([Ok(vec![0_u8; 9 << 20]), Err(std::io::Error::other("connection lost"))]);
    let (status, _) = raw(&f, "PUT", &path, Body::from_stream(broken)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(raw(&f, "GET", &path, Body::empty()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn health_version_and_the_routes_of_the_web_page_answer() {
    let f = Fixture::file().await;
    assert_eq!(raw(&f, "GET", "/health", Body::empty()).await.1, b"OK");
    assert_eq!(raw(&f, "GET", "/version", Body::empty()).await.1, b"3.17.2");
    let (status, _) = raw(&f, "GET", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0", Body::empty()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, json) = call(&f, "POST", "/mlflow/logged-models", json!({"experiment_id": "0"})).await;
    assert_eq!((status.as_u16(), json["error_code"].as_str()), (501, Some("NOT_IMPLEMENTED")));
    assert_eq!(ok(&f, "POST", "/mlflow/logged-models/search", json!({"experiment_ids": ["0"]})).await, json!({}));
    assert_eq!(raw(&f, "GET", "/api/2.0/mlflow/unknown", Body::empty()).await.0, StatusCode::NOT_FOUND);
}
