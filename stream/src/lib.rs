//! The micro-batch engine: sources, transformations, watermarks, windows, sinks and exactly-once recovery.
//!
//! ```text
//!                       ┌───────────────────────────── one epoch ──────────────────────────────┐
//!   StreamSources ──▶ plan ──▶ read ──▶ segments and operators ──▶ commit(rows + position) ──▶ StreamSink
//!                       ▲              (the plan of a DataFrame               │
//!                       │               or SQL, cut where it                  │ the one truth
//!                       │               must remember)                        │
//!                       └──────────────── where the query is ◀────────────────┘
//! ```
//!
//! # What it is
//! A [`StreamQuery`] is one or more sources, a statement over them and a sink. It is opened and stepped: each [`step`](RunningQuery::step)
//! makes one *epoch*, which reads what is new, computes it, and commits rows and position in one atomic commit of the
//! sink. There is no other log: after a crash the sink says which epoch was the last. So every row counts exactly once,
//! whatever happens, and a test can [crash](CrashPoint) a query between any two of its steps. [Sinks](sinks) that cannot commit, functions and the console,
//! have a journal in the checkpoint, and get an epoch that was interrupted again as it was.
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
//! # What a statement may hold
//! Everything that needs one row at a time; joins with tables, which show their newest rows in each epoch; and what remembers:
//!
//! | operator | in modes | is over when |
//! | --- | --- | --- |
//! | `GROUP BY` with any aggregate, also over windows and over the groups of another | append, update, complete | the watermark passes the end of the window, or the event time, that is grouped by |
//! | `window(time, '10 minutes'[, '5 minutes'[, offset]])`, `window_time(window)` | | |
//! | `session_window(time, gap)`, the gap a constant or an expression | append, complete | the watermark passes the end of the session |
//! | `DISTINCT`, [`drop_duplicates`](StreamFrame::drop_duplicates) and [within the watermark](StreamFrame::drop_duplicates_within_watermark) | append, update | the watermark passes an event time of the key |
//! | [`transform_with_state`](StreamFrame::transform_with_state): a processor of one's own, with value, list and map states and timers | append, update | the processor, a time to live, or a timer says so |
//! | joins of two streams: inner, left, right, full, semi, anti | append | the watermark passes the bound in the condition; inner joins may have none |
//!
//! # What may change between two runs
//! Filters, projections, delays and limits; aggregates of a group may come or go, and one that is new counts rows from then on. Keys, windows,
//! joins and types stay: another one is refused with a [`QueryChange`] when the query is opened, before anything is read. An operator is
//! known by its kind and keys, or by the name that [`named`](StreamFrame::named) gives it.
//!
//! # Cost
//! An epoch without operators: what the sources, the statement and the sink cost, and one small write to the checkpoint.
//! Rows stream through. An operator keeps its groups, keys or waiting rows in memory, up to [`state_memory`](StreamQuery::state_memory), and beyond it in files (9 bytes
//! each stay in memory in any case). It writes those that an epoch changed to one file of the checkpoint; files are merged so that each row is written again a
//! logarithmic number of times. The first epoch of a run reads the index of
//! the state; its rows are read when their keys come.
//!
//! # What it does not do yet
//! New aggregates count rows from the change on: none is computed for rows of before. The offset of Spark's file
//! source, and what Spark's operators remember, are not taken over. Folders by column values
//! (`partitionBy`) in sinks of files. A source whose schema loses a column that the statement names stops the query.

mod checkpoint;
mod crash;
mod definition;
mod epoch;
mod error;
mod event_time;
mod evolution;
mod graph;
mod inlet;
#[cfg(feature = "kafka")]
pub mod kafka;
mod late;
mod listener;
mod operators;
mod place;
mod plan;
mod planning;
mod position;
mod progress;
mod query;
mod query_tables;
mod running;
mod session;
pub mod sinks;
pub mod sources;
mod spark;
mod state;
mod stateful;
mod transform;
mod trigger;
mod watermarks;
mod window;

pub use crash::{CrashPoint, CrashPoints};
pub use error::{Refusal, StreamError, WindowProblem};
pub use evolution::QueryChange;
pub use listener::{QueryIdle, QueryStarted, QueryTerminated, StreamListener};
pub use plan::{StreamFrame, session_window, window, window_time};
pub use progress::{Durations, EpochProgress, OperatorProgress, RunReport, SourceProgress};
pub use query::StreamQuery;
pub use query_tables::StreamingQueries;
pub use running::{RunningQuery, StepOutcome};
pub use spark::{SparkCheckpoint, SparkCheckpointError};
pub use stateful::{
    FromScalar, ListState, MapState, StateError, StateKey, StateVariable, StateVariables, StatefulProcessor,
    StatefulProcessorHandle, TimeMode, ValueState,
};
pub use trigger::Trigger;
pub use watermarks::WatermarkPolicy;
pub use window::TumblingWindow;
