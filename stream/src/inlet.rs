//! The leaf of a resident plan: a table whose rows are put in before each execution.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use boathouse_base::{BatchStream, Error, ErrorKind};
use boathouse_frames::{AlreadyRead, into_datafusion, to_engine};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};

/// A slot for the rows of one execution. An execution takes them out; the next one needs new rows.
pub(crate) struct Inlet {
    schema: SchemaRef,
    rows: Mutex<Option<BatchStream>>,
}

impl Inlet {
    pub(crate) fn new(schema: SchemaRef) -> Arc<Self> {
        Arc::new(Self { schema, rows: Mutex::new(None) })
    }

    /// Puts the rows of the next execution in. They have the columns of the inlet, perhaps by other names.
    pub(crate) fn fill(&self, rows: BatchStream) {
        let rows = match rows.schema() == self.schema {
            true => rows,
            false => renamed(rows, &self.schema),
        };
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

fn renamed(rows: BatchStream, schema: &SchemaRef) -> BatchStream {
    let to = SchemaRef::clone(schema);
    let rename = move |batch: RecordBatch| {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&to), batch.columns().to_vec(), &options)
            .map_err(|error| Error::new(ErrorKind::Internal, error))
    };
    BatchStream::new(SchemaRef::clone(schema), rows.map(move |batch| batch.and_then(&rename)))
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

/// Where the rows of a leaf come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A source of the query.
    Source(usize),
    /// An operator.
    Operator(usize),
}

/// The inlets that a plan has got while it was planned: one for each of its leaves.
pub(crate) type Leaves = Arc<Mutex<Vec<(Origin, Arc<Inlet>)>>>;

/// The inlets since they were last taken.
pub(crate) fn take_leaves(leaves: &Leaves) -> Vec<(Origin, Arc<Inlet>)> {
    std::mem::take(&mut *leaves.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A stream as a table that queries can name: each scan of it gets an inlet of its own.
#[derive(Debug)]
pub(crate) struct InletTable {
    pub(crate) origin: Origin,
    pub(crate) schema: SchemaRef,
    pub(crate) leaves: Leaves,
}

#[async_trait]
impl TableProvider for InletTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
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
        let inlet = Inlet::new(SchemaRef::clone(&self.schema));
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner).push((self.origin, Arc::clone(&inlet)));
        inlet.exec(projection, limit)
    }
}
