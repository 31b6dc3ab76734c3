//! The contract of [`FeatureLookup`].

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow_schema::DataType;

use super::model::{same, with_column};
use super::rows::{assert_kind, columns};
use crate::error::ErrorKind;
use crate::model::FeatureLookup;

/// Checks an implementation of [`FeatureLookup`] on a table that has a row for every key of `known`, two keys or
/// more, each with a feature that is not null, and none for those of `unknown`.
pub async fn feature_lookup(lookup: &dyn FeatureLookup, table: &str, known: &RecordBatch, unknown: &RecordBatch) {
    assert!(known.num_rows() >= 2 && unknown.num_rows() >= 1, "the suite is given keys");
    let schema = lookup.feature_schema(table).await.expect("the table is known");
    assert!(!schema.keys.fields().is_empty(), "a table has keys");
    for field in schema.features.fields() {
        assert!(field.is_nullable(), "the feature `{}` is null where a key has no row", field.name());
        assert!(schema.keys.field_with_name(field.name()).is_err(), "`{}` is a key and a feature", field.name());
    }

    let found = lookup.lookup(table, known).await.expect("known keys are found");
    assert_eq!(found.num_rows(), known.num_rows(), "one row per key");
    assert_eq!(columns(&found.schema()), columns(&schema.features), "the feature columns only");
    for row in 0..known.num_rows() {
        assert!(found.columns().iter().any(|column| column.is_valid(row)), "key {row} has a feature that is not null");
        let one = lookup.lookup(table, &known.slice(row, 1)).await.expect("one key is found");
        same(&found.slice(row, 1), &one, &format!("key {row} alone and among the others"));
    }
    let nothing = lookup.lookup(table, unknown).await.expect("unknown keys are no error");
    assert_eq!(nothing.num_rows(), unknown.num_rows(), "one row per key, known or not");
    assert!(nothing.columns().iter().all(|column| column.null_count() == column.len()), "an unknown key has nulls");
    let none = lookup.lookup(table, &known.slice(0, 0)).await.expect("no keys are no error");
    assert_eq!((none.num_rows(), columns(&none.schema())), (0, columns(&schema.features)));

    let backwards: Vec<usize> = (0..known.num_columns()).rev().collect();
    let reordered = known.project(&backwards).unwrap();
    same(&found, &lookup.lookup(table, &reordered).await.expect("keys are found by name"), "keys in another order");
    let extra: ArrayRef = Arc::new(Int64Array::from(vec![1; known.num_rows()]));
    let more = with_column(known, "__not_a_key", extra);
    same(&found, &lookup.lookup(table, &more).await.expect("other columns are ignored"), "a column more");

    for field in schema.keys.fields() {
        let name = field.name();
        let others: Vec<usize> = (0..known.num_columns()).filter(|at| known.schema_ref().field(*at).name() != name).collect();
        let mut without = more.project(&[more.num_columns() - 1]).unwrap();
        for at in others {
            without = with_column(&without, known.schema_ref().field(at).name(), Arc::clone(known.column(at)));
        }
        assert_kind(&lookup.lookup(table, &without).await, ErrorKind::Invalid, &[name], "a key column is missing");
        let wrong: ArrayRef = match field.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Arc::new(BooleanArray::from(vec![true; known.num_rows()]))
            }
            _ => Arc::new(BinaryArray::from(vec![b"\xff\xfe".as_slice(); known.num_rows()])),
        };
        let wrong = with_column(known, name, wrong);
        assert_kind(&lookup.lookup(table, &wrong).await, ErrorKind::Invalid, &[name], "a key column has another type");
        let nulls = with_column(known, name, new_null_array(field.data_type(), known.num_rows()));
        let nothing = lookup.lookup(table, &nulls).await.expect("a null key is no error");
        assert!(nothing.columns().iter().all(|column| column.null_count() == column.len()), "a null key has no row");
    }
    let missing = lookup.feature_schema("no such table").await;
    assert_kind(&missing, ErrorKind::NotFound, &["no such table"], "the schema of a table that is not there");
    let missing = lookup.lookup("no such table", known).await;
    assert_kind(&missing, ErrorKind::NotFound, &["no such table"], "a lookup in a table that is not there");
}
