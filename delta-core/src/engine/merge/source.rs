//! The rows of the source, held in memory.

use std::sync::Arc;

use boathouse_base::Value;
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;

use crate::engine::cast::nullable;
use crate::engine::error::{Attempt, Result};

/// The rows of the source, in the order in which they came.
#[derive(Debug)]
pub(crate) struct SourceRows {
    /// The columns, all of which may be null.
    pub(crate) schema: SchemaRef,
    /// The same under the alias of the source.
    pub(crate) named: DFSchema,
    pub(crate) batches: Vec<RecordBatch>,
    /// The number of the first row of each batch.
    starts: Vec<usize>,
    pub(crate) rows: usize,
}

impl SourceRows {
    /// Computes the source.
    pub(crate) async fn collect(source: &DataFrame, alias: &str, attempt: &Attempt) -> Result<Self> {
        // A new list of plain columns: the qualifiers of the query's own tables end here.
        let columns = source.schema().columns();
        let plain = columns.into_iter().map(|column| {
            let name = column.name.clone();
            Expr::Column(column).alias(name)
        });
        let failed = |error| attempt.rows(from_datafusion("compute the source", error));
        let frame = source.clone().select(plain).map_err(failed)?;
        let fields: Vec<Arc<Field>> = frame.schema().as_arrow().fields().iter().map(|field| nullable(field)).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let named = DFSchema::try_from_qualified_schema(alias, &schema).map_err(failed)?;
        let (mut batches, mut starts, mut rows) = (Vec::new(), Vec::new(), 0);
        for batch in frame.collect().await.map_err(failed)? {
            if batch.num_rows() == 0 {
                continue;
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&schema), batch.columns().to_vec(), &options);
            let batch = batch.map_err(|source| attempt.compute(source))?;
            starts.push(rows);
            rows += batch.num_rows();
            batches.push(batch);
        }
        Ok(Self { schema, named, batches, starts, rows })
    }

    /// The batches with the number of each row as a further column.
    pub(crate) fn numbered(&self, name: &str, attempt: &Attempt) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut fields: Vec<Arc<Field>> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let number = |(batch, start): (&RecordBatch, &usize)| {
            let numbers = (*start..*start + batch.num_rows()).map(|row| i64::try_from(row).unwrap_or(i64::MAX));
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
            RecordBatch::try_new(SchemaRef::clone(&schema), columns).map_err(|source| attempt.compute(source))
        };
        let batches = self.batches.iter().zip(&self.starts).map(number).collect::<Result<_>>()?;
        Ok((schema, batches))
    }

    /// These rows, column by column.
    pub(crate) fn take(&self, rows: &[usize], attempt: &Attempt) -> Result<Vec<ArrayRef>> {
        let place = |row: &usize| {
            let batch = self.starts.partition_point(|start| start <= row).saturating_sub(1);
            (batch, row - self.starts.get(batch).copied().unwrap_or(0))
        };
        let places: Vec<(usize, usize)> = rows.iter().map(place).collect();
        let column = |at: usize| {
            let arrays: Vec<_> = self.batches.iter().map(|batch| batch.column(at).as_ref()).collect();
            interleave(&arrays, &places).map_err(|source| attempt.compute(source))
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// The values of a column, without nulls. `None`: some value has no place among the values of the log.
    pub(crate) fn values(&self, column: &Column) -> Option<Vec<Value>> {
        let at = self.schema.index_of(&column.name).ok()?;
        let mut values = Vec::with_capacity(self.rows);
        for batch in &self.batches {
            for row in 0..batch.num_rows() {
                match Value::at(batch.column(at).as_ref(), row)? {
                    Value::Null => {}
                    value => values.push(value),
                }
            }
        }
        Some(values)
    }
}
