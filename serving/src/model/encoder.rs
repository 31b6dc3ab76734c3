//! From columns to numbers: imputed, standardised, one-hot.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{Result, ServingError};
use crate::signature::enforce;

/// How a [`FeatureEncoder`] is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderSettings {
    /// The most frequent values of a text column that get a feature each; the rest share one.
    pub categories: usize,
    /// Which columns a request may leave out.
    pub optional: OptionalColumns,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self { categories: 32, optional: OptionalColumns::default() }
    }
}

/// Which columns may be null or absent when a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionalColumns {
    /// Those that held a null in training, as MLflow infers it.
    #[default]
    AsSeen,
    /// All: what is absent is imputed.
    All,
    /// None: training rows must be complete as well.
    Never,
}

/// Turns rows into the numbers that a model learns from: learned from the training rows, stored with the
/// model, and applied to every request.
///
/// - Numbers: nulls (and values that are not finite) take the mean, then mean 0 and standard deviation 1.
/// - Booleans: as the numbers 0 and 1.
/// - Text: one feature for each of the most frequent values, one for all others; null is 0 in all of them.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
/// use boathouse_serving::model::{EncoderSettings, FeatureEncoder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rows = RecordBatch::try_from_iter([
///     ("distance", Arc::new(Float64Array::from(vec![200.0, 1400.0])) as ArrayRef),
///     ("carrier", Arc::new(StringArray::from(vec!["AA", "UA"])) as ArrayRef),
/// ])?;
/// let encoder = FeatureEncoder::fit(&[rows], &["distance", "carrier"], &EncoderSettings::default())?;
/// assert_eq!(encoder.feature_names(), ["distance", "carrier=AA", "carrier=UA", "carrier=*"]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureEncoder {
    columns: Vec<EncodedColumn>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EncodedColumn {
    name: String,
    optional: bool,
    encoding: Encoding,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Encoding {
    Number { mean: f64, deviation: f64 },
    Boolean { mean: f64, deviation: f64 },
    Category { values: Vec<String> },
}

impl FeatureEncoder {
    /// Learns means, deviations and categories of these columns.
    ///
    /// **Cost**: two passes over the columns.
    ///
    /// **Errors**: [`ServingError::MissingColumn`]; [`ServingError::Encode`] for a column that is neither a
    /// number, a boolean nor text.
    pub fn fit(batches: &[RecordBatch], columns: &[&str], settings: &EncoderSettings) -> Result<Self> {
        let columns = columns.iter().map(|name| EncodedColumn::fit(batches, name, settings)).collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// The input columns that a model with this encoder takes: numbers as `Float64`.
    pub fn inputs(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(EncodedColumn::field).collect::<Vec<_>>()))
    }

    /// The features that come out, in order: `column` or `column=value`; `column=*` for other values.
    pub fn feature_names(&self) -> Vec<String> {
        self.columns
            .iter()
            .flat_map(|column| match &column.encoding {
                Encoding::Number { .. } | Encoding::Boolean { .. } => vec![column.name.clone()],
                Encoding::Category { values } => {
                    values.iter().map(String::as_str).chain(["*"]).map(|value| format!("{}={value}", column.name)).collect()
                }
            })
            .collect()
    }

    /// How many features come out.
    pub fn width(&self) -> usize {
        self.columns.iter().map(EncodedColumn::width).sum()
    }

    /// **Shape**: rows × [`width`](Self::width), finite, row by row in memory.
    pub(crate) fn encode(&self, inputs: &SchemaRef, batch: &RecordBatch) -> Result<Array2<f64>> {
        let rows = enforce(inputs, batch)?;
        let width = self.width();
        let mut out = vec![0.0; rows.num_rows() * width];
        let mut offset = 0;
        for (column, array) in self.columns.iter().zip(rows.columns()) {
            column.encode(array, &mut out, width, offset)?;
            offset += column.width();
        }
        Array2::from_shape_vec((rows.num_rows(), width), out).map_err(|e| ServingError::ModelContradiction {
            problem: format!("encoded rows have another shape than their model: {e}"),
        })
    }

    /// All batches as one matrix.
    pub(crate) fn encode_all(&self, batches: &[RecordBatch]) -> Result<Array2<f64>> {
        let inputs = self.inputs();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut all = Vec::with_capacity(rows * self.width());
        for batch in batches {
            all.extend_from_slice(self.encode(&inputs, batch)?.as_slice().unwrap_or_default());
        }
        Array2::from_shape_vec((rows, self.width()), all).map_err(|e| ServingError::ModelContradiction {
            problem: format!("encoded rows have another shape than their model: {e}"),
        })
    }
}

