//! The shared vocabulary of Boathouse.
//!
//! Crates that never import each other meet here: a stream writes to a [`StreamSink`] without knowing
//! Delta, serving asks a [`ModelCatalog`] without knowing the registry, a feature store reads a
//! [`Table`] without knowing a log.
//!
//! ```text
//!   StreamSource ──▶ stream ──▶ StreamSink        Table ──▶ TableSnapshot ──▶ BatchStream
//!                                                                │
//!   ModelCatalog ──▶ serving ◀── FeatureLookup                Predicate
//!                       │
//!                     Model
//! ```
//!
//! # What it is not
//! No I/O, no runtime, no query engine. It links Arrow's arrays and schemas, and stays within 40 packages.
//!
//! # The words
//! | word | what it is |
//! | --- | --- |
//! | [`BatchStream`] | Arrow record batches over time, with a known schema |
//! | [`Table`], [`TableSnapshot`] | a versioned table, and one version of it |
//! | [`StreamSource`], [`StreamSink`] | where a stream reads, and where it commits |
//! | [`Model`], [`ModelCatalog`], [`FeatureLookup`] | what serving needs to know of models and features |
//! | [`Predicate`], [`Value`], [`Bounds`] | which rows are meant, and what can be skipped |
//! | [`Env`], [`Clock`] | time, ids and chance |
//! | [`Progress`] | how far a long operation is |
//! | [`Error`], [`ErrorKind`], [`DomainError`] | what went wrong, and what the caller can do |
//!
//! Each trait states its contract. Feature `contract` holds a test-suite for each that an
//! implementation calls from its own tests; feature `memory` holds implementations in memory.

mod batch_stream;
#[cfg(feature = "contract")]
pub mod contract;
mod env;
mod error;
#[cfg(feature = "memory")]
pub mod memory;
mod model;
mod predicate;
mod progress;
mod sink;
mod source;
mod sql_type;
mod table;
mod value;

pub use batch_stream::{BatchStream, SchemaChanged};
pub use env::{Clock, Env, ManualClock};
pub use error::{DomainError, Error, ErrorKind, Result};
pub use model::{
    FeatureLookup, FeatureSchema, InvalidModelReference, Model, ModelCatalog, ModelReference, ResolvedModel, SharedModel,
    Signature, VersionSelector,
};
pub use predicate::{Bounds, ColumnBounds, Comparison, Predicate};
pub use progress::{Progress, ProgressEvent, ProgressObserver, ProgressUnit};
pub use sink::{CommittedEpoch, EpochCommit, EpochReport, OutputMode, SinkResolver, StreamSink};
pub use source::{Offset, PlannedBatch, ReadLimit, StreamSource};
pub use sql_type::{DECIMAL_PRECISION, is_sql_decimal, sql_decimal, sql_type};
pub use table::{
    AppTransaction, CommittedAppTransaction, IfAbsent, ScanRequest, SchemaMode, Table, TableResolver, TableSnapshot,
    TableVersion, WriteMode, WriteReport, WriteRequest,
};
pub use value::Value;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
