//! The leaf of a resident plan: a table whose rows are put in before each execution.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use boathouse_base::{BatchStream, Error};
use boathouse_frames::{AlreadyRead, into_datafusion, to_engine};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;

/// A slot for the rows of one execution. An execution takes them out; the next one needs new rows.
pub(crate) struct Inlet {
    schema: SchemaRef,
    rows: Mutex<Option<BatchStream>>,
}

impl Inlet {
    pub(crate) fn new(schema: SchemaRef) -> Arc<Self> {
        Arc::new(Self { schema, rows: Mutex::new(None) })
    }

    /// Puts the rows of the next execution in.
    pub(crate) fn fill(&self, rows: BatchStream) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    /// A leaf of a plan.
    pub(crate) fn exec(
        self: &Arc<Self>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partition: Arc<dyn PartitionStream> = Arc::clone(self) as _;
        Ok(Arc::new(StreamingTableExec::try_new(
            SchemaRef::clone(&self.schema),
            vec![partition],
            projection,
            None,
            false,
            limit,
        )?))
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Inlet {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.rows.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(rows) => to_engine(rows),
            None => {
                let none = stream::once(async { Err(into_datafusion(Error::from(AlreadyRead))) });
                Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), none))
            }
        }
    }
}

/// An inlet as a table that queries can name.
#[derive(Debug)]
pub(crate) struct InletTable(pub(crate) Arc<Inlet>);

#[async_trait]
impl TableProvider for InletTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.0.schema)
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.exec(projection, limit)
    }
}
