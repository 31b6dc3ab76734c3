//! Logistic regression, by linfa.

use arrow_array::RecordBatch;
use linfa::prelude::{DatasetBase, Fit};
use linfa_logistic::{FittedLogisticRegression, LogisticRegression};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::FeatureEncoder;
use super::linfa_model::{Classifier, LinfaModel};
use super::training::TrainingRows;
use crate::error::{Result, ServingError};

const KIND: &str = "logistic regression";

/// How [`LinfaModel::train_logistic`] learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogisticSettings {
    /// L2 regularisation of the sum of losses; 0 for none.
    pub l2: f64,
    /// Steps of L-BFGS at most.
    pub max_iterations: u32,
    /// Stops when the gradient of the mean loss is this small.
    pub gradient_tolerance: f64,
}

impl Default for LogisticSettings {
    fn default() -> Self {
        Self { l2: 1.0, max_iterations: 60, gradient_tolerance: 1e-6 }
    }
}

impl LogisticSettings {
    fn check(&self) -> Result<()> {
        let wrong = |setting, expected, found: String| Err(ServingError::TrainSetting { kind: KIND, setting, expected, found });
        if !(self.l2.is_finite() && self.l2 >= 0.0) {
            return wrong("l2", "0 or more", self.l2.to_string());
        }
        if self.max_iterations == 0 {
            return wrong("max_iterations", "1 or more", "0".into());
        }
        if !(self.gradient_tolerance.is_finite() && self.gradient_tolerance > 0.0) {
            return wrong("gradient_tolerance", "above 0", self.gradient_tolerance.to_string());
        }
        Ok(())
    }
}

impl LinfaModel {
    /// Trains a logistic regression for a label of true and false (or 1 and 0).
    ///
    /// **Cost**: a few passes over rows × features of `f64` per iteration; the matrix is held in memory.
    ///
    /// **Errors**: all of kind `Invalid`: a label that is neither, a single class, a setting out of range,
    /// or an optimiser that found no way down.
    ///
    /// **Source**: linfa-logistic; Liu, Nocedal, "On the limited memory BFGS method", 1989.
    pub fn train_logistic(
        encoder: &FeatureEncoder,
        batches: &[RecordBatch],
        label: &str,
        settings: &LogisticSettings,
    ) -> Result<Self> {
        settings.check()?;
        let TrainingRows { features, labels, .. } = TrainingRows::new(KIND, encoder, batches, label)?;
        let (rows, width) = features.dim();
        #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
        let tolerance = settings.gradient_tolerance * rows as f64;
        let data = DatasetBase::new(features, Array1::from(labels));
        let fitted = LogisticRegression::default()
            .alpha(settings.l2)
            .max_iterations(u64::from(settings.max_iterations))
            .gradient_tolerance(tolerance)
            .fit(&data)
            .map_err(|e| ServingError::Train { kind: KIND, rows, features: width, source: Box::new(e) })?;
        Self::new(encoder.clone(), Classifier::LogisticRegression(fitted))
    }
}

/// The probability that the label is true.
pub(super) fn probabilities(model: &FittedLogisticRegression<f64, bool>, features: &Array2<f64>) -> Vec<f64> {
    // linfa calls the more frequent class positive.
    let positive = model.labels().pos.class;
    let scores = model.predict_probabilities(features);
    scores.into_iter().map(|p| if positive { p } else { 1.0 - p }).collect()
}
