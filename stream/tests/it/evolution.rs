//! Sources that get new columns, and queries that change.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::OutputMode;
use boathouse_base::memory::{MemorySink, MemorySource};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_stream::{QueryChange, StreamError, TumblingWindow};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::support::{Rig, at, drain};

fn wider(seconds: &[i64]) -> RecordBatch {
    let narrow = at(seconds);
    let schema = narrow.schema();
    let columns = schema.fields().iter().zip(narrow.columns()).map(|(field, column)| (field.name().clone(), Arc::clone(column)));
    let tails: ArrayRef = Arc::new(StringArray::from(vec!["N1"; seconds.len()]));
    RecordBatch::try_from_iter_with_nullable(
        columns.chain([("tail".to_owned(), tails)]).map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

#[tokio::test]
async fn a_new_column_of_the_source_arrives_in_the_sink() {
    let rig = Rig::new();
    let mut query = rig.query().sql("SELECT * FROM source").open().await.unwrap();
    rig.push(at(&[1]));
    drain(&mut query).await.unwrap();
    rig.push(wider(&[2]));
    drain(&mut query).await.unwrap();
    let widths: Vec<usize> = rig.sink.batches().iter().map(RecordBatch::num_columns).collect();
    assert_eq!(widths, [3, 4]);
}

#[tokio::test]
async fn open_windows_survive_a_new_column_and_a_restart_after_it() {
    let rig = Rig::new();
    let mut query = rig.windowed().open().await.unwrap();
    rig.push(at(&[1, 2]));
    drain(&mut query).await.unwrap();
    rig.push(wider(&[3]));
    drain(&mut query).await.unwrap();
    assert_eq!(rig.files("shape").await.len(), 1, "the schema of the first epoch was deleted");
    drop(query);
    // The next epoch has no rows: the plan comes from the schema in the checkpoint.
    let mut query = rig.windowed().open().await.unwrap();
    rig.push(wider(&[40]));
    query.step().await.unwrap();
    drop(query);
    let mut query = rig.windowed().open().await.unwrap();
    drain(&mut query).await.unwrap();
    assert_eq!(rig.windows(), [(10, Some("JFK".to_owned()), 3, 3)]);
}

#[tokio::test]
async fn a_checkpoint_refuses_another_window_or_mode() {
    let rig = Rig::new();
    rig.push(at(&[1]));
    rig.windowed().run_available_now().await.unwrap();
    let hourly = TumblingWindow::over("at", Duration::from_secs(3600)).by(["origin"]).count("n").sum("delay", "delay");
    let error = rig.windowed().output_mode(OutputMode::Complete).open().await.unwrap_err();
    assert!(matches!(error, StreamError::CheckpointOfAnother { part: "output mode", .. }), "{error}");
    let cases = [
        (
            rig.query().watermark("at", Duration::from_secs(10)).window(hourly),
            "resume `stateStoreSave[origin, window(at, 10s)]` of the query `test`, which has changed: the checkpoint was made by the keys \
             [origin, window(at, 10s)], and the query now has [origin, window(at, 3600s)]; keep the keys, or use a new checkpoint",
        ),
        (
            rig.query(),
            "resume `stateStoreSave[origin, window(at, 10s)]` of the query `test`, which has changed: the checkpoint holds its state, and \
             the query now has the operators []; put it back, or use a new checkpoint",
        ),
    ];
    for (query, expected) in cases {
        let error = query.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), expected);
    }
    // Filters, the delay and the name may change.
    let query = rig.windowed().watermark("at", Duration::from_secs(60)).sql("SELECT * FROM source WHERE delay > 0");
    query.open().await.unwrap();
}

#[tokio::test]
async fn state_of_other_types_is_refused() {
    let rig = Rig::new();
    rig.push(at(&[1]));
    rig.windowed().run_available_now().await.unwrap();
    rig.push(at(&[2]));
    let error = rig
        .windowed()
        .sql("SELECT at, origin, CAST(delay AS DOUBLE) AS delay FROM source")
        .run_available_now()
        .await
        .unwrap_err();
    let StreamError::Changed { change, .. } = error else { panic!("{error}") };
    let (recorded, found) = ("Int64".to_owned(), "Float64".to_owned());
    assert_eq!(*change, QueryChange::ColumnType { column: "sum(delay)[sum]".to_owned(), recorded, found });
}

#[tokio::test]
async fn the_id_of_a_query_stays_and_differs_between_checkpoints() {
    let (a, b) = (Rig::new(), Rig::new());
    let first = a.query().open().await.unwrap().query_id().to_owned();
    let renamed = boathouse_stream::StreamQuery::named("other")
        .source(Arc::new(MemorySource::new(crate::support::schema())))
        .sink(Arc::new(MemorySink::new()))
        .checkpoint(a.checkpoint.clone());
    assert_eq!(renamed.open().await.unwrap().query_id(), first);
    let env = boathouse_storage::seeded_env(99);
    assert_ne!(b.query().env(env).open().await.unwrap().query_id(), first);
}
