//! The micro-batch engine: sources, transformations, watermarks, windows, sinks and exactly-once recovery.
//!
//! ```text
//!                      ┌───────────────────────── one epoch ─────────────────────────┐
//!   StreamSource ──▶ plan ──▶ read ──▶ transform ──▶ window ──▶ commit(rows + position) ──▶ StreamSink
//!                      ▲              (DataFrame     (watermark,          │
//!                      │               or SQL)        state)              │ the one truth
//!                      └────────────── where the query is ◀───────────────┘
//! ```
//!
//! # What it is
//! A [`StreamQuery`] is a source, a transformation and a sink. It is opened and stepped: each [`step`](RunningQuery::step)
//! makes one *epoch*, which reads what is new, computes it, and commits rows and position in one atomic commit of the
//! sink. There is no other log: after a crash the sink says which epoch was the last. So every row counts exactly once,
//! whatever happens, and a test can [crash](CrashPoint) a query between any two of its steps.
//!
//! Plans stay resident: an epoch costs a few milliseconds, not a run of the planner.
//!
//! # What it is not
//! Not a cluster, not a scheduler, and no source or sink: those are traits of `boathouse_base` that are handed in. It
//! starts no threads and no tasks of its own: whoever awaits a step runs it.
//!
//! # A story
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use boathouse_base::memory::{MemorySink, MemorySource};
//! use boathouse_storage::Storage;
//! use boathouse_stream::{StreamQuery, TumblingWindow};
//! use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampSecondArray};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let departures = RecordBatch::try_from_iter([
//!     ("at", Arc::new(TimestampSecondArray::from(vec![10, 700, 3_700, 9_000])) as ArrayRef),
//!     ("origin", Arc::new(StringArray::from(vec!["JFK", "JFK", "LGA", "JFK"]))),
//! ])?;
//! let (source, sink) = (MemorySource::new(departures.schema()), MemorySink::new());
//! source.push(departures)?;
//!
//! let hourly = StreamQuery::named("hourly departures")
//!     .source(Arc::new(source.clone()))
//!     .sql("SELECT at, origin FROM source WHERE origin <> 'EWR'")
//!     .watermark("at", Duration::from_secs(600))
//!     .window(TumblingWindow::over("at", Duration::from_secs(3_600)).by(["origin"]).count("flights"))
//!     .sink(Arc::new(sink.clone()))
//!     .checkpoint(Storage::memory());
//!
//! let report = hourly.clone().run_available_now().await?;
//! assert_eq!((report.input_rows, report.output_rows), (4, 2), "the hours of 0:00 and 1:00 are over, that of 2:00 is not");
//! let again = hourly.run_available_now().await?;
//! assert_eq!(again.epochs, 0, "nothing is new");
//! # Ok(()) }
//! ```
//!
//! # Cost
//! An epoch without windows: what the source, the transformation and the sink cost, and one small write to the checkpoint.
//! Rows stream through. With windows: the groups of the windows that an epoch touches are in memory and are written to
//! one file of the checkpoint; the other windows are not rewritten (all are, once in about eight epochs).
//!
//! # What it does not do yet
//! Sliding and session windows, joins of two streams, removing duplicates, update mode, more than one source, a side
//! output of late rows, state that spills to disk, transformations after a window. A watermark of a query without a
//! window is only reported. A source whose schema loses a column that the transformation names stops the query.

mod checkpoint;
mod crash;
mod error;
mod event_time;
mod inlet;
mod position;
mod progress;
mod query;
mod running;
mod session;
mod transform;
mod trigger;
mod window;
mod window_plan;
mod window_state;

pub use crash::{CrashPoint, CrashPoints};
pub use error::{StreamError, WindowProblem};
pub use progress::{Durations, EpochProgress, RunReport, StateProgress};
pub use query::StreamQuery;
pub use running::{RunningQuery, StepOutcome};
pub use trigger::Trigger;
pub use window::TumblingWindow;
