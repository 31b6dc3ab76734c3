//! One version of a model with everything that a request needs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use boathouse_base::{ResolvedModel, SharedModel};

use super::lookup::{BoundLookup, LookupSpec, join, request_schema};
use crate::error::{Result, ServingError};
use crate::signature::enforce;

/// Batches of up to this many rows are scored on the calling task; larger ones would hold it up.
const INLINE_ROWS: usize = 64;

/// A model version, ready to score: the one code path behind HTTP, batch and stream.
///
/// It stays what it is: an [`Endpoint`](crate::Endpoint) that swaps hands out another one.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
/// # use boathouse_serving::{Scorer, model::{EncoderSettings, FeatureEncoder, LinfaModel, LogisticSettings}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let rows = RecordBatch::try_from_iter([
/// #     ("hour", Arc::new(Float64Array::from(vec![6.0, 7.0, 8.0, 19.0])) as ArrayRef),
/// #     ("late", Arc::new(BooleanArray::from(vec![false, false, true, true])) as ArrayRef),
/// # ])?;
/// # let encoder = FeatureEncoder::fit(&[rows.clone()], &["hour"], &EncoderSettings::default())?;
/// # let model = LinfaModel::train_logistic(&encoder, &[rows.clone()], "late", &LogisticSettings::default())?;
/// let scorer = Scorer::new("late_flights", 1, Arc::new(model));
/// let predictions = scorer.predict(&rows).await?;
/// assert_eq!(predictions.num_rows(), rows.num_rows());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Scorer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    model: SharedModel,
    resolved: ResolvedModel,
    lookups: Vec<BoundLookup>,
    request: SchemaRef,
}

impl Scorer {
    /// A model at hand, under a name and version.
    pub fn new(name: impl Into<String>, version: u64, model: SharedModel) -> Self {
        let resolved = ResolvedModel { name: name.into(), version, source: String::new(), run_id: None };
        let request = Arc::clone(&model.signature().inputs);
        Self(Arc::new(Inner { model, resolved, lookups: Vec::new(), request }))
    }

    pub(crate) async fn bind(resolved: ResolvedModel, model: SharedModel, specs: &[LookupSpec]) -> Result<Self> {
        let mut lookups = Vec::with_capacity(specs.len());
        for spec in specs {
            lookups.push(BoundLookup::bind(spec, model.signature()).await?);
        }
        let request = request_schema(model.signature(), &lookups)?;
        Ok(Self(Arc::new(Inner { model, resolved, lookups, request })))
    }

    /// The registered model.
    pub fn model_name(&self) -> &str {
        &self.0.resolved.name
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.0.resolved.version
    }

    /// Name, version, source and run.
    pub fn resolved(&self) -> &ResolvedModel {
        &self.0.resolved
    }

    /// The model.
    pub fn model(&self) -> &SharedModel {
        &self.0.model
    }

    /// The columns that rows must bring: the model's inputs without looked-up features, and the keys.
    pub fn request_schema(&self) -> &SchemaRef {
        &self.0.request
    }

    /// The columns that come out.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.0.model.signature().outputs
    }

    /// Scores rows: checks their columns, looks features up, asks the model.
    ///
    /// **Shape**: n rows with the columns of [`request_schema`](Self::request_schema) → n rows × outputs.
    ///
    /// **Cost**: one lookup per feature table for the whole batch. Small batches are scored on the calling
    /// task, others on a blocking thread. May be dropped.
    ///
    /// **Errors**: `Invalid` names the column that does not fit; the kind of a failed lookup is that of its
    /// source.
    pub async fn predict(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let rows = enforce(&self.0.request, rows)?;
        self.predict_checked(rows).await
    }

    /// As [`predict`](Self::predict), for rows that have exactly the columns of the request schema.
    pub(crate) async fn predict_checked(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let inputs = join(self.0.model.signature(), &self.0.lookups, rows).await?;
        if inputs.num_rows() <= INLINE_ROWS {
            return self.ask(&inputs);
        }
        let scorer = self.clone();
        match tokio::task::spawn_blocking(move || scorer.ask(&inputs)).await {
            Ok(answer) => answer,
            Err(stopped) => Err(ServingError::Stopped { message: stopped.to_string(), panicked: stopped.is_panic() }),
        }
    }

    /// A model that panics fails its request, and nothing else.
    fn ask(&self, inputs: &RecordBatch) -> Result<RecordBatch> {
        let model = || format!("{} version {}", self.model_name(), self.version());
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| self.0.model.predict(inputs)))
            .map_err(|_| ServingError::Stopped { message: format!("{} panicked", model()), panicked: true })?
            .map_err(|source| ServingError::Predict { model: model(), source })?;
        if answer.num_rows() != inputs.num_rows() {
            return Err(ServingError::RowCount { what: model(), expected: inputs.num_rows(), found: answer.num_rows() });
        }
        Ok(answer)
    }
}
