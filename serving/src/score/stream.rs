//! A stream of rows in, a stream of predictions out.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use boathouse_base::BatchStream;
use futures::StreamExt;

use super::table::{MODEL_NAME_COLUMN, MODEL_VERSION_COLUMN};
use crate::endpoint::Scorer;
use crate::error::{Result, ServingError};

/// Rows that are scored at once; longer batches are cut.
const SCORED_ROWS: usize = 8192;

impl Scorer {
    /// Scores a stream: lazily, batch by batch, in order.
    ///
    /// **Shape**: the columns `keep` of the input, the model's outputs, and `model_name`, `model_version`.
    ///
    /// **Errors**: now: [`ServingError::MissingColumn`] for a kept column, [`ServingError::OutputName`] for
    /// one that stands twice. Later, in the stream: those of [`Scorer::predict`].
    pub fn score_stream<S: AsRef<str>>(&self, input: BatchStream, keep: &[S]) -> Result<BatchStream> {
        let layout = Arc::new(Layout::new(self, &input.schema(), keep)?);
        let schema = Arc::clone(&layout.schema);
        let scorer = self.clone();
        let batches = input.flat_map(|batch| {
            let pieces = match batch {
                Err(error) => vec![Err(error)],
                Ok(batch) => (0..batch.num_rows())
                    .step_by(SCORED_ROWS)
                    .map(|at| Ok(batch.slice(at, SCORED_ROWS.min(batch.num_rows() - at))))
                    .collect(),
            };
            futures::stream::iter(pieces)
        });
        let scored = batches.then(move |batch| {
            let (scorer, layout) = (scorer.clone(), Arc::clone(&layout));
            async move {
                let rows = batch?;
                let predictions = scorer.predict(&rows).await?;
                Ok(layout.join(&scorer, &rows, predictions)?)
            }
        });
        Ok(BatchStream::new(schema, scored))
    }
}

struct Layout {
    schema: SchemaRef,
    kept: Vec<usize>,
}

impl Layout {
    fn new<S: AsRef<str>>(scorer: &Scorer, input: &Schema, keep: &[S]) -> Result<Self> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let mut kept = Vec::with_capacity(keep.len());
        for name in keep {
            let name = name.as_ref();
            let (at, _) = input.column_with_name(name).ok_or_else(|| ServingError::MissingColumn {
                column: name.to_owned(),
                found: input.fields().iter().map(|f| f.name().clone()).collect(),
            })?;
            kept.push(at);
            fields.push(Arc::clone(&input.fields()[at]));
        }
        fields.extend(scorer.output_schema().fields().iter().cloned());
        fields.push(Arc::new(Field::new(MODEL_NAME_COLUMN, DataType::Utf8, false)));
        fields.push(Arc::new(Field::new(MODEL_VERSION_COLUMN, DataType::Int64, false)));
        for (at, field) in fields.iter().enumerate() {
            if fields[..at].iter().any(|earlier| earlier.name() == field.name()) {
                return Err(ServingError::OutputName { column: field.name().clone() });
            }
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), kept })
    }

    fn join(&self, scorer: &Scorer, rows: &RecordBatch, predictions: RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = self.kept.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        columns.extend_from_slice(predictions.columns());
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(scorer.model_name(), count))));
        let version = i64::try_from(scorer.version()).unwrap_or(i64::MAX);
        columns.push(Arc::new(Int64Array::from_value(version, count)));
        RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(count)),
        )
        .map_err(|source| ServingError::Arrow { action: "join predictions to their rows", source })
    }
}
