//! Partition values of every type.

use std::sync::Arc;

use arrow_array::Int64Array;
use boathouse_base::{Comparison, Predicate, Value as Typed};
use serde_json::{Value, json};

use super::builder::{Made, batch, column, features, metadata, rows_of, with};

/// Type, text in the log, the row as text.
const CASES: &[(&str, &str, &str)] = &[
    ("string", "plain", "\"plain\""),
    ("string", "a/b=c%20d:é 日 \"\\ \u{1}", "\"a/b=c%20d:é 日 \\\"\\\\ \\u{1}\""),
    ("string", " ", "\" \""),
    ("string", "", "-"),
    ("string", "__HIVE_DEFAULT_PARTITION__", "\"__HIVE_DEFAULT_PARTITION__\""),
    ("byte", "-128", "-128"),
    ("short", "32767", "32767"),
    ("integer", "-2147483648", "-2147483648"),
    ("long", "9223372036854775807", "9223372036854775807"),
    ("long", "", "-"),
    ("float", "0.1", "f3dcccccd"),
    ("float", "-Infinity", "fff800000"),
    ("double", "1.0E-5", "d3ee4f8b588e368f1"),
    ("double", "NaN", "d7ff8000000000000"),
    ("boolean", "true", "true"),
    ("boolean", "FALSE", "false"),
    ("decimal(10,2)", "-12345678.9", "-1234567890e-2"),
    ("decimal(38,18)", "1E-18", "1e-18"),
    ("date", "1969-12-31", "-1"),
    ("date", "9999-12-31", "2932896"),
    ("timestamp", "1970-01-01 00:00:00", "0us"),
    ("timestamp", "1970-01-01 00:00:00.000001", "1us"),
    ("timestamp", "1970-01-01T00:00:00.123456Z", "123456us"),
    ("timestamp", "1970-01-01T01:00:00.5+01:00", "500000us"),
    ("timestamp", "2021-09-08 11:11:11", "1631099471000000us"),
    ("timestamp_ntz", "1969-12-31 23:59:59.999999", "-1us"),
    ("timestamp_ntz", "2021-09-08T11:11:11", "1631099471000000us"),
    ("binary", "\u{1}\u{2}\u{3}", "010203"),
    ("binary", "é", "c3a9"),
    ("void", "", "-"),
];

async fn table(data_type: &str, value: Value) -> Made {
    let mut made = Made::in_memory();
    let fields = json!([column("Part", json!(data_type)), column("id", json!("long"))]);
    made.commit(&[features(&["timestampNtz"]), metadata(fields, &["Part"], json!({}))]).await;
    let add = made.write("f.parquet", &batch(vec![("id", Arc::new(Int64Array::from(vec![7])))])).await;
    made.commit(&[with(add, json!({"partitionValues": {"Part": value}}))]).await;
    made
}

#[tokio::test]
async fn every_type_is_read_in_every_form_that_writers_use() {
    for (data_type, text, expected) in CASES {
        let made = table(data_type, json!(text)).await;
        assert_eq!(made.rows().await, [format!("{expected}|7|")], "{data_type} {text:?}");
    }
    for data_type in ["string", "long", "double", "boolean", "decimal(10,2)", "date", "timestamp", "binary"] {
        assert_eq!(table(data_type, Value::Null).await.rows().await, ["-|7|"], "{data_type}");
    }
}

#[tokio::test]
async fn a_value_that_is_none_of_its_type_is_corrupt_and_named() {
    let cases = [
        ("integer", "2147483648"),
        ("byte", "1.5"),
        ("boolean", "yes"),
        ("date", "2021-02-30"),
        ("timestamp", "soon"),
        ("timestamp_ntz", "1970-01-01T00:00:00Z"),
        ("decimal(4,2)", "100.00"),
    ];
    for (data_type, text) in cases {
        let error = table(data_type, json!(text)).await.read().await.unwrap_err();
        assert_eq!(error.kind(), boathouse_base::ErrorKind::Corrupt, "{data_type} {text}: {error}");
        assert!(error.to_string().contains("`Part`") && error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn files_are_skipped_by_typed_values_and_not_by_texts() {
    let made = table("long", json!("9")).await;
    let snapshot = made.snapshot().await;
    let above = |value: i64| Some(Predicate::compare("Part", Comparison::Gt, value));
    assert_eq!(rows_of(&snapshot, above(10)).await.len(), 0, "as text, 9 is above 10");
    assert_eq!(rows_of(&snapshot, above(8)).await.len(), 1);
    let made = table("timestamp", json!("1970-01-01T01:00:00.000000Z")).await;
    let at = |us: i64| Some(Predicate::compare("Part", Comparison::Eq, Typed::Timestamp(us)));
    assert_eq!(rows_of(&made.snapshot().await, at(3_600_000_000)).await.len(), 1);
    assert_eq!(rows_of(&made.snapshot().await, at(0)).await.len(), 0);
}
