//! Experiments, runs, params, metrics and artifacts, for Rust and for MLflow clients.
//!
//! ```text
//!   Rust code ──▶ Tracker ─▶ RunHandle ──┐          ┌─▶ SQLite file / PostgreSQL: runs, params, metrics, tags, inputs
//!                                        ├─▶ Tracker┤
//!   mlflow (Python) ─HTTP─▶ http::router ┘          └─▶ artifact root: any location that storage opens
//!                                            │
//!                              runs_table, metrics_table ─▶ Arrow
//! ```
//!
//! # What it is not
//! It is no model registry: that is `boathouse-registry`, which knows a run only by its id. It does not read or write
//! tables; a run remembers the versions it read as inputs.
//!
//! # One story
//! ```
//! # use boathouse_base::{Env, ManualClock};
//! use boathouse_mltrack::{DatasetInput, RunSearch, RunStatus, Tracker, TrackerSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let root = folder.path().join("artifacts").display().to_string();
//! # let env = Env::new(ManualClock::starting_at_us(1_700_000_000_000_000), 1);
//! let settings = TrackerSettings { database_url: "sqlite::memory:".into(), artifact_root: root };
//! let tracker = Tracker::open(settings, env).await?;
//!
//! let run = tracker.experiment("late flights").get_or_create().await?.start_run("logistic").await?;
//! run.log_param("l2", 0.1).await?;
//! run.log_input(DatasetInput::table_version("silver", "file:///lake/silver", 12, "training")).await?;
//! for epoch in 0..3 {
//!     run.log_metric("auc", 0.6 + 0.05 * epoch as f64, epoch).await?;
//! }
//! run.log_artifact("plots/roc.svg", "<svg/>").await?;
//! let id = run.id().to_owned();
//! run.end(RunStatus::Finished).await?;
//!
//! let search = RunSearch { filter: "metrics.auc > 0.65 AND params.l2 = '0.1'".into(), ..RunSearch::default() };
//! let found = tracker.search_runs(search).await?.runs;
//! assert_eq!(found[0].info.run_id, id);
//! assert_eq!(found[0].metrics["auc"].step, 2);
//!
//! // Params never change.
//! let error = tracker.log_param(&id, "l2", "0.2").await.unwrap_err();
//! assert!(error.to_string().contains("already logged with value='0.1'"));
//! # Ok(()) }
//! ```
//!
//! # Features
//! - `http` (default): [`http::router`], the MLflow REST API.
//!
//! # What it does not do yet
//! - Logged models, traces, webhooks, and uploads in several requests of the MLflow 3 API; `log_model` of the Python client
//!   needs the first of these, and is told so with a 501.
//! - Deleted experiments and runs are kept for ever: there is no garbage collection.
//! - Artifacts of an experiment whose `artifact_location` lies outside of the artifact root are left to the client.
//! - Anyone who reaches the router may do everything: put authentication in front of it.
//!
//! Infinite metrics stay infinite; MLflow's own server stores the largest finite number instead.

mod artifact;
mod error;
mod experiment;
mod handle;
#[cfg(feature = "http")]
pub mod http;
mod limits;
mod run;
mod run_name;
mod schema;
mod store;
mod table;
mod tracker;

pub use artifact::{ArtifactEntry, ArtifactPath};
pub use error::{Error, Result};
pub use experiment::{Experiment, ExperimentPage, ExperimentSearch, NewExperiment};
pub use handle::{ExperimentBuilder, ExperimentHandle, RunHandle};
pub use run::{DatasetInput, Lifecycle, Metric, MetricPage, NewRun, Run, RunBatch, RunInfo, RunPage, RunSearch, RunStatus, View};
pub use tracker::{Tracker, TrackerSettings};
