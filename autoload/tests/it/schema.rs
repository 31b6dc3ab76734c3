//! Inference, evolution, rescue and quarantine of JSON.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use boathouse_autoload::{AutoLoadError, AutoLoader, ColumnTypes, SchemaEvolution};
use boathouse_base::{ErrorKind, ReadLimit, StreamSource};
use serde_json::json;

use crate::support::{Site, drain, files, names, quarantine, read, rescued, rows, step};

#[tokio::test]
async fn columns_are_text_unless_inference_is_asked_for() {
    let site = Site::new();
    site.land("a.json", "{\"i\":1,\"f\":1.50,\"s\":\"x\",\"o\":{\"a\": 1},\"n\":null}").await;
    let source = AutoLoader::over(site.landing.clone()).state(site.state.clone()).open().await.unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["i", "f", "s", "o", "n", "_rescued_data"]);
    assert_eq!(rows(&batches), [json!({"i":"1","f":"1.50","s":"x","o":"{\"a\": 1}"})]);
}

#[tokio::test]
async fn inference_looks_at_all_first_files_and_widens() {
    let site = Site::new();
    site.land("a.json", "{\"x\":1,\"y\":1,\"t\":\"2024-01-01T00:00:00Z\",\"n\":null,\"l\":[1]}").await;
    site.land("b.json", "{\"x\":1.5,\"y\":\"z\",\"t\":\"2024-01-02T00:00:00.5+01:00\",\"l\":[2.5]}").await;
    let source = site.open().await;
    // The batch has one file; the types come from both.
    let (batches, _) = step(&source, None, files(1)).await.unwrap();
    let schema = batches[0].schema();
    let type_of = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(type_of("x"), DataType::Float64);
    assert_eq!(type_of("y"), DataType::Utf8);
    assert_eq!(type_of("t"), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert_eq!(type_of("n"), DataType::Utf8);
    assert_eq!(type_of("l"), DataType::List(Arc::new(Field::new("item", DataType::Float64, true))));
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
}

#[tokio::test]
async fn a_column_of_a_later_day_is_added_and_earlier_ranges_do_not_change() {
    let site = Site::new();
    site.land("1.json", "{\"a\":1}\n").await;
    site.land("2.json", "{\"a\":2,\"deep\":{\"x\":1}}\n").await;
    let source = site.open().await;
    let (_, first) = step(&source, None, files(1)).await.unwrap();
    site.land("3.json", "{\"a\":\"three\",\"new\":true,\"deep\":{\"x\":2,\"y\":3}}\n").await;
    site.land("4.json", "{\"new\":\"no\"}\n").await;
    let (_, end) = drain(&source, Some(first.clone())).await;
    let end = end.unwrap();
    for source in [source, site.open().await] {
        assert_eq!(names(&read(&source, None, &first).await), ["a", "deep", "_rescued_data"]);
        let later = read(&source, Some(&first), &end).await;
        assert_eq!(names(&later), ["a", "deep", "new", "_rescued_data"]);
        let found = rows(&later);
        assert_eq!(found[0], json!({"a":2,"deep":{"x":1}}));
        assert_eq!((&found[1]["new"], &found[1]["deep"]), (&json!(true), &json!({"x":2,"y":3})));
        assert_eq!(rescued(&found[1]), Some(json!({"a":"three"})));
        assert_eq!(rescued(&found[2]), Some(json!({"new":"no"})));
    }
    assert_eq!(site.state.list("schemas").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_column_keeps_its_type_and_wrong_values_are_rescued_exactly() {
    let site = Site::new();
    site.land("1.json", "{\"n\":1,\"b\":true,\"s\":{\"x\":1}}\n").await;
    let source = site.open().await;
    let (_, first) = step(&source, None, ReadLimit::default()).await.unwrap();
    let bad = "{\"n\":92233720368547758080,\"b\":\"true\",\"s\":{\"x\":\"one\",\"y\":1}}\n{\"n\":1.0,\"s\":[1],\"N\":7}\n";
    site.land("2.json", bad).await;
    let source = site.describe().schema_evolution(SchemaEvolution::Rescue).open().await.unwrap();
    let (batches, _) = step(&source, Some(&first), ReadLimit::default()).await.unwrap();
    let found = rows(&batches);
    let text = found[0]["_rescued_data"].as_str().unwrap();
    assert!(text.contains("\"n\":92233720368547758080,"), "no digit is lost: {text}");
    assert!(text.ends_with("landing/2.json\"}"), "{text}");
    assert_eq!(found[0]["s"], json!({}));
    assert_eq!(rescued(&found[1]), Some(json!({"n":1.0,"s":[1],"N":7})));
}

#[tokio::test]
async fn a_truncated_file_keeps_its_good_lines_and_the_rest_goes_to_quarantine() {
    let site = Site::new();
    let text = "{\"id\":1}\r\n\n[1,2]\n{\"id\":2}\n\u{feff}\n{\"id\":3,\"na";
    site.land("cut.json", text).await;
    site.land("whole.json", "{\"id\":4}").await;
    let source = site.open().await;
    let (found, _) = drain(&source, None).await;
    assert_eq!(found, [json!({"id":1}), json!({"id":2}), json!({"id":4})]);
    let entries = quarantine(&source).await;
    let places: Vec<_> =
        entries.iter().map(|entry| (entry["line"].as_u64().unwrap(), entry["byte_offset"].as_u64().unwrap())).collect();
    assert_eq!(places, [(3, 11), (5, 26), (6, 30)]);
    assert_eq!(entries[2]["raw"], json!("{\"id\":3,\"na"));
    assert!(entries[2]["reason"].as_str().unwrap().contains("EOF while parsing a string"), "{entries:?}");
    let counts = source.quarantine_counts().await.unwrap();
    assert_eq!((counts.lines, counts.files), (3, 0));
}

#[tokio::test]
async fn new_columns_stop_the_source_until_a_hint_names_them() {
    let site = Site::new();
    site.land("1.json", "{\"a\":1}").await;
    let strict = || site.describe().schema_evolution(SchemaEvolution::FailOnNewColumns);
    let (_, first) = step(&strict().open().await.unwrap(), None, ReadLimit::default()).await.unwrap();
    site.land("2.json", "{\"a\":2,\"b\":1}").await;
    let error = strict().open().await.unwrap().plan(Some(&first), ReadLimit::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(matches!(error.downcast_ref(), Some(AutoLoadError::NewColumns { columns, .. }) if columns == &["b"]), "{error}");
    let source = strict().schema_hints([("b", DataType::Float64)]).open().await.unwrap();
    let (batches, _) = step(&source, Some(&first), ReadLimit::default()).await.unwrap();
    assert_eq!(rows(&batches), [json!({"a":2,"b":1.0})]);
}

#[tokio::test]
async fn ignored_columns_leave_no_trace_and_rescue_can_be_given_up() {
    let site = Site::new();
    site.land("1.json", "{\"a\":1}").await;
    let (_, first) = step(&site.open().await, None, ReadLimit::default()).await.unwrap();
    site.land("2.json", "{\"a\":\"x\",\"b\":1}").await;
    let source = site.describe().schema_evolution(SchemaEvolution::None).open().await.unwrap();
    let (batches, end) = step(&source, Some(&first), ReadLimit::default()).await.unwrap();
    assert_eq!(rescued(&rows(&batches)[0]), Some(json!({"a":"x"})));
    let source = site.describe().rescued_data_column(None).open().await.unwrap();
    let batches = read(&source, Some(&first), &end).await;
    assert_eq!(names(&batches), ["a"]);
    assert_eq!(batches[0].num_rows(), 1);
}

#[tokio::test]
async fn a_given_schema_rescues_what_it_does_not_name() {
    let site = Site::new();
    site.land("1.json", "{\"d\":\"2024-02-29\",\"m\":1.25,\"x\":1}").await;
    let schema = Schema::new(vec![Field::new("d", DataType::Date32, false), Field::new("m", DataType::Decimal128(10, 2), false)]);
    let source = site.describe().schema(Arc::new(schema)).schema_hints([("h", DataType::Utf8)]).open().await.unwrap();
    let (batches, _) = step(&source, None, ReadLimit::default()).await.unwrap();
    assert_eq!(names(&batches), ["d", "m", "h", "_rescued_data"]);
    assert_eq!(rescued(&rows(&batches)[0]), Some(json!({"x":1})));
    assert_eq!(batches[0].schema().field(1).data_type(), &DataType::Decimal128(10, 2));
}

#[tokio::test]
async fn files_without_a_value_give_no_columns_until_one_comes() {
    let site = Site::new();
    site.land("0.json", "\n\n").await;
    let source =
        site.describe().schema_evolution(SchemaEvolution::Rescue).infer_column_types(ColumnTypes::Inferred).open().await.unwrap();
    let planned = source.plan(None, ReadLimit::default()).await.unwrap().unwrap();
    let stream = source.read(None, &planned.end).await.unwrap();
    assert_eq!(stream.schema().fields().len(), 1);
    assert!(stream.collect().await.unwrap().is_empty());
    site.land("1.json", "{\"a\":1}").await;
    let (found, _) = drain(&source, Some(planned.end)).await;
    assert_eq!(found, [json!({"a":1})]);
}
