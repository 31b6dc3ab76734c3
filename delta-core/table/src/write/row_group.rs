//! A row group, encoded by several threads.
//!
//! Every column takes the chunks of rows one after the other. A thread takes any column that is free and behind; so no thread waits
//! at the end of a chunk for the one that has the largest column.
//!
//! How large it is by now is said by chunks that are done for certain, not by those that happen to be: the same rows always give the same files.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use parquet::errors::ParquetError;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

use super::columns::{Closed, Column};
use super::encoder::{EncodeError, Encoding};
use super::flat::Scratch;
use crate::processor::Amount;

/// Chunks that wait or are being encoded, at most.
const CHUNKS_AHEAD: usize = 2;
/// Chunks below this are encoded by one worker.
const ALONE_ROWS: usize = 2048;

/// How long a thread waits for the next chunk before it ends. Reading one takes about as long as encoding one; a thread that ends in between
/// has to be woken again, which cost a tenth of the time of a compaction.
const WAIT: Duration = Duration::from_millis(5);

/// Rows that are encoded together.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// A row group that is being written.
pub(super) struct RowGroup {
    shop: Arc<Shop>,
    workers: Vec<JoinHandle<()>>,
    rows: usize,
    /// What the rows of the last chunk that is done for certain, and of those before it, have become.
    known: Size,
    /// Bytes in memory of the last chunks.
    last: VecDeque<usize>,
}

/// Rows, and about how many bytes they are when they are encoded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Size {
    /// About how many bytes so many rows of this kind are.
    fn of(self, rows: usize) -> usize {
        (rows as u128 * self.bytes as u128 / (self.rows as u128).max(1)).try_into().unwrap_or(usize::MAX)
    }
}

/// What the threads share.
struct Shop {
    encoding: Arc<Encoding>,
    columns: Vec<Mutex<Option<Column>>>,
    desk: Mutex<Desk>,
    /// There may be something to take, or nothing will come.
    more: Condvar,
    /// Something was done.
    done: Notify,
}

/// Who does what.
struct Desk {
    /// Chunks that some column has not taken yet.
    chunks: VecDeque<Arc<Rows>>,
    /// The number of the first of them.
    first: usize,
    /// The size of all rows after each chunk, as far as columns have taken it; of those that are done the last ones are kept.
    sizes: VecDeque<Size>,
    /// The number of the first of them.
    first_size: usize,
    columns: Vec<State>,
    /// Threads at work, or waiting for it.
    workers: usize,
    /// Threads without work are to end: the rows that come next are encoded elsewhere.
    is_small: bool,
    /// No chunk comes any more: columns that have taken all are closed.
    closing: bool,
    stopped: bool,
    died: bool,
    error: Option<ParquetError>,
}

/// One column at the desk.
#[derive(Default)]
struct State {
    /// The number of the chunk that it takes next.
    next: usize,
    is_taken: bool,
    /// Bytes in memory of the first chunk: large columns are taken first.
    weight: usize,
    closed: Option<Closed>,
}

enum Task {
    Encode(usize, Arc<Rows>),
    Close(usize),
}

impl RowGroup {
    /// An empty one, after rows of this size.
    pub(super) fn new(encoding: Arc<Encoding>, columns: Vec<Column>, before: Size) -> Self {
        let desk = Desk {
            chunks: VecDeque::new(),
            first: 0,
            sizes: VecDeque::new(),
            first_size: 0,
            columns: columns.iter().map(|_| State::default()).collect(),
            workers: 0,
            is_small: false,
            closing: false,
            stopped: false,
            died: false,
            error: None,
        };
        let columns = columns.into_iter().map(|column| Mutex::new(Some(column))).collect();
        let shop = Shop { encoding, columns, desk: Mutex::new(desk), more: Condvar::new(), done: Notify::new() };
        Self { shop: Arc::new(shop), workers: Vec::new(), rows: 0, known: before, last: VecDeque::new() }
    }

