//! Constraints, generated columns, defaults and identity columns, by every statement that writes rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{DomainError, ErrorKind, ScanRequest};
use boathouse_delta_core::{
    DeltaError, DeltaTable, DeltaTableExt, EngineError, MergeInsert, MergeUpdate, SparkExpressions, delta_sql, register_delta,
};
use boathouse_storage::{Storage, seeded_env};
use datafusion::prelude::SessionContext;

fn with(name: &str, nullable: bool, metadata: &[(&str, &str)]) -> Field {
    let metadata: HashMap<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Field::new(name, DataType::Int64, nullable).with_metadata(metadata)
}

/// `id` numbered from 1, `Price`, `qty` with the default 1, `total` = price * qty; and `total` is below 100.
async fn shop() -> DeltaTable {
    let table = DeltaTable::at(Storage::memory(), seeded_env(3)).with_expressions(Arc::new(SparkExpressions::default()));
    let identity = [("delta.identity.start", "1"), ("delta.identity.step", "1"), ("delta.identity.allowExplicitInsert", "false")];
    let schema = Schema::new(vec![
        with("id", false, &identity),
        with("Price", true, &[]),
        with("qty", false, &[("CURRENT_DEFAULT", "1")]),
        with("total", true, &[("delta.generationExpression", "PRICE * `qty`")]),
    ]);
    let create = table.create(schema).property("delta.constraints.affordable", "total < 100 OR total IS NULL");
    create.run().await.unwrap();
    table
}

fn numbers(columns: &[(&str, &[i64])]) -> RecordBatch {
    let column = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter(columns.iter().map(|(name, values)| (*name, column(values)))).unwrap()
}

async fn read(table: &DeltaTable) -> Vec<Vec<Option<i64>>> {
    let table = DeltaTable::at(table.storage().clone(), seeded_env(8));
    let batches = table.snapshot().await.unwrap().scan(ScanRequest::default()).unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = |column: &ArrayRef| column.as_primitive::<Int64Type>().iter().nth(row).unwrap();
            rows.push(batch.columns().iter().map(value).collect());
        }
    }
    rows.sort();
    rows
}

fn row(values: [i64; 4]) -> Vec<Option<i64>> {
    values.into_iter().map(Some).collect()
}

fn session() -> SessionContext {
    SessionContext::new()
}

#[tokio::test]
async fn an_append_gets_what_the_table_fills_in_and_obeys_its_constraint() {
    let table = shop().await;
    table.append(numbers(&[("price", &[5, 7])]).into()).run().await.unwrap();
    table.append(numbers(&[("price", &[2]), ("qty", &[4])]).into()).run().await.unwrap();
    assert_eq!(read(&table).await, [row([1, 5, 1, 5]), row([2, 7, 1, 7]), row([3, 2, 4, 8])]);
    let error = table.append(numbers(&[("price", &[5, 50]), ("qty", &[1, 2])]).into()).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::CheckViolated { row: 1, .. }), "{error}");
    assert!(error.to_string().contains("total = 100"), "{error}");
    let error = table.append(numbers(&[("price", &[5]), ("total", &[6])]).into()).run().await.unwrap_err();
    assert!(matches!(error, DeltaError::GeneratedDiffers { .. }), "{error}");
    assert_eq!(read(&table).await.len(), 3);
}

#[tokio::test]
async fn an_insert_statement_fills_in_what_it_does_not_name() {
    let (table, session) = (shop().await, session());
    register_delta(&session, "shop", &table).await.unwrap();
    let insert = async |sql: &str| match session.sql(sql).await {
        Ok(frame) => frame.collect().await.map(|_| ()),
        Err(error) => Err(error),
    };
    insert("INSERT INTO shop (\"Price\") VALUES (5), (6)").await.unwrap();
    insert("INSERT INTO shop (\"Price\", qty) VALUES (7, 3)").await.unwrap();
    assert_eq!(read(&table).await, [row([1, 5, 1, 5]), row([2, 6, 1, 6]), row([3, 7, 3, 21])]);
    let error = insert("INSERT INTO shop (\"Price\", qty) VALUES (70, 3)").await.unwrap_err();
    assert!(error.to_string().contains("`affordable`"), "{error}");
    let error = insert("INSERT INTO shop (id, \"Price\") VALUES (9, 3)").await.unwrap_err();
    assert!(error.to_string().contains("numbers column `id` itself"), "{error}");
}

