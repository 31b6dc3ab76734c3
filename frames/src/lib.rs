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
//! # A story
//! ```
//! use std::sync::Arc;
//! use boathouse_base::memory::MemoryTable;
//! use boathouse_base::{BatchStream, Env, ManualClock, Table, TableVersion, WriteRequest};
//! use boathouse_frames::{SnapshotProvider, batch_stream};
//! use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use datafusion::prelude::SessionContext;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let delays = RecordBatch::try_from_iter([("delay", Arc::new(Int64Array::from(vec![5, 70])) as ArrayRef)])?;
//! let table = MemoryTable::new("flights", Env::new(ManualClock::default(), 1));
//! table.write(WriteRequest::append().or_create(), BatchStream::from_batches(delays.schema(), vec![delays])).await?;
//!
//! let session = SessionContext::new();
//! let snapshot = table.snapshot(TableVersion::Latest).await?;
//! session.register_table("flights", Arc::new(SnapshotProvider::new(snapshot)))?;
//! // `delay > 30` goes down to the table as a hint for skipping.
//! let late = batch_stream(session.sql("SELECT delay FROM flights WHERE delay > 30").await?).await?;
//! assert_eq!(late.collect().await?.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
//! # Ok(()) }
//! ```
//!
//! # What it is not
//! It knows no table format: any [`TableSnapshot`](boathouse_base::TableSnapshot) will do.
//!
//! # What it does not do yet
//! A scan is one partition, and says nothing about the number of its rows: the planner guesses. Nested columns, LIKE and
//! casts have no translation to a predicate.

mod error;
mod filter;
mod physical;
mod snapshot;
mod stream;

pub use error::{FrameError, find_cause, from_datafusion, into_datafusion, kind_of};
pub use filter::{pushdown, to_conjunction, to_predicate, to_value};
pub use physical::physical_expr;
pub use snapshot::SnapshotProvider;
pub use stream::{AlreadyRead, StreamProvider, batch_stream, from_engine, to_engine};
