//! What bad requests are told.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use boathouse_base::memory::FunctionModel;
use boathouse_base::{SharedModel, Signature};

use crate::fixtures::{fixed, post, serve};

fn echo() -> SharedModel {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int32, false),
        Field::new("x", DataType::Float64, false),
        Field::new("s", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("raw", DataType::Binary, true),
    ]));
    let signature = Signature { inputs: Arc::clone(&schema), outputs: schema };
    Arc::new(FunctionModel::new(signature, |rows: &RecordBatch| Ok(rows.clone())))
}

#[tokio::test]
async fn every_bad_body_is_a_400_that_says_what_and_where() {
    let server = serve(&fixed("echo", 1, echo()).await).await;
    let client = reqwest::Client::new();
    let url = format!("{}/invocations", server.url);
    let (json, csv) = ("application/json", "text/csv");
    for (content_type, body, parts) in [
        (json, "", &["JSON"][..]),
        (json, "{", &["JSON"]),
        (json, "[1,2]", &["exactly one of"]),
        (json, "{}", &["exactly one of", "found []"]),
        (json, r#"{"inputs":[],"instances":[]}"#, &["exactly one of", "instances", "inputs"]),
        (json, r#"{"inputs":[],"inputs":[]}"#, &["duplicate"]),
        (json, r#"{"rows":[]}"#, &["exactly one of"]),
        (json, r#"{"instances":{"n":1}}"#, &["`instances`", "an object"]),
        (json, r#"{"inputs":3}"#, &["`inputs`", "a number"]),
        (json, r#"{"dataframe_records":{}}"#, &["`dataframe_records`", "an object"]),
        (json, r#"{"dataframe_records":[[1]]}"#, &["`dataframe_records`", "an array"]),
        (json, r#"{"dataframe_split":[]}"#, &["`dataframe_split`"]),
        (json, r#"{"dataframe_split":{"columns":["n"]}}"#, &["`data`"]),
        (json, r#"{"dataframe_split":{"data":[[1]]}}"#, &["`columns`"]),
        (json, r#"{"dataframe_split":{"columns":["n","x"],"data":[[1,2],[1]]}}"#, &["row 1", "has 1 values"]),
        (json, r#"{"dataframe_split":{"columns":["n","n","x"],"data":[]}}"#, &["`n`", "twice"]),
        (json, r#"{"dataframe_split":{"columns":["n"],"data":[]}}"#, &["`x`", "missing"]),
        (json, r#"{"inputs":[],"params":[1]}"#, &["`params`", "an array"]),
        (json, r#"{"instances":[{"x":1}]}"#, &["`n`", "missing"]),
        (json, r#"{"instances":[{"n":1,"x":1},{"n":2}]}"#, &["`x`", "missing"]),
        (json, r#"{"instances":[{"n":1,"x":null}]}"#, &["`x`", "row 0", "null"]),
        (json, r#"{"instances":[{"n":1,"n":2,"x":1}]}"#, &["`n`", "twice"]),
        (json, r#"{"instances":[{"n":1.0,"x":1}]}"#, &["`n`", "Int32", "the number 1"]),
        (json, r#"{"instances":[{"n":3000000000,"x":1}]}"#, &["`n`", "Int32", "3000000000"]),
        (json, r#"{"instances":[{"n":1,"x":9007199254740993}]}"#, &["`x`", "Float64", "9007199254740993"]),
        (json, r#"{"instances":[{"n":1,"x":1e999}]}"#, &["`x`"]),
        (json, r#"{"instances":[{"n":1,"x":"1.5"}]}"#, &["`x`", "Float64", "the text \"1.5\""]),
        (json, r#"{"instances":[{"n":1,"x":true}]}"#, &["`x`", "the boolean true"]),
        (json, r#"{"instances":[{"n":1,"x":[1]}]}"#, &["`x`", "an array"]),
        (json, r#"{"instances":[{"n":1,"x":1,"s":5}]}"#, &["`s`", "Utf8", "the integer 5"]),
        (json, r#"{"instances":[{"n":1,"x":1,"b":0}]}"#, &["`b`", "Boolean"]),
        (json, r#"{"instances":[{"n":1,"x":1,"t":"yesterday"}]}"#, &["`t`", "yesterday"]),
        (json, r#"{"instances":[{"n":1,"x":1,"t":12}]}"#, &["`t`", "the integer 12"]),
        (json, r#"{"instances":[{"n":1,"x":1,"raw":"*"}]}"#, &["`raw`"]),
        (json, r#"{"instances":[[1,2]]}"#, &["row 0", "has 2 values, expected 6"]),
        (json, r#"{"instances":[[1,2,"",true,null,null],{"n":1}]}"#, &["an object"]),
        (json, r#"{"instances":[1,2]}"#, &["expected 6"]),
        (json, r#"{"inputs":{"n":[1,2],"x":[1]}}"#, &["`x`", "`n`"]),
        (json, r#"{"inputs":{"n":1,"x":2}}"#, &["`inputs`", "a number"]),
        (json, r#"{"inputs":{"n":[1]}}"#, &["`x`", "missing"]),
        (csv, "", &["header"]),
        (csv, "n,s\n1,a\n", &["`x`", "missing"]),
        (csv, "n,x\n1,2\n1\n", &["row 1", "has 1 values"]),
        (csv, "n,x\n1,two\n", &["`x`", "two"]),
        (csv, "n,x\n1.5,2\n", &["`n`", "1.5"]),
        (csv, "n,x\n1,\n", &["`x`", "null"]),
        (csv, "n,x,s\n1,2,\"a\n", &["line 2", "never closed"]),
        (csv, "n,x,s\n1,2,\"a\"b\n", &["line 2", "closing quote"]),
    ] {
        let (status, _, reply) = post(&client, &url, content_type, body).await;
        assert_eq!(status, 400, "{body}: {reply}");
        let error: serde_json::Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(error["error_code"], "BAD_REQUEST", "{body}");
        let message = error["message"].as_str().unwrap();
        for part in parts {
            assert!(message.contains(part), "{body}: {part:?} is not in {message:?}");
        }
    }
    // And it still answers.
    let good = r#"{"instances":[{"n":1,"x":2,"t":"2026-11-22T15:40:00","raw":"AQI="}]}"#;
    let (status, _, reply) = post(&client, &url, json, good).await;
    assert_eq!(status, 200, "{reply}");
    assert!(reply.contains(r#""t":"2026-11-22T15:40:00""#), "{reply}");
}
