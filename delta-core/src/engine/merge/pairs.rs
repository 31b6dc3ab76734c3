//! The pairs of a merge: which row of which file, with which row of the source, by which clause. In memory while there are few, and
//! otherwise on disk; read in the order of the files and of their rows.
//!
//! ```text
//!   join ─▶ fresh pairs ─ sort ─▶ runs in memory, up to a budget ─┐
//!                            └──▶ runs in a temporary file ───────┴─ merge ─▶ pairs in order, as often as wanted
//! ```
//! A run on disk is read in batches of 1,024 pairs, and one batch of each run is in memory while runs are merged: for fifty million
//! pairs about ten megabytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, UInt32Array, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SpillFile;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

use super::budget::Budget;
use crate::engine::spill::{Spill, open};

/// Pairs of a batch on disk.
const BATCH_PAIRS: usize = 1024;

/// A row of the table, and what was found for it. Pairs are in order by file and row; of a row, what no clause wants comes first, and
/// then the first clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    /// The place of the file in the list of files.
    pub(super) file: u32,
    /// The number of the row in the file.
    pub(super) row: u64,
    /// The clause that wants it; -1 for none.
    pub(super) clause: i32,
    /// The row of the source; [`NO_SOURCE`] for rows that none matches.
    pub(super) source: u64,
}

/// Stands for no row of the source.
pub(super) const NO_SOURCE: u64 = u64::MAX;

/// Pairs in some order, to be read in theirs.
pub(super) struct Pairs {
    fresh: Vec<Pair>,
    runs: Vec<Run>,
    /// The file that is being written, and its batches so far.
    writing: Option<(Spill, usize)>,
    written: Vec<Arc<dyn SpillFile>>,
    run_pairs: usize,
    held_bytes: usize,
    disk: Arc<DiskManager>,
    reserved: MemoryReservation,
}

/// Pairs in order.
enum Run {
    Memory(Vec<Pair>),
    /// These batches of this file.
    Disk(usize, Range<usize>),
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} runs of pairs, {} bytes of them in memory", self.runs.len(), self.reserved.size())
    }
}

impl Pairs {
    /// No pairs. What they take in memory is reserved in the pool of the session, but for those that are not in a run yet.
    pub(super) fn new(runtime: &RuntimeEnv, budget: &Budget) -> Self {
        Self {
            fresh: Vec::new(),
            runs: Vec::new(),
            writing: None,
            written: Vec::new(),
            run_pairs: budget.run_bytes() / size_of::<Pair>(),
            held_bytes: budget.held_bytes(),
            disk: Arc::clone(&runtime.disk_manager),
            reserved: MemoryConsumer::new("pairs of a MERGE").with_can_spill(true).register(&runtime.memory_pool),
        }
    }

    pub(super) fn push(&mut self, pair: Pair) -> Result<()> {
        self.fresh.push(pair);
        if self.fresh.len() >= self.run_pairs { self.seal() } else { Ok(()) }
    }

    /// Whether some lie on disk.
    pub(super) fn are_spilled(&self) -> bool {
        self.writing.is_some() || !self.written.is_empty()
    }

    /// All that were pushed can be read. Further ones may be pushed afterwards.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.seal()?;
        if let Some((spill, _)) = self.writing.take() {
            self.written.push(spill.finish()?);
        }
        Ok(())
    }

    /// What was finished, in order.
    pub(super) fn sorted(&self) -> Result<Sorted<'_>> {
        let readers = self.written.iter().map(|file| open(file.as_ref(), None)).collect::<Result<Vec<_>>>()?;
        let cursor = |run| match run {
            &Run::Disk(file, ref batches) => Cursor::Disk(file, batches.clone(), Vec::new().into_iter()),
            Run::Memory(pairs) => Cursor::Memory(pairs.iter()),
        };
        let cursors = self.runs.iter().map(cursor).collect::<Vec<_>>();
        let mut sorted = Sorted { readers, heap: BinaryHeap::with_capacity(cursors.len()), cursors };
        for at in 0..sorted.cursors.len() {
            if let Some(pair) = sorted.advance(at)? {
                sorted.heap.push(Reverse((pair, at)));
            }
        }
        Ok(sorted)
    }

    /// Makes a run of the fresh pairs.
    fn seal(&mut self) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.fresh.sort_unstable();
        let bytes = self.fresh.len() * size_of::<Pair>();
        if self.reserved.size() + bytes <= self.held_bytes && self.reserved.try_grow(bytes).is_ok() {
            let mut run = std::mem::take(&mut self.fresh);
            run.shrink_to_fit();
            self.runs.push(Run::Memory(run));
            return Ok(());
        }
        let (mut spill, start) = match self.writing.take() {
            Some(writing) => writing,
            None => (Spill::new(&self.disk, "the pairs of a MERGE", &schema())?, 0),
        };
        let mut end = start;
        for pairs in self.fresh.chunks(BATCH_PAIRS) {
            spill.write(&to_batch(pairs)?)?;
            end += 1;
        }
        self.fresh.clear();
        self.writing = Some((spill, end));
        self.runs.push(Run::Disk(self.written.len(), start..end));
        Ok(())
    }
}

