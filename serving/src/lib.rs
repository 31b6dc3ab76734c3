//! Models behind endpoints: batch, stream and HTTP scoring.
//!
//! ```text
//!   training rows ──▶ FeatureEncoder ──▶ LinfaModel ──▶ ModelFiles ──▶ a folder (MLmodel, model.json)
//!                                                                          ▲
//!   ModelCatalog ("models:/late/Production") ──resolve──▶ version ─────────┘ load
//!                                                            │
//!   FeatureLookup ──features by key──▶  Endpoint ──pins──▶ Scorer ──▶ HTTP, stream, table
//! ```
//!
//! An [`Endpoint`] follows a stage or alias of a catalog, and changes to a new version without dropping a
//! request. A [`Scorer`] is one version, pinned: HTTP, streams and tables all go through it, so they
//! answer with the same bits.
//!
//! # What it is not
//! Not a registry and not a feature store: it meets both in traits of `boathouse_base`. It knows no
//! Parquet and no query engine: rows come in as Arrow, from whoever reads them.
//!
//! # A story
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
//! use boathouse_serving::model::{EncoderSettings, FeatureEncoder, LinfaModel, LogisticSettings};
//! use boathouse_serving::{Endpoint, http};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let flights = RecordBatch::try_from_iter([
//!     ("hour", Arc::new(Float64Array::from(vec![6.0, 7.0, 8.0, 18.0, 19.0, 20.0])) as ArrayRef),
//!     ("late", Arc::new(BooleanArray::from(vec![false, false, true, false, true, true])) as ArrayRef),
//! ])?;
//! let encoder = FeatureEncoder::fit(&[flights.clone()], &["hour"], &EncoderSettings::default())?;
//! let model = LinfaModel::train_logistic(&encoder, &[flights], "late", &LogisticSettings::default())?;
//!
//! let endpoint = Endpoint::builder("late").model("late_flights", 1, Arc::new(model)).open().await?;
//! let listening = http::bind("127.0.0.1:0").await?;
//! println!("POST {}/invocations", listening.url());
//! listening.serve(http::router(endpoint), async { /* resolves when it is time to stop */ }).await?;
//! # Ok(()) }
//! ```
//!
//! # Flavors of models
//! | flavor | what it is | feature |
//! | --- | --- | --- |
//! | `linfa` | logistic regression and random forest, with their preprocessing | (none) |
//! | `onnx` | a graph, run by tract | `onnx` |
//!
//! # What it does not do yet
//! - Regression and several classes: [`model::LinfaModel`] gives the probability of one yes or no.
//! - Split or mirror traffic between versions, limit rates, batch requests of several callers together.
//! - Keep a log of requests and answers as a table.
//! - The Open Inference Protocol V2, gRPC, and compressed bodies.
//! - Leave `params` of a request to the model: they are checked to be an object, then dropped.

mod endpoint;
mod error;
mod exact_json;
pub mod http;
pub mod model;
pub mod request;
mod score;
pub mod signature;

pub use endpoint::{Endpoint, EndpointBuilder, EndpointStatus, FirstModel, Polling, Refreshed, Scorer};
pub use error::ServingError;
pub use score::{MODEL_NAME_COLUMN, MODEL_VERSION_COLUMN, ScoreReport, ScoreTable};
