//! Sinks that commit a micro-batch and its position in one step.

use std::fmt;
use std::sync::Arc;

use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::Result;

/// How the rows of an epoch relate to those of earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutputMode {
    /// Rows are final: they are added.
    #[default]
    Append,
    /// Rows are the whole result: they replace what is there.
    Complete,
    /// Rows replace those with the same key that an earlier epoch has given. A sink that knows no key refuses them, or adds them.
    Update,
}

/// One epoch to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochCommit {
    /// The query that writes: its identity over restarts.
    pub query_id: String,
    /// Counts up by one from 0.
    pub epoch: u64,
    /// What the query must know to go on after this epoch: offsets, watermark, state version (JSON).
    pub payload: String,
    /// How the rows relate to earlier ones.
    pub mode: OutputMode,
}

/// The last epoch that a sink holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEpoch {
    /// Its number.
    pub epoch: u64,
    /// Its payload; `None` when the sink no longer has it (its log was cleaned).
    pub payload: Option<String>,
}

/// What committing an epoch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochReport {
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files written.
    pub files: u64,
    /// The epoch had been committed before: nothing was written.
    pub skipped: bool,
    /// The version of the target that holds the epoch, where it has versions.
    pub version: Option<u64>,
}

/// Where a streaming query writes.
///
/// # Contract
/// - [`commit`](Self::commit) is atomic: rows and payload become visible together or not at all.
/// - It is idempotent: an epoch at or below the last committed one of the same query changes nothing.
/// - After a crash, [`last_epoch`](Self::last_epoch) is the single truth to recover from.
/// - Two queries with different ids do not disturb each other.
///
/// A target that cannot take rows and payload in one step instead notes what it is about to write, and says so by [`begun`](Self::begun):
/// the query then makes that epoch again, of the same rows.
///
/// The suite that checks this is `contract::sink` (feature `contract`).
pub trait StreamSink: Send + Sync + fmt::Debug {
    /// Where it writes, for progress reports: `delta[file:///bronze]`.
    fn describe(&self) -> String;

    /// The last epoch of `query_id` that was committed; `None` when there is none.
    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>>;

    /// The payload of the epoch after the last one, if it was begun and its rows may have been written in part.
    ///
    /// A sink that commits in one step has none.
    fn begun<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        let _ = query_id;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Writes the rows of an epoch and commits them with its payload.
    ///
    /// **Errors**: `Invalid` when the rows do not fit the target; `Conflict` when another writer changed
    /// it in a way that cannot be reconciled. The epoch may be tried again after either.
    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>>;
}

/// Gives streaming tables their sinks by name.
pub trait SinkResolver: Send + Sync + fmt::Debug {
    /// The sink that appends to the table of that name, and creates it if it is not there.
    ///
    /// **Errors**: `Invalid` when the name cannot be one.
    fn sink(&self, name: &str) -> Result<Arc<dyn StreamSink>>;
}
