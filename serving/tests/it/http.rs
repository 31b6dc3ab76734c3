//! The HTTP face over a real socket.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::memory::FunctionModel;
use boathouse_base::{DomainError, ErrorKind, Model, SharedModel, Signature};
use boathouse_serving::ServingError;
use boathouse_serving::http::{HttpSettings, bind, router, router_of};

use crate::fixtures::{constant, fixed, flights, logistic, post, predictions, serve, serve_router};

#[tokio::test]
async fn every_form_of_request_gives_the_same_answer() {
    let rows = flights(1000, 20);
    let model = logistic(&rows);
    let expected = model
        .predict(
            &RecordBatch::try_from_iter_with_nullable([
                ("hour", Arc::new(Float64Array::from(vec![8.0, 22.0])) as arrow_array::ArrayRef, false),
                ("wind", Arc::new(Float64Array::from(vec![Some(12.5), None])), true),
                ("carrier", Arc::new(StringArray::from(vec!["AA", "a \"new\", one"])), false),
                ("holiday", Arc::new(arrow_array::BooleanArray::from(vec![true, false])), false),
            ])
            .unwrap(),
        )
        .unwrap();
    let expected = expected.column(0).as_primitive::<Float64Type>().values().to_vec();
    let endpoint = fixed("late", 7, Arc::new(model)).await;
    let server = serve(&endpoint).await;
    let client = reqwest::Client::new();
    let by_name = format!("{}/serving-endpoints/late/invocations", server.url);
    let json = "application/json; charset=utf-8";
    for (content_type, body) in [
        (
            json,
            r#"{"dataframe_split":{"data":[[true,8,12.5,"AA",0],[false,22,null,"a \"new\", one",1]],"columns":["holiday","hour","wind","carrier","extra"],"index":[0,1]}}"#,
        ),
        (
            json,
            r#"{"dataframe_records":[{"hour":8,"wind":12.5,"carrier":"AA","holiday":true,"extra":{"a":[1]}},{"holiday":false,"carrier":"a \u0022new\", one","hour":22}],"params":{"a":1}}"#,
        ),
        (
            json,
            r#"{"instances":[{"hour":8,"wind":12.5,"carrier":"AA","holiday":true},{"holiday":false,"carrier":"a \"new\", one","hour":22.0}]}"#,
        ),
        (json, r#"{"instances":[[8,12.5,"AA",true],[22,null,"a \"new\", one",false]],"params":null}"#),
        (json, r#"{"inputs":{"hour":[8,22],"wind":[12.5,null],"carrier":["AA","a \"new\", one"],"holiday":[true,false]}}"#),
        (json, r#"{"inputs":[[8,12.5,"AA",true],[22,null,"a \"new\", one",false]]}"#),
        ("text/csv", "hour,carrier,wind,holiday,extra\n8,AA,12.5,true,x\n22,\"a \"\"new\"\", one\",,False,\n"),
        ("text/csv; charset=utf-8", "hour,carrier,holiday,wind\r\n8,AA,TRUE,12.5\r\n22,\"a \"\"new\"\", one\",false,\r\n\r\n"),
    ] {
        for url in [format!("{}/invocations", server.url), by_name.clone()] {
            let (status, version, reply) = post(&client, &url, content_type, body).await;
            assert_eq!((status, version), (200, Some(7)), "{body}: {reply}");
            assert_eq!(predictions(&reply), expected, "{body}");
        }
    }
    let (status, _, reply) = post(&client, &by_name, json, r#"{"instances":[]}"#).await;
    assert_eq!((status, reply.as_str()), (200, r#"{"predictions":[]}"#));
}

#[tokio::test]
async fn health_is_empty_and_names_the_version_and_version_tells_all() {
    let endpoint = fixed("late", 3, constant(1.0)).await;
    let server = serve(&endpoint).await;
    for path in ["ping", "health"] {
        let reply = reqwest::get(format!("{}/{path}", server.url)).await.unwrap();
        assert_eq!(reply.status().as_u16(), 200);
        assert_eq!(reply.headers()["x-boathouse-model-version"], "3");
        assert_eq!(reply.text().await.unwrap(), "");
    }
    let version: serde_json::Value = reqwest::get(format!("{}/version", server.url)).await.unwrap().json().await.unwrap();
    assert_eq!(version["endpoints"][0]["version"], 3);
    let status: serde_json::Value =
        reqwest::get(format!("{}/serving-endpoints/late", server.url)).await.unwrap().json().await.unwrap();
    assert_eq!(status["endpoint"], "late");
}

#[tokio::test]
async fn several_endpoints_answer_by_name_only_and_can_stand_beside_other_routes() {
    let endpoints = [fixed("one", 1, constant(1.0)).await, fixed("two", 5, constant(2.0)).await];
    let other = axum::Router::new().route("/other", axum::routing::get(async || "other"));
    let server = serve_router(router_of(endpoints, &HttpSettings::default()).merge(other)).await;
    let client = reqwest::Client::new();
    let ask = async |path: &str| post(&client, &format!("{}/{path}", server.url), "application/json", r#"{"inputs":[0]}"#).await;
    assert_eq!(ask("serving-endpoints/one/invocations").await, (200, Some(1), r#"{"predictions":[1.0]}"#.to_owned()));
    assert_eq!(ask("serving-endpoints/two/invocations").await, (200, Some(5), r#"{"predictions":[2.0]}"#.to_owned()));
    let (status, _, body) = ask("serving-endpoints/three/invocations").await;
    assert_eq!(status, 404);
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["error_code"], "RESOURCE_DOES_NOT_EXIST");
    assert!(body.contains("three") && body.contains("two"), "{body}");
    assert_eq!(ask("invocations").await.0, 404);
    assert_eq!(reqwest::get(format!("{}/other", server.url)).await.unwrap().text().await.unwrap(), "other");
}

#[tokio::test]
async fn several_outputs_are_answered_as_records() {
    let inputs = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let outputs = Arc::new(Schema::new(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("n", DataType::Int64, false),
        Field::new("p", DataType::Float64, false),
    ]));
    let made = Arc::clone(&outputs);
    let model: SharedModel = Arc::new(FunctionModel::new(Signature { inputs, outputs }, move |rows: &RecordBatch| {
        let n = rows.num_rows();
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(StringArray::from_iter((0..n).map(|i| (i > 0).then_some("a\"b")))),
            Arc::new(Int64Array::from_iter_values(0..n as i64)),
            Arc::new(Float64Array::from_iter_values((0..n).map(|i| if i == 0 { f64::NAN } else { 0.1 + 0.2 }))),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&made), columns).unwrap())
    }));
    let server = serve(&fixed("m", 1, model).await).await;
    let (status, _, body) =
        post(&reqwest::Client::new(), &format!("{}/invocations", server.url), "application/json", r#"{"inputs":[5,6]}"#).await;
    assert_eq!(status, 200);
    assert_eq!(body, r#"{"predictions":[{"label":null,"n":0,"p":null},{"label":"a\"b","n":1,"p":0.30000000000000004}]}"#);
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_another_content_type_415() {
    let endpoint = fixed("m", 1, constant(1.0)).await;
    let server = serve_router(router_of([endpoint.clone()], &HttpSettings { max_body_bytes: 1000 })).await;
    let client = reqwest::Client::new();
    let url = format!("{}/invocations", server.url);
    let (status, _, body) = post(&client, &url, "application/json", format!(r#"{{"inputs":[{}1]}}"#, "1,".repeat(1000))).await;
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("1000 bytes"), "{body}");
    let (status, _, body) = post(&client, &url, "application/xml", "<x/>").await;
    assert_eq!(status, 415, "{body}");
    assert!(body.contains("application/xml") && body.contains("text/csv"), "{body}");
    assert_eq!(endpoint.status().failures, 2);
}

#[tokio::test]
async fn a_model_that_panics_or_gives_another_number_of_rows_fails_its_request_only() {
    let schema = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]));
    let signature = Signature { inputs: schema("x"), outputs: schema("x") };
    let model: SharedModel = Arc::new(FunctionModel::new(signature, |rows: &RecordBatch| {
        let x = rows.column(0).as_primitive::<arrow_array::types::Int64Type>();
        assert!(x.value(0) != 13, "unlucky");
        Ok(if x.value(0) == 14 { rows.slice(0, 0) } else { rows.clone() })
    }));
    let server = serve(&fixed("m", 1, model).await).await;
    let client = reqwest::Client::new();
    let ask = async |rows: usize, x: i64| {
        let body = format!(r#"{{"inputs":[{}]}}"#, vec![x.to_string(); rows].join(","));
        post(&client, &format!("{}/invocations", server.url), "application/json", body).await
    };
    // Both ways of scoring: on the task, and on a thread.
    for rows in [1, 500] {
        assert_eq!(ask(rows, 1).await.0, 200);
        let (status, _, body) = ask(rows, 13).await;
        assert_eq!(status, 500);
        assert!(body.contains("INTERNAL_ERROR"), "{body}");
        assert_eq!(ask(rows, 14).await.0, 500);
        assert_eq!(ask(rows, 1).await.0, 200);
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let first = bind("127.0.0.1:0").await.unwrap();
    let address = first.address().to_string();
    let error = bind(&address).await.unwrap_err();
    assert!(matches!(&error, ServingError::Listen { address: found, .. } if *found == address), "{error}");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(bind("no such place:1").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn shutting_down_answers_the_request_that_runs_and_takes_no_new_one() {
    let schema = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Float64, false)]));
    let (started, starts) = std::sync::mpsc::channel::<()>();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, released) = (std::sync::Mutex::new(started), std::sync::Mutex::new(released));
    let model: SharedModel =
        Arc::new(FunctionModel::new(Signature { inputs: schema("x"), outputs: schema("x") }, move |rows: &RecordBatch| {
            started.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
            Ok(rows.clone())
        }));
    let endpoint = fixed("slow", 1, model).await;
    let listening = bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/invocations", listening.url());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(listening.serve(router(endpoint), async move { stopped.await.unwrap() }));
    let asked = {
        let url = url.clone();
        // More rows than are scored on the task itself.
        let body = format!(r#"{{"inputs":[{}]}}"#, vec!["1"; 100].join(","));
        tokio::spawn(async move { post(&reqwest::Client::new(), &url, "application/json", body).await })
    };
    tokio::task::spawn_blocking(move || starts.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    stop.send(()).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished(), "it waits for the request");
    release.send(()).unwrap();
    assert_eq!(asked.await.unwrap().0, 200);
    server.await.unwrap().unwrap();
    assert!(reqwest::get(&url).await.is_err());
}
