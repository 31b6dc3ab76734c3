//! Registered models, versions, stages and aliases, for Rust and for MLflow clients.
//!
//! ```text
//!   a run's artifacts ──▶ create_version ──▶ None ──▶ Staging ──▶ Production ──▶ Archived
//!                                                        │  gate: metrics in,
//!                                                        ▼  moved or refused out
//!   serving ◀── ModelCatalog: models:/name/3, models:/name/Production, models:/name@champion, models:/name/latest
//! ```
//!
//! # What it is not
//! It holds no files and no metrics: a version points to a folder and names a run, and the gate is handed its metrics. It does
//! not load or run models: that is `boathouse-serving`.
//!
//! # One story
//! ```
//! # use boathouse_base::{Env, ManualClock};
//! use boathouse_registry::{Error, Gate, NewVersion, Registry, RegistrySettings, Stage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let env = Env::new(ManualClock::starting_at_us(1_700_000_000_000_000), 1);
//! let registry = Registry::open(RegistrySettings { database_url: "sqlite::memory:".into() }, env).await?;
//! registry.create_model("late_flights", None, &[]).await?;
//! for source in ["file:///models/a", "file:///models/b"] {
//!     registry.create_version("late_flights", NewVersion { source: source.into(), ..NewVersion::default() }).await?;
//! }
//!
//! // Version 1 passes its gate; version 2 has to beat it.
//! let gate = Gate::new([("auc", 0.71)]).at_least("auc", 0.6);
//! registry.promote("late_flights", 1, Stage::Production).require(gate).by("ci").run().await?;
//!
//! let gate = Gate::new([("auc", 0.69)]).better_than([("auc", 0.71)]).by("auc", 0.0);
//! let error = registry.promote("late_flights", 2, Stage::Production).require(gate).compared_with(Some(1)).run().await.unwrap_err();
//! let Error::Refused { failures, .. } = error else { panic!("{error}") };
//! assert_eq!(failures[0].metric, "auc");
//! assert_eq!((failures[0].found, failures[0].rival), (Some(0.69), Some(0.71)));
//!
//! let serving = registry.find(&"models:/late_flights/Production".parse()?).await?;
//! assert_eq!(serving.version, 1);
//! # Ok(()) }
//! ```
//!
//! # Features
//! - `http` (default): [`http::router`], the MLflow REST API.
//!
//! # What it does not do yet
//! - Webhooks, transition requests with approval, comments, and rights per stage.
//! - Versions that point to a logged model (`models:/m-…`): the source is kept as it is given.
//! - Prompts have no calls of their own: they are models with MLflow's tag, and hidden from searches that do not ask for them.
//! - Anyone who reaches the router may do everything: put authentication in front of it.

mod catalog;
mod error;
mod gate;
#[cfg(feature = "http")]
pub mod http;
mod limits;
mod model;
mod promotion;
mod registry;
mod schema;
mod stage;
mod store;

pub use error::{Error, Result};
pub use gate::{Gate, GateFailure, Needed};
pub use model::{Found, ModelVersion, NewVersion, RegisteredModel, Search, Transition};
pub use promotion::{Promotion, PromotionReport};
pub use registry::{Registry, RegistrySettings};
pub use stage::{Existing, Stage};
