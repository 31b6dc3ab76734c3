//! The wiring: where things lie, and what wrong places and names get.

use boathouse::base::{BatchStream, DomainError, ErrorKind, Table, TableResolver, TableVersion};
use boathouse::{Lakehouse, LakehouseError};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use std::sync::Arc;

fn rows() -> BatchStream {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]).unwrap();
    BatchStream::from_batches(batch.schema(), vec![batch])
}

#[tokio::test]
async fn a_lakehouse_is_one_folder_that_can_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("my lake").display().to_string();
    {
        let lake = Lakehouse::at(&place).open().await.unwrap();
        lake.table("numbers").append(rows()).create_if_absent().run().await.unwrap();
        lake.tracker().experiment("e").get_or_create().await.unwrap();
        lake.close().await;
    }
    let lake = Lakehouse::at(&place).open().await.unwrap();
    let counted =
        lake.session(["numbers"]).await.unwrap().sql("SELECT count(*) FROM numbers").await.unwrap().collect().await.unwrap();
    assert_eq!(counted[0].column(0).as_ref(), &Int64Array::from(vec![3]));
    assert_eq!(lake.tracker().get_experiment_by_name("e").await.unwrap().name, "e");
    assert!(folder.path().join("my lake/tables/numbers/_delta_log/00000000000000000000.json").is_file());
}

#[tokio::test]
async fn a_session_reads_files_in_parallel_and_counts_without_reading() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lakehouse::at(folder.path().display().to_string()).open().await.unwrap();
    for _ in 0..2 {
        lake.table("numbers").append(rows()).create_if_absent().run().await.unwrap();
    }
    let session = lake.session(["numbers"]).await.unwrap();
    let text = async |query: &str| {
        let batches = session.sql(&format!("EXPLAIN {query}")).await.unwrap().collect().await.unwrap();
        datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    let scan = text("SELECT id FROM numbers").await;
    assert!(scan.contains("DataSourceExec") && scan.matches(".parquet").count() == 2, "{scan}");
    let count = text("SELECT count(*) FROM numbers").await;
    assert!(!count.contains("DataSourceExec"), "{count}");
    // What is written later is not seen: two queries of one session agree.
    lake.table("numbers").append(rows()).run().await.unwrap();
    assert_eq!(session.table("numbers").await.unwrap().count().await.unwrap(), 6);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_not_found_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lakehouse::at(folder.path().display().to_string()).open().await.unwrap();
    let error = lake.session(["flihgts"]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/tables/flihgts/"), "{error}");
}

#[tokio::test]
async fn a_name_that_would_leave_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lakehouse::at(folder.path().display().to_string()).open().await.unwrap();
    for name in ["", "../x", "a/b", "1st", "a b"] {
        let error = TableResolver::table(&lake, name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
    let table: Arc<dyn Table> = TableResolver::table(&lake, "good_name").unwrap();
    assert_eq!(table.snapshot(TableVersion::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_database_asks_for_one() {
    let error = Lakehouse::at("memory://lake").open().await.unwrap_err();
    assert!(matches!(error, LakehouseError::NoDatabase { .. }));
    let lake = Lakehouse::at("memory://lake").database("sqlite::memory:").open().await.unwrap();
    lake.table("numbers").append(rows()).create_if_absent().run().await.unwrap();
    assert_eq!(lake.table("numbers").snapshot().await.unwrap().version(), 0);
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "x").unwrap();
    let error = Lakehouse::at(file.display().to_string()).open().await.unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
