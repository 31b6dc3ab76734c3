//! `INSERT INTO`: rows of the engine become a commit.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use boathouse_delta_table::DeltaTable;
use boathouse_frames::{from_engine, into_datafusion};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::not_impl_err;
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

/// A plan that writes the rows of `input`.
pub(crate) fn plan(
    table: DeltaTable,
    schema: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    op: InsertOp,
) -> Result<Arc<dyn ExecutionPlan>> {
    if op == InsertOp::Replace {
        return not_impl_err!("REPLACE INTO a Delta table, which has no keys; use MERGE");
    }
    // The writer fills in what the table generates or numbers, and then looks for nulls: before, there may be some.
    let fields: Vec<_> = schema.fields().iter().map(|field| super::cast::nullable(field)).collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(Arc::new(DataSinkExec::new(input, Arc::new(Insert { table, schema, op }), None)))
}

struct Insert {
    table: DeltaTable,
    schema: SchemaRef,
    op: InsertOp,
}

impl fmt::Debug for Insert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Insert({} into {})", self.op, self.table.url())
    }
}

impl DisplayAs for Insert {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[async_trait]
impl DataSink for Insert {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, data: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let rows = from_engine(data);
        let write = if self.op == InsertOp::Overwrite { self.table.overwrite(rows) } else { self.table.append(rows) };
        let report = write.run().await.map_err(|error| into_datafusion(error.into()))?;
        super::optimize::after_commit(&self.table).await;
        Ok(report.rows)
    }
}
