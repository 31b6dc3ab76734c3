//! `INSERT INTO`: rows of the engine become a commit.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use boathouse_base::BatchStream;
use boathouse_delta_table::{DataWriterSettings, DeltaTable};
use boathouse_frames::{from_engine, into_datafusion};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::not_impl_err;
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt;

use super::error::{Attempt, Result as EngineResult};
use super::fan_out::{Partitions, arranged};

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

    async fn write_all(&self, data: SendableRecordBatchStream, context: &Arc<TaskContext>) -> Result<u64> {
        let how = if self.op == InsertOp::Overwrite { How::Overwrite } else { How::Append };
        let rows = write(&self.table, from_engine(data), how, &context.runtime_env()).await;
        rows.map_err(|error| into_datafusion(error.into()))
    }
}

/// What becomes of the rows that are there, and of columns that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// They stay.
    Append,
    /// They stay, and the table takes new columns.
    AppendAndMerge,
    /// They leave.
    Overwrite,
    /// They leave, and the table takes new columns.
    OverwriteAndMerge,
}

/// Writes rows as one commit, those of one partition together. Returns how many.
pub(crate) async fn write(table: &DeltaTable, rows: BatchStream, how: How, runtime: &RuntimeEnv) -> EngineResult<u64> {
    let attempt = Attempt::new("insert into", table.url());
    let rows = if matches!(how, How::AppendAndMerge | How::OverwriteAndMerge) { with_nulls(rows, &attempt) } else { rows };
    let snapshot = table.snapshot().await?;
    let settings = DataWriterSettings::default();
    let partitions = Partitions::of(&snapshot, &rows.schema(), &attempt)?;
    let (rows, row_order) = arranged(rows, partitions, &settings, runtime, &attempt).await?;
    let write = match how {
        How::Append => table.append(rows),
        How::AppendAndMerge => table.append(rows).merge_schema(),
        How::Overwrite => table.overwrite(rows),
        How::OverwriteAndMerge => table.overwrite(rows).merge_schema(),
    };
    let report = write.with_writer_settings(DataWriterSettings { row_order, ..settings }).run().await?;
    super::optimize::after_commit(table).await;
    Ok(report.rows)
}

/// The rows of columns that may hold nulls: to the engine a literal never does, and a new column must be able to.
fn with_nulls(rows: BatchStream, attempt: &Attempt) -> BatchStream {
    let fields: Vec<_> = rows.schema().fields().iter().map(|field| super::cast::nullable(field)).collect();
    let schema = Arc::new(Schema::new(fields));
    let (shown, attempt) = (SchemaRef::clone(&schema), attempt.clone());
    let rows = rows.map(move |batch| {
        let batch = RecordBatch::try_new(SchemaRef::clone(&schema), batch?.columns().to_vec());
        Ok(batch.map_err(|source| attempt.compute(source))?)
    });
    BatchStream::new(shown, rows)
}
