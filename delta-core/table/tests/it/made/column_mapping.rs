//! Columns that files know by another name, or by a number.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};
use boathouse_base::ErrorKind;
use serde_json::{Value, json};

use super::builder::{Made, features, mapped, metadata, with_id};

async fn table(mode: &str, fields: Value) -> Made {
    let mut made = Made::in_memory();
    let configuration = json!({"delta.columnMapping.mode": mode});
    made.commit(&[features(&["columnMapping"]), metadata(fields, &[], configuration)]).await;
    made
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn file(fields: Vec<Field>, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

#[tokio::test]
async fn in_id_mode_the_number_counts_and_a_name_alone_finds_nothing() {
    let fields =
        json!([mapped("a", json!("long"), 1, "a"), mapped("b", json!("long"), 2, "b"), mapped("c", json!("long"), 3, "c"),]);
    let mut made = table("id", fields).await;
    // The names are swapped, and there is a `c` that is another column.
    let swapped = vec![with_id(long("a"), 2), with_id(long("b"), 1), with_id(long("c"), 9)];
    let add = made.write("f.parquet", &file(swapped, vec![numbers(&[20]), numbers(&[10]), numbers(&[90])])).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["10|20|-|"]);
}

#[tokio::test]
async fn in_id_mode_fields_of_structs_are_found_by_number_at_every_depth() {
    let inner = json!({"type": "struct", "fields": [mapped("x", json!("long"), 2, "x"), mapped("y", json!("long"), 3, "y")]});
    let list = json!({"type": "array", "elementType": inner, "containsNull": true});
    let mut made = table("id", json!([mapped("l", list, 1, "l")])).await;
    let fields = Fields::from(vec![with_id(long("y"), 2), with_id(long("gone"), 7), with_id(long("x"), 3)]);
    let elements = StructArray::new(fields.clone(), vec![numbers(&[1]), numbers(&[7]), numbers(&[2])], None);
    let element = Arc::new(Field::new("element", DataType::Struct(fields), true));
    let lists = ListArray::new(Arc::clone(&element), OffsetBuffer::from_lengths([1]), Arc::new(elements), None);
    let field = with_id(Field::new("other", DataType::List(element), true), 1);
    let add = made.write("f.parquet", &file(vec![field], vec![Arc::new(lists)])).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["[{x:1,y:2,},]|"]);
}

#[tokio::test]
async fn in_id_mode_a_file_without_field_ids_is_refused_and_named() {
    let mut made = table("id", json!([mapped("a", json!("long"), 1, "a")])).await;
    let add = made.write("f.parquet", &file(vec![long("a")], vec![numbers(&[1])])).await;
    made.commit(&[add]).await;
    let error = made.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("f.parquet") && error.to_string().contains("field ids"), "{error}");
}

#[tokio::test]
async fn in_name_mode_physical_names_count_in_structs_lists_and_maps_and_field_ids_do_not() {
    let inner = |id: i64| json!({"type": "struct", "fields": [mapped("x", json!("long"), id, &format!("col-{id}"))]});
    let fields = json!([
        mapped("s", inner(2), 1, "col-1"),
        mapped("l", json!({"type": "array", "elementType": inner(4), "containsNull": true}), 3, "col-3"),
        mapped("m", json!({"type": "map", "keyType": "string", "valueType": inner(6), "valueContainsNull": true}), 5, "col-5"),
        mapped("x", json!("long"), 7, "col-7"),
    ]);
    let mut made = table("name", fields).await;
    let group = |name: &str, value: i64| {
        // A number that the table gives to another column.
        StructArray::new(Fields::from(vec![with_id(long(name), 99), long("x")]), vec![numbers(&[value]), numbers(&[-1])], None)
    };
    let (list, map) = (group("col-4", 4), group("col-6", 6));
    let element = Arc::new(Field::new("element", list.data_type().clone(), true));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([1]), Arc::new(list), None);
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", map.data_type().clone(), true)]);
    let pairs = StructArray::new(entries.clone(), vec![Arc::new(StringArray::from(vec!["k"])), Arc::new(map)], None);
    let entries = Arc::new(Field::new("key_value", DataType::Struct(entries), false));
    let maps = MapArray::new(entries, OffsetBuffer::from_lengths([1]), pairs, None, false);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", numbers(&[-1])),
        ("col-7", numbers(&[7])),
        ("col-5", Arc::new(maps)),
        ("col-3", Arc::new(lists)),
        ("col-1", Arc::new(group("col-2", 2))),
    ];
    let add = made.write("f.parquet", &super::builder::batch(columns)).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["{x:2,}|[{x:4,},]|<\"k\"={x:6,}>|7|"]);
}

#[tokio::test]
async fn a_mode_that_nobody_knows_is_refused_by_property() {
    let made = table("telepathy", json!([mapped("a", json!("long"), 1, "a")])).await;
    let error = made.read().await.unwrap_err();
    assert!(error.to_string().contains("delta.columnMapping.mode") && error.to_string().contains("telepathy"), "{error}");
}
