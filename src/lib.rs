//! Boathouse: an embeddable lakehouse and MLOps stack.
//!
//! What a data and ML team gets from a Databricks workspace, as crates that a service links, in one process, on open
//! formats. This crate only re-exports and wires: [`Lakehouse`] puts an embedded default together.
//!
//! ```text
//!   files ─▶ autoload ─▶ stream ─▶ Delta table ─▶ pipelines ─▶ feature tables
//!                                      ▲                            │
//!                                      │                     training set
//!    predictions (a table again) ◀─ serving ◀─ registry ◀─ tracked run
//! ```
//!
//! # A taste
//! ```
//! use std::sync::Arc;
//! use boathouse::Lakehouse;
//! use boathouse::autoload::{AutoLoader, ColumnTypes};
//! use boathouse::stream::StreamQuery;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let place = folder.path().to_str().ok_or("a path that is text")?;
//! let lake = Lakehouse::at(place).open().await?;
//! let landing = lake.folder("landing");
//! landing.put("day-1.jsonl", "{\"carrier\":\"AA\",\"delay\":7}\n{\"carrier\":\"UA\",\"delay\":42}\n").await?;
//!
//! // Files become committed rows, each exactly once, however often this runs.
//! let files = AutoLoader::over(landing).infer_column_types(ColumnTypes::Inferred).state(lake.folder("autoload")).open().await?;
//! let ingest = StreamQuery::named("ingest").source(Arc::new(files)).checkpoint(lake.folder("streams/ingest"));
//! ingest.sink(Arc::new(lake.delta_sink("flights"))).run_available_now().await?;
//!
//! // Delta tables are tables for SQL.
//! let late = lake.session(["flights"]).await?.sql("SELECT carrier FROM flights WHERE delay > 30").await?.collect().await?;
//! assert_eq!(late[0].num_rows(), 1);
//! # Ok(()) }
//! ```
//!
//! # Features
//! Each feature brings one crate; `full` (the default) brings all and [`Lakehouse`]. `onnx` lets serving load ONNX
//! models; `kafka` reads and writes topics; `sqs` hears of files from queues; `s3`, `azure` and `gcs` open these stores by URL.
//!
//! The whole story, on a year of real flights: `cargo run --release --example flights`.

#[cfg(feature = "full")]
mod lakehouse;
#[cfg(feature = "full")]
mod lakehouse_error;

#[cfg(feature = "autoload")]
pub use boathouse_autoload as autoload;
pub use boathouse_base as base;
#[cfg(feature = "delta")]
pub use boathouse_delta_core as delta;
#[cfg(feature = "featurestore")]
pub use boathouse_featurestore as featurestore;
#[cfg(feature = "stream")]
pub use boathouse_frames as frames;
#[cfg(feature = "mltrack")]
pub use boathouse_mltrack as mltrack;
#[cfg(feature = "pipelines")]
pub use boathouse_pipelines as pipelines;
#[cfg(feature = "registry")]
pub use boathouse_registry as registry;
#[cfg(feature = "serving")]
pub use boathouse_serving as serving;
pub use boathouse_storage as storage;
#[cfg(feature = "stream")]
pub use boathouse_stream as stream;
#[cfg(feature = "full")]
pub use lakehouse::{Lakehouse, LakehouseBuilder};
#[cfg(feature = "full")]
pub use lakehouse_error::LakehouseError;
