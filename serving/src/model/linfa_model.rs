//! A classifier by linfa together with its preprocessing.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use boathouse_base::{Model, Signature};
use linfa_logistic::FittedLogisticRegression;
use serde::{Deserialize, Serialize};

use super::forest::Forest;
use super::{FeatureEncoder, logistic};
use crate::error::{Result, ServingError};
use crate::exact_json;

/// The one output column.
const OUTPUT: &str = "probability";

/// The layout of the stored model; raised when it changes.
const FORMAT: u32 = 1;

/// A binary classifier: takes columns, gives the probability that the label is true.
///
/// Holds everything that stands between a row and its score: column order, imputation, scaling,
/// categories, and the fitted linfa model. Trained by [`train_logistic`](Self::train_logistic) or
/// [`train_random_forest`](Self::train_random_forest).
///
/// **Shape**: n rows × inputs → n rows × `probability: Float64`, between 0 and 1.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
/// use boathouse_base::Model;
/// use boathouse_serving::model::{EncoderSettings, FeatureEncoder, LinfaModel, LogisticSettings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rows = RecordBatch::try_from_iter([
///     ("hour", Arc::new(Float64Array::from(vec![6.0, 7.0, 8.0, 18.0, 19.0, 20.0])) as ArrayRef),
///     ("late", Arc::new(BooleanArray::from(vec![false, false, true, false, true, true])) as ArrayRef),
/// ])?;
/// let encoder = FeatureEncoder::fit(&[rows.clone()], &["hour"], &EncoderSettings::default())?;
/// let model = LinfaModel::train_logistic(&encoder, &[rows.clone()], "late", &LogisticSettings::default())?;
/// assert_eq!(model.predict(&rows)?.schema().field(0).name(), "probability");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct LinfaModel {
    encoder: FeatureEncoder,
    classifier: Classifier,
    signature: Signature,
}

/// Which algorithm a [`LinfaModel`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// Logistic regression.
    LogisticRegression,
    /// A random forest of decision trees.
    RandomForest,
}

impl ModelKind {
    /// The kind in snake case, as it stands in `MLmodel`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogisticRegression => "logistic_regression",
            Self::RandomForest => "random_forest",
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Classifier {
    LogisticRegression(FittedLogisticRegression<f64, bool>),
    RandomForest(Forest),
}

#[derive(Serialize, Deserialize)]
struct Stored<E, C> {
    format: u32,
    encoder: E,
    classifier: C,
}

impl LinfaModel {
    pub(super) fn new(encoder: FeatureEncoder, classifier: Classifier) -> Result<Self> {
        let width = encoder.width();
        match &classifier {
            Classifier::LogisticRegression(fitted) if fitted.params().len() != width => {
                return Err(ServingError::ModelContradiction {
                    problem: format!("it has {} weights for {width} features", fitted.params().len()),
                });
            }
            Classifier::LogisticRegression(_) => {}
            Classifier::RandomForest(forest) => forest.check(width)?,
        }
        let outputs = Arc::new(Schema::new(vec![Field::new(OUTPUT, DataType::Float64, false)]));
        let signature = Signature { inputs: encoder.inputs(), outputs };
        Ok(Self { encoder, classifier, signature })
    }

    /// The algorithm.
    pub fn kind(&self) -> ModelKind {
        match self.classifier {
            Classifier::LogisticRegression(_) => ModelKind::LogisticRegression,
            Classifier::RandomForest(_) => ModelKind::RandomForest,
        }
    }

    /// How rows become features.
    pub fn encoder(&self) -> &FeatureEncoder {
        &self.encoder
    }

    /// The weight of each feature and the intercept, on the scale of log-odds. `None` for a forest.
    pub fn weights(&self) -> Option<(Vec<(String, f64)>, f64)> {
        let Classifier::LogisticRegression(fitted) = &self.classifier else { return None };
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let weights = self.encoder.feature_names().into_iter().zip(fitted.params().iter().map(|w| sign * w)).collect();
        Some((weights, sign * fitted.intercept()))
    }

    /// The model as JSON. [`from_json`](Self::from_json) gives it back, every float bit for bit.
    ///
    /// **Errors**: [`ServingError::ModelPayload`] when a weight is not finite.
    pub fn to_json(&self) -> Result<String> {
        let stored = Stored { format: FORMAT, encoder: &self.encoder, classifier: &self.classifier };
        serde_json::to_string(&stored).map_err(|source| ServingError::ModelPayload { file: "(being written)".into(), source })
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// **Errors**: of kind `Corrupt`: [`ServingError::ModelPayload`], [`ServingError::ModelContradiction`].
    pub fn from_json(json: &str) -> Result<Self> {
        let stored: Stored<FeatureEncoder, Classifier> =
            exact_json::from_str(json).map_err(|source| ServingError::ModelPayload { file: "model.json".into(), source })?;
        if stored.format != FORMAT {
            return Err(ServingError::ModelContradiction {
                problem: format!("it has format {}, this build reads format {FORMAT}", stored.format),
            });
        }
        Self::new(stored.encoder, stored.classifier)
    }
}

impl fmt::Debug for LinfaModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinfaModel").field("kind", &self.kind()).field("features", &self.encoder.width()).finish_non_exhaustive()
    }
}

impl Model for LinfaModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, batch: &RecordBatch) -> boathouse_base::Result<RecordBatch> {
        let features = self.encoder.encode(&self.signature.inputs, batch)?;
        let probabilities = match &self.classifier {
            Classifier::LogisticRegression(model) => logistic::probabilities(model, &features),
            Classifier::RandomForest(forest) => forest.probabilities(&features),
        };
        let column: ArrayRef = Arc::new(Float64Array::from(probabilities));
        RecordBatch::try_new(Arc::clone(&self.signature.outputs), vec![column])
            .map_err(|source| ServingError::Arrow { action: "gather the predictions", source }.into())
    }
}
