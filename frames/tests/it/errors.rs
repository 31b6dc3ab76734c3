//! Errors through the engine and back.

use std::sync::Arc;

use boathouse_base::{BatchStream, DomainError, Error, ErrorKind};
use boathouse_frames::{StreamProvider, batch_stream, find_cause, from_datafusion, into_datafusion};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::stream;

#[derive(Debug, thiserror::Error)]
#[error("read the file a.json: it is cut short at byte 7")]
struct CutShort;

impl DomainError for CutShort {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

#[tokio::test]
async fn an_error_of_a_table_comes_out_of_a_query_as_it_was() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    for sql in ["SELECT * FROM t", "SELECT n, count(*) FROM t GROUP BY n", "SELECT a.n FROM t a ORDER BY a.n"] {
        let rows = BatchStream::new(Arc::clone(&schema), stream::once(async { Err(Error::from(CutShort)) }));
        let session = SessionContext::new();
        session.register_table("t", Arc::new(StreamProvider::new(rows))).unwrap();
        let rows = batch_stream(session.sql(sql).await.unwrap()).await.unwrap();
        let error = rows.collect().await.unwrap_err();
        assert!(find_cause::<CutShort>(&error).is_some(), "{sql}: {error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{sql}");
    }
}

#[test]
fn an_error_is_found_below_context_and_shared_errors() {
    let ours = || into_datafusion(Error::from(CutShort));
    let wrapped = [
        ours().context("while scanning"),
        DataFusionError::Shared(Arc::new(ours())),
        DataFusionError::External(Box::new(ours())),
        DataFusionError::ArrowError(Box::new(datafusion::arrow::error::ArrowError::ExternalError(Box::new(ours()))), None),
    ];
    for error in wrapped {
        let text = format!("{error:?}");
        let error = from_datafusion("scan", error);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
        assert!(error.downcast_ref::<CutShort>().is_some(), "{text}");
    }
}

#[test]
fn the_kind_of_an_engine_error_tells_what_to_do() {
    for (error, kind) in [
        (DataFusionError::Plan("no".into()), ErrorKind::Invalid),
        (DataFusionError::NotImplemented("no".into()), ErrorKind::Unsupported),
        (DataFusionError::ResourcesExhausted("no".into()), ErrorKind::Exhausted),
        (DataFusionError::Internal("no".into()), ErrorKind::Internal),
    ] {
        let error = from_datafusion("plan the query", error);
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().starts_with("plan the query: "), "{error}");
    }
}
