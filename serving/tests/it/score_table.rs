//! Scoring tables.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use boathouse_base::memory::MemoryTable;
use boathouse_base::{BatchStream, DomainError, ErrorKind, ScanRequest, Table, TableVersion, WriteMode, WriteRequest};
use boathouse_serving::{MODEL_VERSION_COLUMN, ScoreTable, Scorer, ServingError};

use crate::fixtures::{env, fixed, flights, logistic, post, predictions, serve};

async fn table_of(rows: &RecordBatch) -> MemoryTable {
    let table = MemoryTable::new("flights", env());
    // Pieces of odd sizes: nothing may depend on where a batch ends.
    let cut = rows.num_rows() / 3;
    let pieces = vec![rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)];
    table.write(WriteRequest::append().or_create(), BatchStream::from_batches(rows.schema(), pieces)).await.unwrap();
    table
}

async fn rows_of(table: &MemoryTable) -> Vec<RecordBatch> {
    let snapshot = table.snapshot(TableVersion::Latest).await.unwrap();
    snapshot.scan(ScanRequest::default()).await.unwrap().collect().await.unwrap()
}

#[tokio::test]
async fn a_scored_table_holds_what_http_answers_bit_for_bit() {
    let rows = flights(20_000, 40);
    let endpoint = fixed("late", 4, Arc::new(logistic(&rows))).await;
    let (input, output) = (table_of(&rows).await, MemoryTable::new("scores", env()));
    let snapshot = input.snapshot(TableVersion::Latest).await.unwrap();
    let report = ScoreTable::of_snapshot(endpoint.scorer().unwrap(), snapshot).keep(["id", "late"]).run(&output).await.unwrap();
    assert_eq!((report.rows, report.model_version, report.input_version, report.skipped), (20_000, 4, Some(0), false));
    assert_eq!(output.history()[0].metadata["boathouse.modelVersion"], "4");

    let server = serve(&endpoint).await;
    let (client, url) = (reqwest::Client::new(), format!("{}/invocations", server.url));
    let mut seen = 0;
    for batch in rows_of(&output).await {
        let names: Vec<_> = batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["id", "late", "probability", "model_name", "model_version"]);
        let ids = batch.column(0).as_primitive::<Int32Type>();
        let scores = batch.column(2).as_primitive::<Float64Type>();
        assert_eq!(batch.column(3).as_string::<i32>().value(0), "late");
        assert!(batch.column_by_name(MODEL_VERSION_COLUMN).unwrap().as_primitive::<Int64Type>().iter().all(|v| v == Some(4)));
        for at in (0..batch.num_rows()).step_by(401) {
            let row = usize::try_from(ids.value(at)).unwrap();
            let wind = rows.column(1).as_primitive::<Float64Type>();
            let body = serde_json::json!({"dataframe_records": [{
                "hour": rows.column(0).as_primitive::<Int32Type>().value(row),
                "wind": wind.is_valid(row).then(|| wind.value(row)),
                "carrier": rows.column(2).as_string::<i32>().value(row),
                "holiday": rows.column(3).as_boolean().value(row),
            }]});
            let (status, _, reply) = post(&client, &url, "application/json", body.to_string()).await;
            assert_eq!(status, 200, "{reply}");
            assert_eq!(predictions(&reply)[0].to_bits(), scores.value(at).to_bits());
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen}");
}

#[tokio::test]
async fn a_second_run_of_the_same_transaction_writes_nothing() {
    let rows = flights(500, 41);
    let scorer = Scorer::new("late", 1, Arc::new(logistic(&rows)));
    let output = MemoryTable::new("scores", env());
    let run = async |number: u64| {
        let input = BatchStream::from_batches(rows.schema(), vec![rows.clone()]);
        ScoreTable::of_stream(scorer.clone(), input).keep(["id"]).once("december", number).run(&output).await.unwrap()
    };
    assert_eq!((run(1).await.rows, run(1).await.skipped, run(2).await.rows), (500, true, 500));
    assert_eq!(rows_of(&output).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);

    let input = BatchStream::from_batches(rows.schema(), vec![rows.slice(0, 10)]);
    ScoreTable::of_stream(scorer, input).keep(["id"]).mode(WriteMode::Overwrite).run(&output).await.unwrap();
    assert_eq!(rows_of(&output).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
}

#[tokio::test]
async fn rows_that_do_not_fit_leave_the_output_as_it_was() {
    let rows = flights(500, 42);
    let scorer = Scorer::new("late", 1, Arc::new(logistic(&rows)));
    let output = MemoryTable::new("scores", env());
    let run = async |rows: RecordBatch, keep: &[&str]| {
        let input = BatchStream::from_batches(rows.schema(), vec![rows]);
        ScoreTable::of_stream(scorer.clone(), input).keep(keep.iter().copied()).run(&output).await.unwrap_err()
    };
    let without = rows.project(&[0, 1, 3, 5]).unwrap();
    let error = run(without, &["id"]).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("`carrier`"), "{error}");
    assert!(output.history().is_empty());

    let error = run(rows.clone(), &["nowhere"]).await;
    assert!(matches!(&error, ServingError::MissingColumn { column, .. } if column == "nowhere"), "{error}");
    let error = run(rows, &["id", "id"]).await;
    assert!(matches!(&error, ServingError::OutputName { column } if column == "id"), "{error}");
}
