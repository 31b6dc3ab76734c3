//! Batches out of the engine, and into it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use boathouse_base::{BatchStream, Error, Result};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, stream};

use crate::error::{from_datafusion, into_datafusion};

/// Plans and starts a frame; its rows come as they are computed.
///
/// **Errors**: by kind of the engine's error; one of ours that comes out of a table comes out as it was.
pub async fn batch_stream(frame: DataFrame) -> Result<BatchStream> {
    let rows = frame.execute_stream().await.map_err(|error| from_datafusion("plan the query", error))?;
    Ok(from_engine(rows))
}

/// A stream of the engine as one of ours.
pub fn from_engine(rows: SendableRecordBatchStream) -> BatchStream {
    let schema = rows.schema();
    let announced = SchemaRef::clone(&schema);
    BatchStream::new(
        schema,
        rows.map(move |batch| {
            let batch = batch.map_err(|error| from_datafusion("execute the query", error))?;
            announce(batch, &announced)
        }),
    )
}

/// The engine may say of a column that it holds no nulls in one place and not in another: the stream's word counts.
pub(crate) fn announce(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(&batch.schema(), schema) {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|error| from_datafusion("execute the query", DataFusionError::from(error)))
}

/// One of our streams as one of the engine's.
pub fn to_engine(rows: BatchStream) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(rows.schema(), rows.map(|batch| batch.map_err(into_datafusion))))
}

/// A table that can be read once: the rows of a stream.
pub struct StreamProvider {
    rows: Arc<OneShot>,
}

impl StreamProvider {
    /// A table over `rows`.
    pub fn new(rows: BatchStream) -> Self {
        Self { rows: Arc::new(OneShot { schema: rows.schema(), rows: Mutex::new(Some(rows)) }) }
    }
}

impl fmt::Debug for StreamProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamProvider").field("schema", &self.rows.schema).finish()
    }
}

#[async_trait]
impl TableProvider for StreamProvider {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.rows.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let partition: Arc<dyn PartitionStream> = Arc::clone(&self.rows) as _;
        Ok(Arc::new(StreamingTableExec::try_new(self.schema(), vec![partition], projection, None, false, limit)?))
    }
}

#[derive(Debug)]
struct OneShot {
    schema: SchemaRef,
    rows: Mutex<Option<BatchStream>>,
}

impl PartitionStream for OneShot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.rows.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(rows) => to_engine(rows),
            None => {
                let error = Error::from(AlreadyRead);
                let once = stream::once(async { Err(into_datafusion(error)) });
                Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), once))
            }
        }
    }
}

/// A [`StreamProvider`] was read a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read a stream as a table: it was read before; a query that needs its rows twice must collect them first")]
pub struct AlreadyRead;

impl boathouse_base::DomainError for AlreadyRead {
    fn kind(&self) -> boathouse_base::ErrorKind {
        boathouse_base::ErrorKind::Invalid
    }
}
