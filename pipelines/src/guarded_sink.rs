//! A sink that lets only those rows through that meet a dataset's expectations.

use std::fmt;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, Result, StreamSink};
use datafusion::prelude::SessionContext;

use crate::expectation::{Counts, Expectation, Guard};

/// Wraps a sink. An epoch that the inner sink skips, because it had been committed, is not counted again: its rows
/// are not read.
pub(crate) struct GuardedSink {
    pub(crate) inner: Arc<dyn StreamSink>,
    pub(crate) session: SessionContext,
    pub(crate) dataset: String,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) counts: Arc<Counts>,
}

impl fmt::Debug for GuardedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedSink").field("dataset", &self.dataset).field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl StreamSink for GuardedSink {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        self.inner.last_epoch(query_id)
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(async move {
            let guard = Guard::compile(&self.session, &self.dataset, &self.expectations, &data.schema())?;
            self.inner.commit(epoch, guard.apply(data, Arc::clone(&self.counts))).await
        })
    }
}
