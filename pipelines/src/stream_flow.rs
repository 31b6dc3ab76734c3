//! A streaming query as a flow.

use std::fmt;
use std::sync::Arc;

use boathouse_base::{BoxFuture, Result};
use boathouse_stream::StreamQuery;

use crate::flow::{Flow, FlowContext, FlowReport};

/// Runs a [`StreamQuery`] to the end of what its source has now.
///
/// The query is given everything but its sink: the pipeline hands in that of the dataset.
#[derive(Clone)]
pub struct StreamFlow {
    query: StreamQuery,
    reads: Vec<String>,
}

impl StreamFlow {
    /// A flow whose source lies outside of the pipeline.
    pub fn new(query: StreamQuery) -> Self {
        Self { query, reads: Vec::new() }
    }

    /// Names datasets of the pipeline that the source follows: they are brought up to date first.
    #[must_use]
    pub fn reads(mut self, datasets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.reads.extend(datasets.into_iter().map(Into::into));
        self
    }
}

impl fmt::Debug for StreamFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFlow").field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl Flow for StreamFlow {
    fn reads(&self) -> Vec<String> {
        self.reads.clone()
    }

    fn run(&self, context: FlowContext) -> BoxFuture<'_, Result<FlowReport>> {
        let query = self.query.clone().sink(Arc::clone(&context.sink)).with_progress(context.progress);
        Box::pin(async move {
            let report = query.run_available_now().await?;
            Ok(FlowReport {
                epochs: report.epochs,
                rows_read: report.input_rows,
                rows_written: report.output_rows,
                late_rows: report.late_rows,
            })
        })
    }
}
