//! `_metadata`: files and rows of a table, as columns.

use std::sync::Arc;

use boathouse_delta_core::{DeltaSession, DeltaTableExt};
use boathouse_storage::seeded_env;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;

use crate::rows::{VECTORS, row, table_of, table_of_with};

async fn text(session: &DeltaSession, query: &str) -> String {
    let frame = session.query(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    pretty_format_batches(&frame.collect().await.unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn a_filter_on_the_name_of_a_file_skips_the_others() {
    let table = table_of(true, &[&[row(1, "a", 1), row(2, "b", 2)], &[row(30, "a", 3)]]).await;
    let session = DeltaSession::new(seeded_env(1));
    session.register("t", &table).await.unwrap();
    let files = table.snapshot().await.unwrap().files(None).await.unwrap();
    assert!(files.len() > 2);
    for file in &files {
        let path = file.path();
        let name = path.rsplit('/').next().unwrap();
        let query = format!("SELECT id FROM t WHERE _metadata.file_name = '{name}'");
        let plan = text(&session, &format!("EXPLAIN {query}")).await;
        assert_eq!(plan.matches("lake/t/").count(), 1, "{plan}");
        assert!(!plan.contains("FilterExec"), "the log decides: {plan}");
        let rows = session.query(&query).await.unwrap().count().await.unwrap();
        assert_eq!(Some(rows as u64), file.row_count());
    }
    let both = format!("SELECT id FROM t WHERE part = 'a' AND _metadata.file_path LIKE '%{}'", files[0].path());
    let plan = text(&session, &format!("EXPLAIN {both}")).await;
    assert!(plan.matches("lake/t/").count() <= 1, "{plan}");
    // What is not the same in all rows of a file is asked row by row.
    let plan = text(&session, "EXPLAIN SELECT id FROM t WHERE _metadata.row_index = 1").await;
    assert!(plan.contains("FilterExec"), "{plan}");
}

#[tokio::test]
async fn the_number_of_a_row_is_its_place_however_files_are_cut_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    std::fs::create_dir_all(&path).unwrap();
    let path = path.display().to_string();
    let write = format!(
        "COPY (SELECT value AS id, value % 100 AS v FROM range(0, 20000)) TO '{path}/part-0.parquet' STORED AS PARQUET \
         OPTIONS ('max_row_group_size' '1000')"
    );
    SessionContext::new().sql(&write).await.unwrap().collect().await.unwrap();
    let session = DeltaSession::new(seeded_env(2));
    session.sql(&format!("CONVERT TO DELTA parquet.`{path}`")).await.unwrap();
    session.sql(&format!("ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")).await.unwrap();
    session.sql(&format!("DELETE FROM delta.`{path}` WHERE id % 7 = 3 OR id BETWEEN 4000 AND 5999")).await.unwrap();
    for filters in ["false", "true"] {
        let set = ["datafusion.execution.parquet.pushdown_filters", "datafusion.optimizer.repartition_file_min_size"];
        for (key, value) in set.into_iter().zip([filters, "1"]) {
            session.context().sql(&format!("SET {key} = {value}")).await.unwrap().collect().await.unwrap();
        }
        for (condition, kept) in
            [("true", "id % 7 <> 3"), ("v = 42", "id % 7 <> 3 AND v = 42"), ("id > 12345", "id % 7 <> 3 AND id > 12345")]
        {
            let query = format!("SELECT id, _metadata.row_index AS n FROM delta.`{path}` WHERE {condition}");
            let misplaced = text(&session, &format!("SELECT count(*) AS n FROM ({query}) AS q WHERE n <> id OR n IS NULL")).await;
            assert!(misplaced.contains("| 0 "), "{condition}: {misplaced}");
            let counted = session.query(&query).await.unwrap().count().await.unwrap();
            let wanted = "SELECT value AS id, value % 100 AS v FROM range(0, 20000)";
            let wanted = format!("SELECT id FROM ({wanted}) AS r WHERE {kept} AND id NOT BETWEEN 4000 AND 5999");
            assert_eq!(counted, session.query(&wanted).await.unwrap().count().await.unwrap(), "{condition}");
        }
    }
}

#[tokio::test]
async fn a_provider_with_the_column_shows_it_last_and_takes_no_rows() {
    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 1), row(2, "b", 2)]]).await;
    let provider = table.provider().await.unwrap();
    let columns = provider.schema().fields().len();
    let provider = provider.with_file_metadata();
    assert_eq!(provider.schema().field(columns).name(), "_metadata");
    let session = SessionContext::new();
    session.register_table("t", Arc::new(provider.clone())).unwrap();
    session.register_table("views", Arc::new(provider.with_views())).unwrap();
    for name in ["t", "views"] {
        let rows = session.sql(&format!("SELECT * FROM {name}")).await.unwrap().collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        assert!(rows.iter().all(|rows| rows.num_columns() == columns + 1));
        let none = format!("SELECT _metadata FROM {name} WHERE _metadata['file_name'] = 'none'");
        assert_eq!(session.sql(&none).await.unwrap().count().await.unwrap(), 0);
    }
    let insert = session.sql("INSERT INTO t SELECT * FROM t").await.unwrap().collect().await.unwrap_err();
    assert!(insert.to_string().contains("_metadata"), "{insert}");
}

#[cfg(feature = "proto")]
#[tokio::test]
async fn a_plan_with_the_column_is_refused_by_name_when_it_is_to_leave() {
    use boathouse_delta_core::DeltaPlanCodec;
    use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec as encode;

    let table = table_of_with(&[VECTORS], &[&[row(1, "a", 1)]]).await;
    let provider = table.provider().await.unwrap().with_file_metadata();
    let session = SessionContext::new();
    session.register_table("t", Arc::new(provider)).unwrap();
    let planned = async |query: &str| session.sql(query).await.unwrap().create_physical_plan().await.unwrap();
    let with = planned("SELECT _metadata['file_name'] FROM t").await;
    let error = encode(with, &DeltaPlanCodec).unwrap_err();
    assert!(error.to_string().contains("_metadata"), "{error}");
    let without = planned("SELECT id FROM t").await;
    assert!(encode(without, &DeltaPlanCodec).is_ok());
}
