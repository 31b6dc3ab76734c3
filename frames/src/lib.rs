//! The border between Boathouse and DataFusion.
//!
//! ```text
//!   base::TableSnapshot ──▶ SnapshotProvider ──▶ DataFusion ──▶ batch_stream ──▶ base::BatchStream
//!   base::BatchStream   ──▶ StreamProvider   ──▶     │
//!   base::Predicate     ◀── to_predicate     ◀── filters
//! ```
//!
//! Crates that compute with DataFusion (stream, featurestore, pipelines, delta-core) cross here, and only here: one
//! translation of filters, one of errors.
//!
//! # What it is not
//! It knows no table format: any [`TableSnapshot`](boathouse_base::TableSnapshot) will do.

mod error;
mod filter;
mod snapshot;
mod stream;

pub use error::{FrameError, from_datafusion, into_datafusion, kind_of};
pub use filter::{to_conjunction, to_predicate, to_value};
pub use snapshot::SnapshotProvider;
pub use stream::{AlreadyRead, StreamProvider, batch_stream, from_engine, to_engine};
