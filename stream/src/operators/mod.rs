//! Operators that remember: what stands where a plan was cut.

mod aggregate;
mod combine;
mod distinct;
mod expiry;
mod groups;
mod join;
mod session;
mod transform_with_state;

use boathouse_base::{BatchStream, BoxFuture, OutputMode, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

pub(crate) use aggregate::Aggregation;
pub(crate) use combine::{Combine, Value};
pub(crate) use distinct::{Deduplication, Time as DeduplicationTime};
pub(crate) use expiry::{arrow, is_window};
pub(crate) use groups::{GroupColumn, Groups};
pub(crate) use join::{SidePlan, StreamJoin};
pub(crate) use session::Sessions;
pub(crate) use transform_with_state::TransformWithState;

use crate::late::LateRows;
use crate::state::Store;

/// What an operator must know about an epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochTimes {
    /// The watermark of the epoch before: rows that it has passed are late.
    pub(crate) late_us: Option<i64>,
    /// The watermark of this epoch: what it has passed is over.
    pub(crate) now_us: Option<i64>,
    /// When the epoch began, by the query's clock.
    pub(crate) processing_us: i64,
    pub(crate) mode: OutputMode,
    /// Whether late rows are wanted, or only their number.
    pub(crate) keeps_late: bool,
}

/// What an operator did in an epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Done {
    /// Rows of its state that were put in or replaced.
    pub(crate) updated: u64,
    /// Rows of its state that were over.
    pub(crate) removed: u64,
    /// Rows that came too late.
    pub(crate) late: u64,
    /// Rows without an event time, where they can be in no result.
    pub(crate) without_time: u64,
    /// How long it took, in microseconds.
    pub(crate) run_us: u64,
    /// Whether late rows are wanted.
    keeps_late: bool,
    /// Rows that came too late, when they are wanted.
    pub(crate) late_rows: Vec<LateRows>,
}

impl Done {
    pub(crate) fn begin(times: EpochTimes) -> Self {
        Self { keeps_late: times.keeps_late, ..Self::default() }
    }
}

/// An operator that remembers.
///
/// After an error its state is not to be used: it is loaded anew.
pub(crate) trait Operator: Send + Sync {
    /// What it does, as Spark's progress calls it: `stateStoreSave`, `dedupe`, `symmetricHashJoin`.
    fn kind(&self) -> &'static str;

    /// Of its result.
    fn output(&self) -> SchemaRef;

    /// The rows of its inputs in this epoch; gives its result.
    fn run<'a>(&'a mut self, inputs: Vec<BatchStream>, times: EpochTimes) -> BoxFuture<'a, Result<(Vec<RecordBatch>, Done)>>;

    /// The columns of aggregates in its stores, which may come and go.
    fn values(&self) -> &[Value] {
        &[]
    }

    /// Whether the columns of its stores that are no keys are those of rows that wait, and may go.
    fn holds_rows(&self) -> bool {
        false
    }

    /// What it remembers, by name.
    fn stores(&mut self) -> Vec<(&str, &mut Store)>;

    /// When it has something to do even if no rows come, by the query's clock: once this time has passed.
    fn wake_us(&self) -> Option<i64> {
        None
    }
}
