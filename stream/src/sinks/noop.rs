//! A sink that reads all rows and keeps none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, Result, StreamSink};

/// Reads all rows and keeps none; remembers the last epoch of each query as long as it is there. Clones are one sink.
///
/// For measurements, and for queries whose effect is in a function. **Source**: Spark's `noop`.
#[derive(Debug, Clone, Default)]
pub struct NoopSink(Arc<Mutex<BTreeMap<String, CommittedEpoch>>>);

impl NoopSink {
    /// A sink that holds no epoch.
    pub fn new() -> Self {
        Self::default()
    }

    fn last(&self, query_id: &str) -> Option<CommittedEpoch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(query_id).cloned()
    }

    async fn drain(&self, epoch: EpochCommit, mut data: BatchStream) -> Result<EpochReport> {
        let mut report = EpochReport::default();
        if self.last(&epoch.query_id).is_some_and(|last| last.epoch >= epoch.epoch) {
            return Ok(EpochReport { skipped: true, ..report });
        }
        while let Some(batch) = data.next().await {
            report.rows += batch?.num_rows() as u64;
        }
        let committed = CommittedEpoch { epoch: epoch.epoch, payload: Some(epoch.payload) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch.query_id, committed);
        Ok(report)
    }
}

impl StreamSink for NoopSink {
    fn describe(&self) -> String {
        "noop".to_owned()
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(std::future::ready(Ok(self.last(query_id))))
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(self.drain(epoch, data))
    }
}
