//! Column names that are hard to read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, StructArray};
use arrow_schema::{DataType, Field};
use boathouse_base::{Comparison, Predicate, ScanRequest};
use serde_json::json;

use super::builder::{Made, batch, column, features, mapped, metadata, rows_of, versions};

const NAMES: [&str; 7] = ["a.b", "a", "with space", "ÄÖ", "日本", "semi;colon,{x}", "MiXed"];

#[tokio::test]
async fn dots_spaces_unicode_and_any_case_are_read_projected_and_filtered() {
    let fields: Vec<_> = NAMES.iter().map(|name| column(name, json!("long"))).collect();
    let mut made = Made::in_memory().with_columns(json!(fields), versions(1, 2)).await;
    for row in [0, 100] {
        let columns = NAMES.iter().enumerate().map(|(nth, name)| {
            let value = row + i64::try_from(nth).unwrap();
            // Files of other writers may spell a name in another case.
            let name = if *name == "MiXed" && row == 100 { "mixed" } else { name };
            (name, Arc::new(Int64Array::from(vec![value])) as ArrayRef)
        });
        let add = made.write(&format!("{row}.parquet"), &batch(columns.collect())).await;
        made.commit(&[add]).await;
    }
    assert_eq!(made.rows().await, ["0|1|2|3|4|5|6|", "100|101|102|103|104|105|106|"]);
    let snapshot = made.snapshot().await;
    for (nth, name) in NAMES.into_iter().enumerate() {
        let request = ScanRequest::default().project([name]).filter(Predicate::compare(name, Comparison::Gt, 50));
        let rows = snapshot.scan(request).unwrap().collect().await.unwrap();
        assert_eq!(rows.len(), 1, "{name}: the other file has a row group that cannot match");
        let values = rows[0].column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec();
        assert_eq!(values, [100 + i64::try_from(nth).unwrap()], "{name}");
    }
}

#[tokio::test]
async fn a_nested_column_and_one_with_a_dot_in_its_name_are_told_apart() {
    let inner = json!({"type": "struct", "fields": [column("B", json!("long"))]});
    let fields = json!([column("a", inner), column("a.b", json!("long"))]);
    let mut made = Made::in_memory().with_columns(fields, versions(1, 2)).await;
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("b", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![1])) as ArrayRef,
    )]);
    let add = made.write("f.parquet", &batch(vec![("a.b", Arc::new(Int64Array::from(vec![2]))), ("a", Arc::new(nested))])).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["{B:1,}|2|"]);
    let wanted = Predicate::compare("a.b", Comparison::Gt, 1);
    assert_eq!(rows_of(&made.snapshot().await, Some(wanted)).await.len(), 1);
}

#[tokio::test]
async fn with_column_mapping_any_name_stands_for_any_other() {
    let mut made = Made::in_memory();
    let fields = json!([mapped(" ;{}()\n\t=", json!("long"), 1, "col-1"), mapped("b", json!("long"), 2, "a")]);
    let configuration = json!({"delta.columnMapping.mode": "name"});
    made.commit(&[features(&["columnMapping"]), metadata(fields, &[], configuration)]).await;
    let file = batch(vec![("a", Arc::new(Int64Array::from(vec![2]))), ("col-1", Arc::new(Int64Array::from(vec![1])))]);
    let add = made.write("f.parquet", &file).await;
    made.commit(&[add]).await;
    assert_eq!(made.rows().await, ["1|2|"]);
}
