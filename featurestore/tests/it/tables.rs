use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{BatchStream, DomainError, ErrorKind, Table, TableVersion, WriteRequest};
use boathouse_featurestore::{FeatureError, FeatureStore};

use crate::world::{World, weather, weather_schema};

#[tokio::test]
async fn a_created_table_is_there_with_keys_that_are_never_null_and_survives_a_restart() {
    let world = World::new();
    let table = world.weather().await;
    let schema = table.snapshot(TableVersion::Latest).await.unwrap().schema();
    let nullable: Vec<bool> = schema.fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [false, false, true, true]);

    let restarted = FeatureStore::new(Arc::new(world.tables.clone()), &world.storage, world.env.clone());
    let again = restarted.table("weather").await.unwrap();
    assert_eq!(again.definition(), table.definition());
    assert_eq!(again.definition().description, "hourly weather");
    assert_eq!(again.definition().created_us, 1_000_000);
    assert_eq!(restarted.table_names().await.unwrap(), ["weather"]);
}

#[tokio::test]
async fn a_table_is_created_once_and_opened_again_when_that_is_asked_for() {
    let world = World::new();
    world.weather().await;
    let create = || world.store.create_table("weather").primary_keys(["origin"]).timestamp_key("time").schema(weather_schema());
    assert_eq!(create().run().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    create().or_open().run().await.unwrap();
    assert_eq!(world.version("weather").await, 0, "opening writes nothing");

    let other = create().primary_keys(["sky"]).or_open().run().await.unwrap_err();
    assert!(matches!(other, FeatureError::OtherDefinition { what: "primary key", .. }), "{other}");
    let other = world.store.create_table("weather").primary_keys(["origin"]).or_open().run().await.unwrap_err();
    assert!(matches!(other, FeatureError::OtherDefinition { what: "timestamp key", .. }), "{other}");
    let wider = Schema::new(vec![Field::new("humidity", DataType::Float64, true)]);
    let other = create().schema(Arc::new(wider)).or_open().run().await.unwrap_err();
    assert!(other.to_string().contains("humidity"), "{other}");
}

#[tokio::test]
async fn a_table_that_exists_becomes_a_feature_table_without_a_schema() {
    let world = World::new();
    let rows = weather(&[("JFK", 1, 5.0)]);
    let create = || world.store.create_table("weather").primary_keys(["origin"]).timestamp_key("time");
    assert_eq!(create().run().await.unwrap_err().kind(), ErrorKind::NotFound, "there is no table and no schema");
    world.tables.get("weather").write(WriteRequest::append().or_create(), BatchStream::from(rows)).await.unwrap();
    create().run().await.unwrap();
    assert_eq!(world.version("weather").await, 0);
}

#[tokio::test]
async fn definitions_that_cannot_be_are_refused_and_leave_nothing_behind() {
    let world = World::new();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("share", DataType::Float64, false),
        Field::new("tags", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))), true),
    ]));
    let create = |keys: &[&str]| world.store.create_table("t").schema(schema.clone()).primary_keys(keys.iter().copied());
    let cases: Vec<(_, &[&str])> = vec![
        (create(&[]).run().await, &["no primary key"]),
        (create(&["nobody"]).run().await, &["nobody", "share"]),
        (create(&["share"]).run().await, &["share", "Float64", "floats"]),
        (create(&["tags"]).run().await, &["tags", "List"]),
        (create(&["id", "id"]).run().await, &["id", "twice"]),
        (create(&["id"]).timestamp_key("share").run().await, &["share", "Float64", "no time"]),
        (create(&["id"]).timestamp_key("nobody").run().await, &["nobody"]),
    ];
    for (result, words) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
    for name in ["", "a/b", "../x", ".hidden", "a b"] {
        let error = world.store.create_table(name).primary_keys(["id"]).schema(schema.clone()).run().await.unwrap_err();
        assert!(matches!(error, FeatureError::InvalidName { .. }), "{error}");
    }
    assert!(world.store.table_names().await.unwrap().is_empty());
    assert!(world.tables.get("t").history().is_empty());
}

#[tokio::test]
async fn an_unknown_table_is_not_found_and_the_known_ones_are_named() {
    let world = World::new();
    world.weather().await;
    let error = world.store.table("wether").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("wether") && error.to_string().contains("\"weather\""), "{error}");
}

#[tokio::test]
async fn a_damaged_definition_is_corrupt_and_names_its_object() {
    let world = World::new();
    world.weather().await;
    let path = world.storage.list("definitions").await.unwrap().pop().unwrap().path;
    world.storage.put(&path, "{\"format\": 1, \"name\":").await.unwrap();
    let error = world.store.table("weather").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    world.storage.put(&path, "{\"format\":9,\"name\":\"weather\",\"primary_keys\":[\"origin\"],\"created_us\":0}").await.unwrap();
    assert!(world.store.table("weather").await.unwrap_err().to_string().contains("format 9"));
}