#[tokio::test]
async fn an_update_keeps_numbers_and_follows_with_generated_columns() {
    let (table, session) = (shop().await, session());
    table.append(numbers(&[("price", &[5, 7])]).into()).run().await.unwrap();
    register_delta(&session, "shop", &table).await.unwrap();
    delta_sql(&session, "UPDATE shop SET qty = 10 WHERE id = 2").await.unwrap();
    assert_eq!(read(&table).await, [row([1, 5, 1, 5]), row([2, 7, 10, 70])]);
    // The handle without an engine gets one from the statement.
    let plain = DeltaTable::at(table.storage().clone(), seeded_env(9));
    let error = plain.update().set("qty", "100").run().await.unwrap_err();
    assert!(matches!(error, EngineError::Table(DeltaError::CheckViolated { .. })), "{error}");
    let error = plain.update().set("id", "100").run().await.unwrap_err();
    assert!(matches!(&error, EngineError::SetsIdentity { column, .. } if column == "id"), "{error}");
    let error = plain.update().set("total", "1").run().await.unwrap_err();
    assert!(matches!(error, EngineError::Table(DeltaError::GeneratedDiffers { .. })), "{error}");
    plain.delete().filter("id = 1").run().await.unwrap();
    assert_eq!(read(&table).await, [row([2, 7, 10, 70])]);
}

#[tokio::test]
async fn a_merge_numbers_new_rows_and_follows_with_changed_ones() {
    let table = shop().await;
    table.append(numbers(&[("price", &[5, 7])]).into()).run().await.unwrap();
    let source = session().read_batch(numbers(&[("key", &[2, 3]), ("price", &[9, 4])])).unwrap();
    let update = MergeUpdate::set("price", "s.price");
    let insert = MergeInsert::value("Price", "s.price");
    let merge = table.merge(source, "t.id = s.key").when_matched_update(update).when_not_matched_insert(insert);
    merge.run().await.unwrap();
    assert_eq!(read(&table).await, [row([1, 5, 1, 5]), row([2, 9, 1, 9]), row([3, 4, 1, 4])]);
    // `insert_all` needs no column that the table fills in.
    let source = session().read_batch(numbers(&[("Price", &[99, 1]), ("qty", &[2, 2])])).unwrap();
    let error = table.merge(source, "t.\"Price\" = s.\"Price\"").when_not_matched_insert_all().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let source = session().read_batch(numbers(&[("Price", &[1]), ("qty", &[2])])).unwrap();
    table.merge(source, "t.\"Price\" = s.\"Price\"").when_not_matched_insert_all().run().await.unwrap();
    assert_eq!(read(&table).await.last().unwrap(), &row([4, 1, 2, 2]));
}

#[tokio::test]
async fn an_invariant_of_a_column_is_a_condition_on_every_row() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(3)).with_expressions(Arc::new(SparkExpressions::default()));
    let invariant = [("delta.invariants", r#"{"expression":{"expression":"X > 3"}}"#)];
    table.create(Schema::new(vec![with("x", true, &invariant)])).run().await.unwrap();
    assert_eq!(table.snapshot().await.unwrap().protocol().min_writer_version, 2);
    table.append(numbers(&[("x", &[4])]).into()).run().await.unwrap();
    let error = table.append(numbers(&[("x", &[4, 3])]).into()).run().await.unwrap_err();
    assert!(matches!(&error, DeltaError::CheckViolated { constraint, row: 1, .. } if constraint == "x"), "{error}");
}

#[tokio::test]
async fn a_mapped_table_is_changed_by_statements_and_by_alter() {
    let table = DeltaTable::at(Storage::memory(), seeded_env(3));
    let rows = numbers(&[("id", &[1, 2, 3]), ("v", &[1, 1, 1])]);
    table.append(rows.into()).create_if_absent().property("delta.columnMapping.mode", "name").run().await.unwrap();
    table.alter().rename_column("v", "a b").run().await.unwrap();
    table.update().set("a b", "\"a b\" + id").filter("id > 1").run().await.unwrap();
    table.delete().filter("\"a b\" = 4").run().await.unwrap();
    let found = read(&table).await;
    assert_eq!(found, [vec![Some(1), Some(1)], vec![Some(2), Some(3)]]);
}
