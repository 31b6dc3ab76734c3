//! The gesture of Rust code that trains: experiment → run → log → end.

use std::fmt::Display;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::experiment::{Experiment, NewExperiment};
use crate::run::{DatasetInput, Metric, NewRun, Run, RunBatch, RunInfo, RunStatus};
use crate::tracker::Tracker;

/// An experiment that is named, and not read yet.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before get, create or get_or_create"]
pub struct ExperimentBuilder {
    tracker: Tracker,
    new: NewExperiment,
}

impl Tracker {
    /// Names an experiment.
    pub fn experiment(&self, name: impl Into<String>) -> ExperimentBuilder {
        ExperimentBuilder { tracker: self.clone(), new: NewExperiment { name: name.into(), ..NewExperiment::default() } }
    }

    /// The handle of a run that exists, to log more to it.
    ///
    /// **Errors**: `NotFound`.
    pub async fn run(&self, run_id: &str) -> Result<RunHandle> {
        let info = self.get_run_info(run_id).await?;
        Ok(RunHandle { tracker: self.clone(), run_id: info.run_id, experiment_id: info.experiment_id })
    }
}

impl ExperimentBuilder {
    /// A tag that a new experiment gets.
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.new.tags.push((key.into(), value.into()));
        self
    }

    /// The experiment of this name.
    ///
    /// **Errors**: `NotFound`.
    pub async fn get(self) -> Result<ExperimentHandle> {
        let experiment = self.tracker.get_experiment_by_name(&self.new.name).await?;
        Ok(ExperimentHandle { tracker: self.tracker, experiment })
    }

    /// A new experiment of this name.
    ///
    /// **Errors**: `AlreadyExists`; `Invalid` for a name over the limits.
    pub async fn create(self) -> Result<ExperimentHandle> {
        let experiment = self.tracker.create_experiment(self.new).await?;
        Ok(ExperimentHandle { tracker: self.tracker, experiment })
    }

    /// The experiment of this name, made if it is not there. Of many that call this at once, one makes it.
    ///
    /// **Errors**: `Invalid` for a name over the limits.
    pub async fn get_or_create(self) -> Result<ExperimentHandle> {
        match self.tracker.get_experiment_by_name(&self.new.name).await {
            Ok(experiment) => return Ok(ExperimentHandle { tracker: self.tracker, experiment }),
            Err(Error::NoExperimentNamed { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.clone().create().await {
            Err(Error::ExperimentExists { .. }) => self.get().await,
            done => done,
        }
    }
}

/// An experiment that was read.
#[derive(Debug, Clone)]
pub struct ExperimentHandle {
    tracker: Tracker,
    experiment: Experiment,
}

impl ExperimentHandle {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.experiment.experiment_id
    }

    /// The experiment, as it was when it was read.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Begins a run.
    ///
    /// **Errors**: `Invalid` when the experiment was deleted.
    pub async fn start_run(&self, name: impl Into<String>) -> Result<RunHandle> {
        self.start_run_with(NewRun { run_name: Some(name.into()), ..NewRun::default() }).await
    }

    /// Begins a run with tags, a user, or a start time.
    ///
    /// **Errors**: as [`start_run`](Self::start_run).
    pub async fn start_run_with(&self, new: NewRun) -> Result<RunHandle> {
        let run = self.tracker.create_run(self.id(), new).await?;
        Ok(RunHandle { tracker: self.tracker.clone(), run_id: run.info.run_id, experiment_id: run.info.experiment_id })
    }
}

/// A run to log to. Every call is in the database when it returns.
///
/// Dropping a handle does nothing: the run stays `RUNNING` until somebody calls [`end`](Self::end), here or elsewhere. That
/// way a process that died can be told from one that finished. The future of any call may be dropped: the call then
/// happened or not, as a whole.
#[derive(Debug, Clone)]
pub struct RunHandle {
    tracker: Tracker,
    run_id: String,
    experiment_id: String,
}

impl RunHandle {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.run_id
    }

    /// The experiment it belongs to.
    pub fn experiment_id(&self) -> &str {
        &self.experiment_id
    }

    /// The tracker it belongs to.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Everything it holds by now.
    ///
    /// **Errors** (all calls): `NotFound` without such a run; `Invalid` when it was deleted or a limit is passed;
    /// `Unavailable` when the database does not answer.
    pub async fn get(&self) -> Result<Run> {
        self.tracker.get_run(&self.run_id).await
    }

    /// Logs a param. Params never change; the same value again is fine.
    ///
    /// **Errors**: `Invalid` when it was logged with another value.
    pub async fn log_param(&self, key: &str, value: impl Display) -> Result<()> {
        self.tracker.log_param(&self.run_id, key, &value.to_string()).await
    }

    /// Logs many params: all of them, or none.
    pub async fn log_params<K: Into<String>, V: Display>(&self, params: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        let params = params.into_iter().map(|(key, value)| (key.into(), value.to_string())).collect();
        self.tracker.log_batch(&self.run_id, RunBatch { params, ..RunBatch::default() }).await
    }

    /// Logs a point of a metric, now.
    pub async fn log_metric(&self, key: &str, value: f64, step: i64) -> Result<()> {
        self.tracker.log_metric(&self.run_id, Metric::new(key, value, self.tracker.now_ms(), step)).await
    }

    /// Logs one point each of many metrics, now: all of them, or none.
    pub async fn log_metrics<K: Into<String>>(&self, metrics: impl IntoIterator<Item = (K, f64)>, step: i64) -> Result<()> {
        let now = self.tracker.now_ms();
        let metrics = metrics.into_iter().map(|(key, value)| Metric::new(key, value, now, step)).collect();
        self.tracker.log_batch(&self.run_id, RunBatch { metrics, ..RunBatch::default() }).await
    }

    /// Logs metrics, params and tags together: all of it, or nothing.
    pub async fn log_batch(&self, batch: RunBatch) -> Result<()> {
        self.tracker.log_batch(&self.run_id, batch).await
    }

    /// Sets a tag, or changes it.
    pub async fn set_tag(&self, key: &str, value: impl Display) -> Result<()> {
        self.tracker.set_tag(&self.run_id, key, &value.to_string()).await
    }

    /// Remembers which data it read.
    pub async fn log_input(&self, input: DatasetInput) -> Result<()> {
        self.tracker.log_inputs(&self.run_id, &[input]).await
    }

    /// Writes an artifact.
    pub async fn log_artifact(&self, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.tracker.log_artifact(&self.run_id, path, bytes).await
    }

    /// The folder of its artifacts as a URL that storage can open.
    pub async fn artifact_location(&self) -> Result<String> {
        self.tracker.artifact_location(&self.run_id).await
    }

    /// Ends it now.
    pub async fn end(self, status: RunStatus) -> Result<RunInfo> {
        self.tracker.end_run(&self.run_id, status).await
    }
}
