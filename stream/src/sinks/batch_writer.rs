//! Writers that take an epoch without being able to commit it in one step.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, DomainError, Error, OutputMode, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::error::SinkError;

/// The rows of an epoch, and what tells it from every other one.
///
/// An epoch that a crash has interrupted comes again with the same number and the same rows. A target that remembers
/// ([`query_id`](Self::query_id), [`epoch`](Self::epoch)) has each row once: a Delta table does, by `txn`.
#[derive(Debug)]
pub struct EpochBatch {
    /// The query: its identity over restarts.
    pub query_id: String,
    /// Counts up by one from 0 (Spark's `batchId`).
    pub epoch: u64,
    /// Whether the epoch was begun before: some or all of its rows may be there.
    pub again: bool,
    /// How the rows relate to earlier ones.
    pub mode: OutputMode,
    /// Computed as they are read; what is not read is not computed.
    pub rows: BatchStream,
}

impl EpochBatch {
    /// The columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// All rows in memory, to be written to more than one place.
    ///
    /// **Errors**: what computing them gives.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.rows.collect().await
    }
}

/// Takes one epoch after another, each at least once. [`JournaledSink`](super::JournaledSink) makes a sink of it.
pub trait BatchWriter: Send + Sync + fmt::Debug {
    /// Where it writes, for progress reports: `console`.
    fn describe(&self) -> String;

    /// Writes the rows of an epoch. When it returns they must be safe.
    ///
    /// **Errors**: any; the epoch comes again.
    fn write(&self, batch: EpochBatch) -> BoxFuture<'_, Result<()>>;
}

type Function = dyn Fn(EpochBatch) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// Gives each epoch to a function.
///
/// **Source**: Spark's `foreachBatch`.
#[derive(Clone)]
pub struct ForeachBatch(Arc<Function>);

impl ForeachBatch {
    /// A writer that calls a function. Its errors may be of any kind; those of this workspace keep theirs.
    pub fn new<F, E>(function: impl Fn(EpochBatch) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self(Arc::new(move |batch: EpochBatch| {
            let (epoch, called) = (batch.epoch, function(batch));
            Box::pin(async move { called.await.map_err(|error| failed(epoch, error.into())) })
        }))
    }
}

/// What a function says, with the epoch that it was called for.
fn failed(epoch: u64, source: Box<dyn StdError + Send + Sync>) -> Error {
    match source.downcast::<Error>() {
        Ok(known) => *known,
        Err(source) => {
            let error = SinkError::Function { epoch, source };
            Error::new(error.kind(), error)
        }
    }
}

impl fmt::Debug for ForeachBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachBatch")
    }
}

impl BatchWriter for ForeachBatch {
    fn describe(&self) -> String {
        "foreachBatch".to_owned()
    }

    fn write(&self, batch: EpochBatch) -> BoxFuture<'_, Result<()>> {
        (self.0)(batch)
    }
}