/// Pairs in their order.
pub(super) struct Sorted<'a> {
    readers: Vec<FileReader<BufReader<File>>>,
    cursors: Vec<Cursor<'a>>,
    /// The next pair of each run.
    heap: BinaryHeap<Reverse<(Pair, usize)>>,
}

enum Cursor<'a> {
    Memory(std::slice::Iter<'a, Pair>),
    /// The file, the batches that are not read yet, and what is left of the one that is.
    Disk(usize, Range<usize>, std::vec::IntoIter<Pair>),
}

impl Sorted<'_> {
    /// The next pair.
    pub(super) fn next(&mut self) -> Result<Option<Pair>> {
        let Some(Reverse((pair, at))) = self.heap.pop() else { return Ok(None) };
        if let Some(following) = self.advance(at)? {
            self.heap.push(Reverse((following, at)));
        }
        Ok(Some(pair))
    }

    fn advance(&mut self, at: usize) -> Result<Option<Pair>> {
        let (file, batches, left) = match self.cursors.get_mut(at) {
            None => return Ok(None),
            Some(Cursor::Memory(pairs)) => return Ok(pairs.next().copied()),
            Some(Cursor::Disk(file, batches, left)) => (*file, batches, left),
        };
        if let Some(pair) = left.next() {
            return Ok(Some(pair));
        }
        let (Some(batch), Some(reader)) = (batches.next(), self.readers.get_mut(file)) else { return Ok(None) };
        reader.set_index(batch)?;
        let Some(batch) = reader.next() else {
            return Err(DataFusionError::Execution(format!("the temporary file of the pairs ends before batch {batch}")));
        };
        *left = from_batch(&batch?).into_iter();
        Ok(left.next())
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    let fields =
        [("file", DataType::UInt32), ("row", DataType::UInt64), ("clause", DataType::Int32), ("source", DataType::UInt64)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| field(name, data_type)).to_vec()))
}

fn to_batch(pairs: &[Pair]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.file))),
        Arc::new(UInt64Array::from_iter_values(pairs.iter().map(|pair| pair.row))),
        Arc::new(Int32Array::from_iter_values(pairs.iter().map(|pair| pair.clause))),
        Arc::new(UInt64Array::from_iter_values(pairs.iter().map(|pair| pair.source))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn from_batch(batch: &RecordBatch) -> Vec<Pair> {
    let (files, rows) = (batch.column(0).as_primitive::<UInt32Type>(), batch.column(1).as_primitive::<UInt64Type>());
    let (clauses, sources) = (batch.column(2).as_primitive::<Int32Type>(), batch.column(3).as_primitive::<UInt64Type>());
    let rows = files.values().iter().zip(rows.values()).zip(clauses.values().iter().zip(sources.values()));
    rows.map(|((file, row), (clause, source))| Pair { file: *file, row: *row, clause: *clause, source: *source }).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::*;

    #[test]
    fn pairs_come_in_order_wherever_they_lie_and_again_when_more_are_pushed() {
        for pool in [1 << 10, 100 << 10, 64 << 20] {
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(pool))).build().unwrap();
            let mut pairs = Pairs { run_pairs: 3_000, ..Pairs::new(&runtime, &Budget::of(&runtime)) };
            let pair = |n: u64| Pair { file: (n % 7) as u32, row: n * 7919 % 5_003, clause: (n % 3) as i32 - 1, source: n };
            let mut model: Vec<Pair> = Vec::new();
            for part in [0..20_000, 20_000..20_001, 20_001..31_000] {
                for n in part {
                    pairs.push(pair(n)).unwrap();
                    model.push(pair(n));
                }
                pairs.finish().unwrap();
                model.sort();
                let (mut sorted, mut read) = (pairs.sorted().unwrap(), Vec::new());
                while let Some(pair) = sorted.next().unwrap() {
                    read.push(pair);
                }
                assert!(read == model, "{pairs:?}");
            }
            assert_eq!(pairs.are_spilled(), pool < 1 << 20);
            assert!(runtime.memory_pool.reserved() <= pool);
        }
    }
}
