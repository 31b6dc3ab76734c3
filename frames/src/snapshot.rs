//! A snapshot of any table, for the engine to scan.

use std::sync::Arc;

use async_trait::async_trait;
use boathouse_base::{ScanRequest, TableSnapshot};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::into_datafusion;
use crate::filter::{pushdown, to_conjunction};
use crate::stream::announce;

/// One version of a table as a table of the engine.
///
/// Projections and limits go down whole; filters go down as far as they translate to a
/// [`Predicate`](boathouse_base::Predicate), for skipping, and the engine filters again.
///
/// **Cost**: a scan is one partition; the engine spreads its batches over its own.
#[derive(Debug, Clone)]
pub struct SnapshotProvider {
    snapshot: Arc<dyn TableSnapshot>,
    schema: SchemaRef,
}

impl SnapshotProvider {
    /// A table over `snapshot`.
    pub fn new(snapshot: Arc<dyn TableSnapshot>) -> Self {
        Self { schema: snapshot.schema(), snapshot }
    }
}

#[async_trait]
impl TableProvider for SnapshotProvider {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema(),
        };
        let request = ScanRequest {
            projection: projection.map(|columns| columns.iter().map(|at| self.schema.field(*at).name().clone()).collect()),
            predicate: to_conjunction(filters),
            limit_rows: if filters.is_empty() { limit } else { None },
        };
        let partition: Arc<dyn PartitionStream> =
            Arc::new(Scan { snapshot: Arc::clone(&self.snapshot), schema: SchemaRef::clone(&schema), request });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![partition], None, None, false, limit)?))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(pushdown(filters))
    }
}

#[derive(Debug)]
struct Scan {
    snapshot: Arc<dyn TableSnapshot>,
    schema: SchemaRef,
    request: ScanRequest,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, request) = (Arc::clone(&self.snapshot), self.request.clone());
        let rows = stream::once(async move {
            let rows = snapshot.scan(request).await.map_err(into_datafusion)?;
            Ok::<_, datafusion::error::DataFusionError>(rows.map(|batch| batch.map_err(into_datafusion)))
        })
        .try_flatten();
        let schema = SchemaRef::clone(&self.schema);
        let rows = rows.map(move |batch| batch.and_then(|batch| announce(batch, &schema).map_err(into_datafusion)));
        Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), rows))
    }
}