impl EncodedColumn {
    fn fit(batches: &[RecordBatch], name: &str, settings: &EncoderSettings) -> Result<Self> {
        let arrays = batches
            .iter()
            .map(|batch| {
                batch.column_by_name(name).ok_or_else(|| ServingError::MissingColumn {
                    column: name.to_owned(),
                    found: batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let data_type = arrays.first().map_or(DataType::Null, |a| a.data_type().clone());
        let inner = if let DataType::Dictionary(_, values) = &data_type { values.as_ref().clone() } else { data_type };
        let optional = match settings.optional {
            OptionalColumns::All => true,
            OptionalColumns::Never => false,
            OptionalColumns::AsSeen => arrays.iter().any(|a| a.logical_null_count() > 0),
        };
        let to = |target: DataType| {
            let field = Schema::new(vec![Field::new(name, target, true)]);
            let field = Arc::new(field);
            batches.iter().map(|batch| Ok(Arc::clone(enforce(&field, batch)?.column(0)))).collect::<Result<Vec<ArrayRef>>>()
        };
        let encoding = match &inner {
            found if found.is_numeric() && !matches!(found, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                let (mean, deviation) = moments(&to(DataType::Float64)?);
                Encoding::Number { mean, deviation }
            }
            DataType::Boolean => {
                let (mean, deviation) = moments(&to(DataType::Boolean)?);
                Encoding::Boolean { mean, deviation }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let arrays = to(DataType::Utf8)?;
                let mut counts: HashMap<&str, usize> = HashMap::new();
                for value in arrays.iter().flat_map(|a| a.as_string::<i32>().iter().flatten()) {
                    *counts.entry(value).or_default() += 1;
                }
                // The most frequent first; among equals by name, so that the same rows give the same encoder.
                let mut values: Vec<(&str, usize)> = counts.into_iter().collect();
                values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
                values.truncate(settings.categories);
                let mut values: Vec<String> = values.into_iter().map(|(value, _)| value.to_owned()).collect();
                values.sort();
                Encoding::Category { values }
            }
            found => return Err(ServingError::Encode { column: name.to_owned(), found: found.clone() }),
        };
        Ok(Self { name: name.to_owned(), optional, encoding })
    }

    fn field(&self) -> Field {
        let data_type = match self.encoding {
            Encoding::Number { .. } => DataType::Float64,
            Encoding::Boolean { .. } => DataType::Boolean,
            Encoding::Category { .. } => DataType::Utf8,
        };
        Field::new(&self.name, data_type, self.optional)
    }

    fn width(&self) -> usize {
        match &self.encoding {
            Encoding::Number { .. } | Encoding::Boolean { .. } => 1,
            Encoding::Category { values } => values.len() + 1,
        }
    }

    fn encode(&self, array: &ArrayRef, out: &mut [f64], width: usize, offset: usize) -> Result<()> {
        let rows = out.chunks_exact_mut(width);
        match &self.encoding {
            Encoding::Number { mean, deviation } | Encoding::Boolean { mean, deviation } => {
                for (row, value) in rows.zip(numbers(array)) {
                    // The mean becomes 0: a missing value says nothing.
                    row[offset] = value.map_or(0.0, |value| (value - mean) / deviation);
                }
            }
            Encoding::Category { values } => {
                for (row, value) in rows.zip(array.as_string::<i32>()) {
                    if let Some(value) = value {
                        let at = values.binary_search_by(|known| known.as_str().cmp(value)).unwrap_or(values.len());
                        row[offset + at] = 1.0;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Finite values of a `Float64` or `Boolean` column; others as `None`.
fn numbers(array: &ArrayRef) -> Box<dyn Iterator<Item = Option<f64>> + '_> {
    match array.as_primitive_opt::<Float64Type>() {
        Some(floats) => Box::new(floats.iter().map(|v| v.filter(|v| v.is_finite()))),
        None => Box::new(array.as_boolean().iter().map(|v| v.map(f64::from))),
    }
}

/// Mean and standard deviation; a column without spread gets deviation 1.
fn moments(arrays: &[ArrayRef]) -> (f64, f64) {
    let values = || arrays.iter().flat_map(numbers).flatten();
    let count = values().count();
    if count == 0 {
        return (0.0, 1.0);
    }
    #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
    let n = count as f64;
    let mean = values().sum::<f64>() / n;
    let deviation = (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    if !mean.is_finite() || !deviation.is_finite() {
        return (0.0, f64::MAX.sqrt());
    }
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BooleanArray, Date32Array, Float64Array, Int16Array, StringArray};

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int16Array::from(vec![Some(1), Some(3), None, Some(5)])) as ArrayRef),
            ("b", Arc::new(BooleanArray::from(vec![true, false, true, false]))),
            ("s", Arc::new(StringArray::from(vec![Some("x"), Some("y"), Some("x"), None]))),
            ("d", Arc::new(Date32Array::from(vec![1, 2, 3, 4]))),
        ])
        .unwrap()
    }

    #[test]
    fn numbers_are_standardised_nulls_imputed_and_categories_one_hot() {
        let settings = EncoderSettings { categories: 1, ..EncoderSettings::default() };
        let encoder = FeatureEncoder::fit(&[rows()], &["n", "b", "s"], &settings).unwrap();
        assert_eq!(encoder.feature_names(), ["n", "b", "s=x", "s=*"]);
        let matrix = encoder.encode(&encoder.inputs(), &rows()).unwrap();
        let step = (3.0 / 8.0_f64).sqrt() * 2.0;
        let expected = [[-step, 1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [step, -1.0, 0.0, 0.0]];
        for (found, expected) in matrix.rows().into_iter().zip(expected) {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{matrix:?}");
            }
        }
    }

    #[test]
    fn only_columns_that_held_nulls_are_optional() {
        let encoder = FeatureEncoder::fit(&[rows()], &["n", "b"], &EncoderSettings::default()).unwrap();
        let nullable: Vec<bool> = encoder.inputs().fields().iter().map(|f| f.is_nullable()).collect();
        assert_eq!(nullable, [true, false]);
        let all = EncoderSettings { optional: OptionalColumns::All, ..EncoderSettings::default() };
        assert!(FeatureEncoder::fit(&[rows()], &["b"], &all).unwrap().inputs().field(0).is_nullable());
    }

    #[test]
    fn a_date_is_refused_by_name() {
        let error = FeatureEncoder::fit(&[rows()], &["d"], &EncoderSettings::default()).unwrap_err();
        assert!(matches!(&error, ServingError::Encode { column, .. } if column == "d"), "{error}");
    }

    #[test]
    fn values_that_are_not_finite_stay_out_of_the_features() {
        let wild = RecordBatch::try_from_iter([(
            "n",
            Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, 1.0, 1.0, f64::MAX, -f64::MAX])) as ArrayRef,
        )])
        .unwrap();
        let encoder = FeatureEncoder::fit(std::slice::from_ref(&wild), &["n"], &EncoderSettings::default()).unwrap();
        assert!(encoder.encode(&encoder.inputs(), &wild).unwrap().iter().all(|v| v.is_finite()));
    }
}
