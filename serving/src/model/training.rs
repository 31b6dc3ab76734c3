//! What every training gesture needs: the feature matrix and the labels.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use ndarray::Array2;

use super::FeatureEncoder;
use crate::error::{Result, ServingError};

/// Encoded rows and their labels.
pub(super) struct TrainingRows {
    pub(super) features: Array2<f64>,
    pub(super) labels: Vec<bool>,
    pub(super) positives: usize,
}

impl TrainingRows {
    /// **Errors**: [`ServingError::Label`], [`ServingError::OneClass`], and those of encoding.
    pub(super) fn new(kind: &'static str, encoder: &FeatureEncoder, batches: &[RecordBatch], label: &str) -> Result<Self> {
        let labels = labels(batches, label)?;
        let positives = labels.iter().filter(|l| **l).count();
        if positives == 0 || positives == labels.len() {
            return Err(ServingError::OneClass { kind, rows: labels.len(), positives });
        }
        if encoder.width() == 0 {
            return Err(ServingError::TrainSetting { kind, setting: "columns", expected: "at least one", found: "none".into() });
        }
        Ok(Self { features: encoder.encode_all(batches)?, labels, positives })
    }
}

fn labels(batches: &[RecordBatch], label: &str) -> Result<Vec<bool>> {
    let mut labels = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let column = batch.column_by_name(label).ok_or_else(|| ServingError::MissingColumn {
            column: label.to_owned(),
            found: batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect(),
        })?;
        let wrong = |row, found| ServingError::Label { column: label.to_owned(), row, found };
        if let Some(flags) = column.as_boolean_opt() {
            for flag in flags {
                labels.push(flag.ok_or_else(|| wrong(labels.len(), "null".into()))?);
            }
            continue;
        }
        if !column.data_type().is_numeric() {
            return Err(wrong(labels.len(), format!("a column of {}", column.data_type())));
        }
        let numbers = arrow_cast::cast(column, &DataType::Float64)
            .map_err(|source| ServingError::Arrow { action: "read the label as a number", source })?;
        for number in numbers.as_primitive::<Float64Type>() {
            match number {
                Some(0.0) => labels.push(false),
                Some(1.0) => labels.push(true),
                Some(other) => return Err(wrong(labels.len(), other.to_string())),
                None => return Err(wrong(labels.len(), "null".into())),
            }
        }
    }
    Ok(labels)
}
