//! A sink of what cannot commit.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, Result, StreamSink};
use boathouse_storage::Storage;
use futures::StreamExt;

use super::batch_writer::{BatchWriter, EpochBatch};
use super::error::SinkError;
use super::journal::Journal;
use crate::position::Position;

/// Gives epochs to a [`BatchWriter`], and notes in a journal which one is at work and which are done.
///
/// What was at work when the process died is given again: the same epoch with the same rows, whatever has come to the sources meanwhile.
/// Of two runs that are open at once the slower one ends with `Conflict`.
///
/// The journal belongs to one query; its checkpoint is the place for it, and [`StreamQuery::foreach_batch`](crate::StreamQuery::foreach_batch) puts it
/// there.
///
/// **Cost**: two small files an epoch; the last 100 epochs are kept.
pub struct JournaledSink {
    writer: Arc<dyn BatchWriter>,
    journal: Journal,
    /// The last epoch that this process knows to be done.
    done: Mutex<Option<u64>>,
}

impl JournaledSink {
    /// A sink whose journal is in this folder.
    pub fn new(writer: Arc<dyn BatchWriter>, journal: Storage) -> Self {
        Self { writer, journal: Journal::new(journal), done: Mutex::default() }
    }

    fn know(&self, epoch: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done = (*done).max(Some(epoch));
    }

    async fn last(&self) -> Result<Option<CommittedEpoch>> {
        let last = self.journal.done().await?;
        Ok(last.map(|(epoch, payload)| {
            self.know(epoch);
            CommittedEpoch { epoch, payload: Some(payload) }
        }))
    }

    async fn at_work(&self) -> Result<Option<CommittedEpoch>> {
        let done = self.last().await?.map(|last| last.epoch);
        let begun = self.journal.begun().await?.filter(|(epoch, _)| Some(*epoch) > done);
        Ok(begun.map(|(epoch, payload)| CommittedEpoch { epoch, payload: Some(payload) }))
    }

    async fn write(&self, epoch: EpochCommit, rows: BatchStream) -> Result<EpochReport> {
        let EpochCommit { query_id, epoch, payload, mode } = epoch;
        let known = *self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = EpochReport { skipped: true, ..EpochReport::default() };
        if known.is_some_and(|done| done >= epoch) {
            return Ok(skipped);
        }
        let before = self.journal.begin(epoch, &payload).await?;
        if let Some(before) = &before {
            // What is done is not begun again; this process may not know of it yet.
            if self.last().await?.is_some_and(|last| last.epoch >= epoch) {
                return Ok(skipped);
            }
            if !reads_the_same(before, &payload) {
                return Err(SinkError::BegunOtherwise { epoch, journal: self.journal.url().to_owned() }.into());
            }
        }
        let written = Arc::new(AtomicU64::new(0));
        let rows = counted(rows, Arc::clone(&written));
        self.writer.write(EpochBatch { query_id, epoch, again: before.is_some(), mode, rows }).await?;
        let by_another = self.journal.end(epoch, &payload).await?.is_some();
        self.know(epoch);
        Ok(match by_another {
            true => skipped,
            false => EpochReport { rows: written.load(Ordering::Relaxed), ..EpochReport::default() },
        })
    }
}

/// Whether two runs have begun an epoch over the same rows.
fn reads_the_same(before: &str, now: &str) -> bool {
    let ranges = |text: &str| serde_json::from_str::<Position>(text).ok();
    let (Some(before), Some(now)) = (ranges(before), ranges(now)) else { return false };
    let reads = |position: Position| {
        let sources: Vec<_> = position.sources.into_iter().map(|range| (range.name, range.start, range.end)).collect();
        (sources, position.watermark_us, position.timestamp_us)
    };
    reads(before) == reads(now)
}

fn counted(rows: BatchStream, count: Arc<AtomicU64>) -> BatchStream {
    let schema = rows.schema();
    BatchStream::new(
        schema,
        rows.inspect(move |batch| {
            if let Ok(batch) = batch {
                count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            }
        }),
    )
}

impl fmt::Debug for JournaledSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournaledSink").field("writer", &self.writer).field("journal", &self.journal.url()).finish()
    }
}

impl StreamSink for JournaledSink {
    fn describe(&self) -> String {
        self.writer.describe()
    }

    fn last_epoch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(self.last())
    }

    fn begun<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(self.at_work())
    }

    fn commit(&self, epoch: EpochCommit, rows: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(self.write(epoch, rows))
    }
}
