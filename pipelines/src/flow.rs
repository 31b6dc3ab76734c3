//! Flows: how a streaming table gets its rows.

use std::fmt;
use std::sync::Arc;

use boathouse_base::{BoxFuture, Progress, Result, StreamSink};

/// What a flow is given for one update.
#[derive(Debug, Clone)]
pub struct FlowContext {
    /// Where it writes; the dataset's expectations are applied on the way.
    pub sink: Arc<dyn StreamSink>,
    /// Who is told how far it is.
    pub progress: Progress,
}

/// What a flow did in one update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowReport {
    /// Epochs committed.
    pub epochs: u64,
    /// Rows read.
    pub rows_read: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Rows that came after the watermark had closed their window.
    pub late_rows: u64,
}

/// A stream into a table, run to the end of what is there now.
pub trait Flow: Send + Sync + fmt::Debug {
    /// Datasets of the same pipeline that must be up to date before it runs.
    fn reads(&self) -> Vec<String>;

    /// Takes what is new, commits it to `context.sink`, and returns when nothing is left.
    fn run(&self, context: FlowContext) -> BoxFuture<'_, Result<FlowReport>>;
}
