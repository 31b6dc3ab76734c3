//! A sink that a test reads back.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;

use super::{MemoryError, lock, ready};
use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::Result;
use crate::sink::{CommittedEpoch, EpochCommit, EpochReport, OutputMode, SinkResolver, StreamSink};

/// What stands in a [`MemorySink`] for one epoch.
#[derive(Debug, Clone)]
pub struct MemoryEpoch {
    /// What was committed.
    pub commit: EpochCommit,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

/// A failure that a test asks for, one commit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFault {
    /// The commit fails and nothing is written.
    BeforeCommit,
    /// The epoch is committed, and the answer is lost.
    AfterCommit,
}

/// Epochs in memory. Clones are one sink, as two handles on one table are.
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    epochs: Vec<MemoryEpoch>,
    visible: Vec<RecordBatch>,
    last: BTreeMap<String, CommittedEpoch>,
    faults: VecDeque<SinkFault>,
}

impl MemorySink {
    /// A sink without epochs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows that a reader sees now: those since the last complete epoch.
    pub fn batches(&self) -> Vec<RecordBatch> {
        lock(&self.0).visible.clone()
    }

    /// How many rows a reader sees now.
    pub fn rows(&self) -> usize {
        lock(&self.0).visible.iter().map(RecordBatch::num_rows).sum()
    }

    /// Every epoch that was committed, in order.
    pub fn epochs(&self) -> Vec<MemoryEpoch> {
        lock(&self.0).epochs.clone()
    }

    /// Makes the next commit that is not yet spoken for fail in this way.
    pub fn fail_next(&self, fault: SinkFault) {
        lock(&self.0).faults.push_back(fault);
    }

    async fn write(&self, epoch: EpochCommit, data: BatchStream) -> Result<EpochReport> {
        if let Some(report) = lock(&self.0).skipped(&epoch) {
            return Ok(report);
        }
        let batches = data.collect().await?;
        let mut state = lock(&self.0);
        // Another handle may have committed it while the rows were read.
        if let Some(report) = state.skipped(&epoch) {
            return Ok(report);
        }
        let fault = state.faults.pop_front();
        let fail = |fault| MemoryError::Fault { query_id: epoch.query_id.clone(), epoch: epoch.epoch, fault };
        if fault == Some(SinkFault::BeforeCommit) {
            return Err(fail("before the commit").into());
        }
        let report = state.commit(&epoch, batches);
        if fault == Some(SinkFault::AfterCommit) {
            return Err(fail("after the commit").into());
        }
        Ok(report)
    }
}

impl State {
    fn skipped(&self, epoch: &EpochCommit) -> Option<EpochReport> {
        let last = self.last.get(&epoch.query_id)?;
        let version = (self.epochs.len() as u64).checked_sub(1);
        (epoch.epoch <= last.epoch).then(|| EpochReport { skipped: true, version, ..EpochReport::default() })
    }

    fn commit(&mut self, epoch: &EpochCommit, batches: Vec<RecordBatch>) -> EpochReport {
        let report = EpochReport {
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            bytes: batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum(),
            files: u64::from(!batches.is_empty()),
            skipped: false,
            version: Some(self.epochs.len() as u64),
        };
        if epoch.mode == OutputMode::Complete {
            self.visible.clear();
        }
        self.visible.extend(batches.iter().cloned());
        let committed = CommittedEpoch { epoch: epoch.epoch, payload: Some(epoch.payload.clone()) };
        self.last.insert(epoch.query_id.clone(), committed);
        self.epochs.push(MemoryEpoch { commit: epoch.clone(), batches });
        report
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySink({} epochs)", lock(&self.0).epochs.len())
    }
}

impl StreamSink for MemorySink {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        ready(Ok(lock(&self.0).last.get(query_id).cloned()))
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(self.write(epoch, data))
    }
}

/// Sinks in memory by name.
#[derive(Debug, Clone, Default)]
pub struct MemorySinks(Arc<Mutex<BTreeMap<String, MemorySink>>>);

impl MemorySinks {
    /// No sinks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sink of that name.
    pub fn get(&self, name: &str) -> MemorySink {
        lock(&self.0).entry(name.to_owned()).or_default().clone()
    }
}

impl SinkResolver for MemorySinks {
    fn sink(&self, name: &str) -> Result<Arc<dyn StreamSink>> {
        if name.is_empty() {
            return Err(MemoryError::Name { name: name.to_owned() }.into());
        }
        Ok(Arc::new(self.get(name)))
    }
}
