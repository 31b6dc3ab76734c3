//! The rows that a processor gives.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::error::StateError;
use super::row_log::{RowLog, listed};

/// Rows in a batch of a result that came one by one.
const BATCH_ROWS: usize = 8_192;

/// The rows that a processor has given in an epoch, in order.
pub(crate) struct Emitted {
    schema: SchemaRef,
    rows: RowLog,
    batches: Vec<RecordBatch>,
}

impl Emitted {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { rows: Self::log(&schema), schema, batches: Vec::new() }
    }

    fn log(schema: &SchemaRef) -> RowLog {
        RowLog::new("the result".to_owned(), schema.fields().clone())
    }

    pub(crate) fn row(&mut self, row: impl IntoIterator<Item = ScalarValue>) -> Result<(), StateError> {
        self.rows.push(row)?;
        if self.rows.len() == BATCH_ROWS { self.cut().map_err(failed) } else { Ok(()) }
    }

    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<(), StateError> {
        let types = |schema: &SchemaRef| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&batch.schema()) != types(&self.schema) {
            let (expected, found) = (listed(self.schema.fields()), listed(batch.schema().fields()));
            return Err(StateError::Columns { expected, found });
        }
        self.cut().map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let named = RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options);
        self.batches.push(named.map_err(failed)?);
        Ok(())
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, StateError> {
        self.cut().map_err(failed)?;
        self.batches.retain(|batch| batch.num_rows() > 0);
        Ok(self.batches)
    }

    fn cut(&mut self) -> Result<(), ArrowError> {
        let rows = std::mem::replace(&mut self.rows, Self::log(&self.schema));
        let count = rows.len();
        if count == 0 {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let columns = rows.into_columns(|_| true)?;
        self.batches.push(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
        Ok(())
    }
}

fn failed(source: ArrowError) -> StateError {
    StateError::Arrow { attempt: "emit rows into", target: "the result".to_owned(), source }
}
