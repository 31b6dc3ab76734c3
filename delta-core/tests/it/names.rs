//! Names of tables: what a statement sees of a table that somebody else changes, and what looking costs.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use boathouse_delta_core::{DeltaTable, DeltaTableExt, StatementReport, delta_sql, register_delta};
use boathouse_storage::testing::CountingStore;
use boathouse_storage::{Operation, Storage, system_env};
use datafusion::prelude::SessionContext;

fn rows(ids: Vec<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()
}

/// A table named `t` in a session, another writer's handle of it, and the counter of the session's requests.
async fn named() -> (SessionContext, DeltaTable, DeltaTable, CountingStore) {
    let storage = Storage::memory();
    let other = DeltaTable::at(storage.clone(), system_env());
    other.append(rows(vec![1, 2]).into()).create_if_absent().run().await.unwrap();
    let (counted, counting) = CountingStore::wrap(&storage);
    let table = DeltaTable::at(counted, system_env());
    let session = SessionContext::new();
    register_delta(&session, "t", &table).await.unwrap();
    (session, table, other, counting)
}

async fn count(session: &SessionContext, query: &str) -> usize {
    session.sql(query).await.unwrap().count().await.unwrap()
}

#[tokio::test]
async fn a_column_that_another_writer_adds_is_there_in_the_next_statement() {
    let (session, _, other, _) = named().await;
    other.alter().add_column(Field::new("more", DataType::Int64, true)).run().await.unwrap();

    let columns = session.sql("SELECT * FROM t").await.unwrap().schema().fields().len();
    assert_eq!(columns, 2);
    session.sql("INSERT INTO t VALUES (3, 4)").await.unwrap().collect().await.unwrap();
    delta_sql(&session, "INSERT INTO t VALUES (5, 6)").await.unwrap();
    assert_eq!(count(&session, "SELECT * FROM t WHERE more IS NOT NULL").await, 2);
}

#[tokio::test]
async fn a_column_that_another_writer_adds_is_there_for_providers_that_the_application_named() {
    let (_, table, other, _) = named().await;
    let session = SessionContext::new();
    session.register_table("t", Arc::new(table.provider().await.unwrap())).unwrap();
    other.alter().add_column(Field::new("more", DataType::Int64, true)).run().await.unwrap();
    delta_sql(&session, "INSERT INTO t VALUES (3, 4)").await.unwrap();
    assert_eq!(count(&session, "SELECT more FROM t WHERE more = 4").await, 1);
}

#[tokio::test]
async fn a_query_that_names_a_table_twice_sees_one_version_while_another_writer_appends() {
    let (session, _, other, _) = named().await;
    let writer = tokio::spawn(async move {
        for id in 3..40 {
            other.append(rows(vec![id]).into()).run().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let twice =
        "SELECT a.id FROM t a FULL JOIN (SELECT id, id + 0 AS k FROM t) b ON a.id = b.k WHERE a.id IS NULL OR b.id IS NULL";
    while !writer.is_finished() {
        assert_eq!(count(&session, twice).await, 0);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(count(&session, "SELECT id FROM t").await, 39);
}

#[tokio::test]
async fn a_frame_that_is_collected_again_sees_what_came_in_between() {
    let (session, _, other, _) = named().await;
    let frame = session.sql("SELECT id FROM t").await.unwrap();
    assert_eq!(frame.clone().count().await.unwrap(), 2);
    other.append(rows(vec![3]).into()).run().await.unwrap();
    assert_eq!(frame.clone().count().await.unwrap(), 3);
    let rows_of = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(rows_of(frame.clone().collect().await.unwrap()), 3);
    other.append(rows(vec![4]).into()).run().await.unwrap();
    assert_eq!(rows_of(frame.collect().await.unwrap()), 4);
}

#[tokio::test]
async fn a_view_made_before_a_commit_sees_the_rows_that_came_with_it() {
    let (session, _, other, _) = named().await;
    session.sql("CREATE VIEW v AS SELECT id FROM t").await.unwrap().collect().await.unwrap();
    other.append(rows(vec![3]).into()).run().await.unwrap();
    assert_eq!(count(&session, "SELECT id FROM v").await, 3);
}

/// The requests of a query: of the log, and of data.
async fn requests(session: &SessionContext, counting: &CountingStore, query: &str) -> (Vec<Operation>, Vec<Operation>) {
    counting.reset();
    let StatementReport::Rows(frame) = delta_sql(session, query).await.unwrap() else { panic!("no query: {query}") };
    assert_eq!(frame.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let is_log = |(_, path): &(Operation, String)| path.contains("_delta_log");
    let (log, data): (Vec<_>, Vec<_>) = counting.log().into_iter().partition(is_log);
    let kinds = |requests: Vec<(Operation, String)>| requests.into_iter().map(|(operation, _)| operation).collect();
    (kinds(log), kinds(data))
}

#[tokio::test]
async fn a_second_query_of_an_unchanged_table_costs_heads_of_the_log_and_reads_no_footer_again() {
    let (session, table, _, counting) = named().await;
    let (query, before) = ("SELECT id FROM t WHERE id > 1", "SELECT id FROM t VERSION AS OF 0 WHERE id > 1");
    let (_, first) = requests(&session, &counting, query).await;
    let (log, second) = requests(&session, &counting, query).await;
    assert_eq!(log, vec![Operation::Head; 6]);
    assert!(second.len() < first.len(), "{first:?} {second:?}");
    assert!(!second.iter().any(|operation| matches!(operation, Operation::List | Operation::ListFolder | Operation::Head)));

    counting.reset();
    session.sql(query).await.unwrap().collect().await.unwrap();
    let plain = counting.log();
    assert_eq!(plain.iter().filter(|(_, path)| path.contains("_delta_log")).count(), 4, "{plain:?}");

    // Nor at a version, nor when the name was given again.
    assert_eq!(requests(&session, &counting, before).await.1, second);
    session.deregister_table("t").unwrap();
    register_delta(&session, "t", &table).await.unwrap();
    assert_eq!(requests(&session, &counting, query).await.1, second);
}