    /// About how many bytes its rows are when they are encoded.
    pub(super) fn bytes(&self) -> usize {
        self.known.of(self.rows)
    }

    /// About how many bytes it holds in memory.
    pub(super) fn memory(&self) -> usize {
        self.last.iter().sum::<usize>() + self.bytes()
    }

    /// Hands rows to the workers, once these are not too far behind. Few rows are encoded here and now.
    pub(super) async fn encode(&mut self, rows: Rows) -> Result<(), EncodeError> {
        let (few, alone) = (Amount::of_bytes(rows.bytes) == Amount::Little, rows.rows < ALONE_ROWS);
        self.until(|desk| desk.chunks.len() < if few { 1 } else { CHUNKS_AHEAD }).await?;
        let most = if alone { 1 } else { self.shop.encoding.workers.clamp(1, self.shop.columns.len().max(1)) };
        self.rows += rows.rows;
        self.last.push_back(rows.bytes);
        if self.last.len() > CHUNKS_AHEAD {
            self.last.pop_front();
        }
        self.known = self.shop.desk().push(rows).unwrap_or(self.known);
        self.work(if few { None } else { Some(most) }).await
    }

    /// The columns, done.
    pub(super) async fn close(mut self) -> Result<Vec<Closed>, EncodeError> {
        let few = Amount::of_bytes(self.bytes()) == Amount::Little;
        if few {
            self.until(|desk| desk.chunks.is_empty()).await?;
        }
        self.shop.desk().closing = true;
        self.shop.more.notify_all();
        let most = self.shop.encoding.workers.clamp(1, self.shop.columns.len().max(1));
        self.work(if few { None } else { Some(most) }).await?;
        self.until(|desk| desk.columns.iter().all(|column| column.closed.is_some())).await?;
        Ok(self.shop.desk().columns.iter_mut().filter_map(|column| column.closed.take()).collect())
    }

    /// Nobody wants it any more.
    pub(super) fn stop(&self) {
        self.shop.desk().stopped = true;
        self.shop.more.notify_all();
    }

    /// Sets so many threads to work, or does it all on this one.
    async fn work(&mut self, threads: Option<usize>) -> Result<(), EncodeError> {
        let Some(most) = threads else {
            self.shop.desk().is_small = true;
            self.shop.more.notify_all();
            self.until(|desk| desk.workers == 0).await?;
            self.shop.desk().workers += 1;
            self.shop.work();
            self.shop.desk().is_small = false;
            return self.until(|_| true).await;
        };
        self.shop.more.notify_all();
        self.workers.retain(|worker| !worker.is_finished());
        let new = {
            let mut desk = self.shop.desk();
            let new = most.saturating_sub(desk.workers);
            desk.workers += new;
            new
        };
        for _ in 0..new {
            let shop = Arc::clone(&self.shop);
            self.workers.push(spawn_blocking(move || shop.work()));
        }
        Ok(())
    }

    /// Waits for something, or for what went wrong.
    async fn until(&mut self, is: impl Fn(&Desk) -> bool) -> Result<(), EncodeError> {
        loop {
            let done = self.shop.done.notified();
            {
                let mut desk = self.shop.desk();
                if let Some(error) = desk.error.take() {
                    desk.stopped = true;
                    return Err(error.into());
                }
                if desk.died || desk.stopped {
                    break;
                }
                if is(&desk) {
                    return Ok(());
                }
            }
            done.await;
        }
        for worker in std::mem::take(&mut self.workers) {
            worker.await.map_err(EncodeError::Worker)?;
        }
        Err(ParquetError::General("a thread that encoded a row group ended early".to_owned()).into())
    }
}

