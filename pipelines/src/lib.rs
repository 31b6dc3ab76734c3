//! Declarative pipelines: say what each dataset is, and an update brings all of them up to date.
//!
//! ```text
//!    declared in Rust            ordered                      run
//!
//!    Dataset ─┐                                    ┌─ streaming table ─▶ epochs of a stream ─┐
//!    Dataset ─┼─▶ PipelineBuilder ─▶ Pipeline ─▶ Update ─ materialized view ─▶ one overwrite ─┼─▶ tables
//!    Dataset ─┘      (build)           │           └─ view ─▶ a name in the session          │
//!                                      ▼                     expectations: warn, drop, fail ──┘─▶ event log
//!                           cycles and unknown names
//!                           are errors, before any I/O
//! ```
//!
//! # What it is
//! A [`Pipeline`] is a graph of [`Dataset`]s. What a dataset reads is found by parsing its SQL. An
//! [`Update`] computes each dataset that is not up to date, in order, each in one atomic commit; checks its
//! [`Expectation`]s on the way; and appends what happened to an event log table.
//!
//! # What it is not
//! Not a scheduler: it runs when it is told to. Not a SQL dialect: pipelines are declared in Rust. It does not know
//! Delta: tables and sinks are handed in by name through traits of `boathouse_base`.
//!
//! # A story
//! ```
//! use std::sync::Arc;
//! use boathouse_pipelines::{Dataset, OnViolation, Pipeline, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::named("flights")
//!     .external(["bronze"])
//!     .dataset(
//!         Dataset::materialized_view("silver", Query::sql("SELECT carrier, CAST(delay AS DOUBLE) AS delay FROM bronze"))
//!             .expect("plausible", "delay BETWEEN -120 AND 1500", OnViolation::Drop),
//!     )
//!     .dataset(Dataset::materialized_view("gold", Query::sql("SELECT carrier, avg(delay) AS delay FROM silver GROUP BY carrier")))
//!     .build()?;
//! assert_eq!(pipeline.order().collect::<Vec<_>>(), ["silver", "gold"]);
//! # Ok(()) }
//! ```
//! `pipeline.update(target).run().await` then computes silver and gold, or finds that both are up to date.
//!
//! # Cost
//! An update that finds everything up to date opens each table once and reads no rows. A materialized view is computed
//! whole. Expectations are evaluated in one pass over the rows that are written.
//!
//! # What it does not do yet
//! Incremental refresh of materialized views, quarantine tables, AUTO CDC, continuous mode, retries, datasets in
//! parallel. Expectations of streaming tables are counted for the epochs of the update at hand.

mod dataset;
mod error;
mod event_log;
mod expectation;
mod flow;
mod graph;
mod guarded_sink;
mod pipeline;
mod report;
mod stream_flow;
mod update;

pub use dataset::{Dataset, Query};
pub use error::PipelineError;
pub use event_log::event_log_schema;
pub use expectation::{Expectation, ExpectationCount, OnViolation};
pub use flow::{Flow, FlowContext, FlowReport};
pub use pipeline::{Pipeline, PipelineBuilder, Target};
pub use report::{DatasetReport, DatasetStatus, UpdateReport};
pub use stream_flow::StreamFlow;
pub use update::Update;
