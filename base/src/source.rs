//! Sources that a stream reads incrementally.

use std::fmt;

use arrow_schema::SchemaRef;

use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::Result;

/// A position in a [`StreamSource`]: text (JSON by convention) that only its source understands.
///
/// Everything before it has been read. Offsets are stored in commits, so they stay small.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offset(String);

impl Offset {
    /// An offset from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much one micro-batch may take. The first limit that is reached wins; one unit is always admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadLimit {
    /// At most so many files (Spark's `maxFilesPerTrigger`).
    pub files: Option<u64>,
    /// About so many bytes (Spark's `maxBytesPerTrigger`).
    pub bytes: Option<u64>,
    /// About so many rows, for sources that know them before they are read: memory cuts exactly, Kafka by offsets, the rate source by whole
    /// batches, a Delta table by whole files whose statistics count their rows. Auto Loader does not look at it.
    pub rows: Option<u64>,
}

/// What the next micro-batch will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBatch {
    /// Where it ends: `read(start, end)` gives its rows.
    pub end: Offset,
    /// Files in it, where the source has files.
    pub files: u64,
    /// Bytes in it, where known.
    pub bytes: u64,
    /// Whether a limit left more to read: `available_now` plans again at once.
    pub more: bool,
}

/// Data that grows, and can be read again from any committed position.
///
/// # Contract
/// - [`plan`](Self::plan) never goes backwards, and the positions it returns stay valid over restarts:
///   what it discovered is durable *before* it returns.
/// - [`read`](Self::read) of the same range gives the same rows, in the same order, as often as it is
///   called, on any later instance of the source over the same state.
/// - `read(a, b)` followed by `read(b, c)` gives exactly the rows of `read(a, c)`.
/// - [`commit`](Self::commit) is advice: the range is safe downstream. It may be lost, and repeated.
///
/// The schema of [`read`](Self::read) may have more columns in a later range than in an earlier one.
///
/// The suite that checks this is `contract::source` (feature `contract`).
pub trait StreamSource: Send + Sync + fmt::Debug {
    /// What it reads, for progress reports: `autoload[file:///landing]`.
    fn describe(&self) -> String;

    /// The columns that its rows have, when it knows them before it is read.
    ///
    /// **Errors**: `Unavailable` from the store.
    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The next range after `start` (`None`: from the beginning). `None` when there is nothing new.
    ///
    /// **Errors**: `Invalid` when `start` is not an offset of this source; `Unavailable` from the store.
    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>>;

    /// The rows after `start` up to and including `end`.
    ///
    /// **Errors**: `NotFound` when data of the range is gone; `Invalid` when the range is not one.
    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>>;

    /// Everything up to `end` is committed downstream.
    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>>;
}
