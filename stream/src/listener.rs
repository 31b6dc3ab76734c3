//! Whoever wants to know what queries do.

use boathouse_base::{DomainError, ErrorKind};

use crate::error::StreamError;
use crate::progress::EpochProgress;
use crate::running::RunningQuery;

/// An idle query says so at most once in this time.
///
/// **Source**: Spark, `spark.sql.streaming.noDataProgressEventInterval`.
const IDLE_EVERY_US: u64 = 10_000_000;

/// Is told what becomes of a query. One listener may listen to many; it is called where the query runs, and should return soon.
///
/// **Source**: Spark, `StreamingQueryListener`.
pub trait StreamListener: Send + Sync {
    /// A run has begun: the query knows where it was.
    fn on_query_started(&self, event: &QueryStarted);

    /// An epoch was committed.
    fn on_query_progress(&self, progress: &EpochProgress);

    /// The run has found nothing to do. Told when it first happens after an epoch that is ten seconds old, and every ten seconds.
    fn on_query_idle(&self, event: &QueryIdle) {
        let _ = event;
    }

    /// The run is over: its handle was dropped.
    fn on_query_terminated(&self, event: &QueryTerminated);
}

/// A run has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryStarted {
    /// The query, over all its runs.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The name of the query.
    pub name: String,
    /// When, in microseconds since the Unix epoch (UTC).
    pub timestamp_us: i64,
}

/// A run has found nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryIdle {
    /// The query, over all its runs.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// When, in microseconds since the Unix epoch (UTC).
    pub timestamp_us: i64,
}

/// A run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryTerminated {
    /// The query, over all its runs.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// When, in microseconds since the Unix epoch (UTC).
    pub timestamp_us: i64,
    /// What its last step failed with; `None` when it did not fail.
    pub exception: Option<String>,
    /// The kind of that error.
    pub kind: Option<ErrorKind>,
}

/// What a run has told its listeners, and has yet to tell.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The error of the last step.
    failure: Option<(ErrorKind, String)>,
    /// When an epoch was made, or idleness told.
    last_us: Option<u64>,
}

impl RunningQuery {
    pub(crate) fn tell_started(&self) {
        let event = QueryStarted {
            id: self.query_id.clone(),
            run_id: self.run_id.clone(),
            name: self.definition.name.clone(),
            timestamp_us: self.definition.env.now_us(),
        };
        self.definition.listeners.iter().for_each(|listener| listener.on_query_started(&event));
    }

    pub(crate) fn tell_progress(&mut self, progress: &EpochProgress) {
        self.told.last_us = Some(self.definition.env.monotonic_us());
        self.definition.listeners.iter().for_each(|listener| listener.on_query_progress(progress));
    }

    pub(crate) fn tell_idle(&mut self) {
        let now_us = self.definition.env.monotonic_us();
        if self.told.last_us.is_some_and(|last_us| now_us.saturating_sub(last_us) < IDLE_EVERY_US) {
            return;
        }
        self.told.last_us = Some(now_us);
        let event =
            QueryIdle { id: self.query_id.clone(), run_id: self.run_id.clone(), timestamp_us: self.definition.env.now_us() };
        self.definition.listeners.iter().for_each(|listener| listener.on_query_idle(&event));
    }

    /// Remembers how a step ended, for the end of the run.
    pub(crate) fn noted<T>(&mut self, result: Result<T, StreamError>) -> Result<T, StreamError> {
        self.told.failure = result.as_ref().err().map(|error| (error.kind(), error.to_string()));
        result
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        let (kind, exception) = self.told.failure.take().unzip();
        let event = QueryTerminated {
            id: self.query_id.clone(),
            run_id: self.run_id.clone(),
            timestamp_us: self.definition.env.now_us(),
            exception,
            kind,
        };
        self.definition.listeners.iter().for_each(|listener| listener.on_query_terminated(&event));
    }
}