impl Desk {
    /// Takes one more chunk. Says how large the rows were after the last one that must be done by now.
    fn push(&mut self, rows: Rows) -> Option<Size> {
        let number = self.first + self.chunks.len();
        if number == 0 {
            for (at, column) in self.columns.iter_mut().enumerate() {
                column.weight = rows.batches.iter().map(|batch| batch.column(at).get_array_memory_size()).sum();
            }
        }
        let before = self.sizes.back().map_or(0, |size| size.rows);
        self.sizes.push_back(Size { rows: before + rows.rows, bytes: 0 });
        self.chunks.push_back(Arc::new(rows));
        let done = number.checked_sub(CHUNKS_AHEAD)?;
        while self.first_size < done && self.sizes.pop_front().is_some() {
            self.first_size += 1;
        }
        self.sizes.front().copied()
    }

    /// What a thread does next: the column that is furthest behind, and of those the largest.
    fn take(&mut self) -> Option<Task> {
        if self.stopped || self.died || self.error.is_some() {
            return None;
        }
        let end = self.first + self.chunks.len();
        let wanted = |column: &State| !column.is_taken && column.closed.is_none() && (column.next < end || self.closing);
        let columns = self.columns.iter().enumerate().filter(|(_, column)| wanted(column));
        let (at, next) = columns
            .min_by_key(|(_, column)| (column.next, std::cmp::Reverse(column.weight)))
            .map(|(at, column)| (at, column.next))?;
        self.columns[at].is_taken = true;
        Some(match self.chunks.get(next - self.first) {
            Some(rows) => Task::Encode(at, Arc::clone(rows)),
            None => Task::Close(at),
        })
    }

    fn expects_more(&self) -> bool {
        !(self.closing || self.is_small || self.stopped || self.died || self.error.is_some())
    }

    fn encoded(&mut self, at: usize, bytes: usize) {
        let column = &mut self.columns[at];
        let number = column.next;
        (column.is_taken, column.next) = (false, number + 1);
        if let Some(size) = number.checked_sub(self.first_size).and_then(|at| self.sizes.get_mut(at)) {
            size.bytes += bytes;
        }
        let behind = self.columns.iter().map(|column| column.next).min().unwrap_or(usize::MAX);
        while self.first < behind && self.chunks.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl Shop {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until there is nothing left to take, and nothing comes for a while.
    fn work(&self) {
        let end = End(self);
        let mut scratch = self.encoding.scratch.take();
        loop {
            let task = {
                let mut task = None;
                let is_waiting = |desk: &mut Desk| {
                    task = desk.take();
                    task.is_none() && desk.expects_more()
                };
                let waited = self.more.wait_timeout_while(self.desk(), WAIT, is_waiting);
                let mut desk = waited.unwrap_or_else(PoisonError::into_inner).0;
                let Some(task) = task else {
                    desk.workers -= 1;
                    break;
                };
                task
            };
            let result = self.run(task, &mut scratch);
            if let Err(error) = result {
                self.desk().error.get_or_insert(error);
            }
            // The column is free again.
            self.more.notify_one();
            self.done.notify_one();
        }
        std::mem::forget(end);
        self.encoding.scratch.give(scratch, self.encoding.workers);
        self.done.notify_one();
    }

    fn run(&self, task: Task, scratch: &mut Scratch) -> Result<(), ParquetError> {
        let column = |at: usize| self.columns[at].lock().unwrap_or_else(PoisonError::into_inner);
        match task {
            Task::Encode(at, rows) => {
                let mut column = column(at);
                let Some(column) = column.as_mut() else { return Ok(()) };
                let field = self.encoding.schema.field(at);
                rows.batches.iter().try_for_each(|batch| column.write(field, batch.column(at), scratch))?;
                self.desk().encoded(at, column.bytes());
            }
            Task::Close(at) => {
                let Some(column) = column(at).take() else { return Ok(()) };
                let closed = column.close(scratch)?;
                self.desk().columns[at].closed = Some(closed);
            }
        }
        Ok(())
    }
}

/// Tells the desk when a thread dies, since nobody else would.
struct End<'a>(&'a Shop);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut desk = self.0.desk();
        desk.died = true;
        desk.workers = desk.workers.saturating_sub(1);
        drop(desk);
        self.0.done.notify_one();
    }
}
