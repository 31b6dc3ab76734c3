//! Files that a queue tells of: SQS, Kafka, or whatever brings messages and wants to hear when it may forget them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_base::{BoxFuture, Result};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::{Discovery, Effort, FoundFile, Sighting};
use crate::error::AutoLoadError;

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// With what the queue is told that the message is done.
    pub receipt: String,
    /// What it says.
    pub body: String,
}

/// A queue of messages that stay until they are deleted, and may come more than once.
///
/// **Shape** of an implementation: SQS answers `receive` with `ReceiveMessage` and `delete` with
/// `DeleteMessageBatch`; a Kafka consumer gives the records after the committed position, with that position as receipt,
/// and commits it in `delete`.
pub trait EventQueue: Send + Sync + std::fmt::Debug {
    /// Its name, for messages.
    fn describe(&self) -> String;

    /// Messages that are there now, none of them twice until [`delete`](Self::delete) or a time-out. Empty: no more.
    fn receive(&self) -> BoxFuture<'_, Result<Vec<QueueMessage>>>;

    /// These messages are done.
    fn delete<'a>(&'a self, receipts: &'a [String]) -> BoxFuture<'a, Result<()>>;
}

/// What a parser makes of a message's body: the files below the landing folder that it tells of.
type Parse = dyn Fn(&str) -> Result<Vec<FoundFile>, AutoLoadError> + Send + Sync;

/// A queue as a [`Discovery`].
///
/// Messages are deleted when the files they tell of are durable in the ledger, so a crash brings them again, and the
/// ledger knows them then. A message that cannot be understood is kept aside as [`Sighting::Lost`]: the folder is listed,
/// which finds whatever it may have told of, and the message is deleted with the others.
pub struct QueuedFiles {
    queue: Arc<dyn EventQueue>,
    parse: Box<Parse>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    receipts: Vec<String>,
    files: Vec<FoundFile>,
    lost: bool,
}

/// Messages that one scan takes at most; the next one takes more.
const MOST_MESSAGES: usize = 10_000;

impl QueuedFiles {
    /// Over a queue, with a parser of its messages: [`S3Events`](crate::S3Events) has one.
    pub fn new(
        queue: Arc<dyn EventQueue>,
        parse: impl Fn(&str) -> Result<Vec<FoundFile>, AutoLoadError> + Send + Sync + 'static,
    ) -> Self {
        Self { queue, parse: Box::new(parse), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self) -> Result<Vec<Sighting>> {
        let room = MOST_MESSAGES.saturating_sub(self.lock().receipts.len());
        let mut taken = 0;
        while taken < room {
            let messages = self.queue.receive().await?;
            if messages.is_empty() {
                break;
            }
            taken += messages.len();
            let mut open = self.lock();
            for message in messages {
                match (self.parse)(&message.body) {
                    Ok(files) => open.files.extend(files),
                    Err(error) => {
                        tracing::warn!(%error, queue = self.queue.describe(), "autoload.event: the folder is listed instead");
                        open.lost = true;
                    }
                }
                open.receipts.push(message.receipt);
            }
        }
        // What was not settled comes again: whoever asked may have lost it.
        let open = self.lock();
        let mut sightings = vec![Sighting::Files(open.files.clone())];
        if open.lost {
            sightings.push(Sighting::Lost);
        }
        Ok(sightings)
    }

    async fn delete(&self) -> Result<()> {
        let receipts = std::mem::take(&mut *self.lock()).receipts;
        if receipts.is_empty() {
            return Ok(());
        }
        let deleted = self.queue.delete(&receipts).await;
        if deleted.is_err() {
            self.lock().receipts.extend(receipts);
        }
        deleted
    }
}

impl std::fmt::Debug for QueuedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuedFiles").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Discovery for QueuedFiles {
    fn describe(&self) -> String {
        self.queue.describe()
    }

    fn scan(&self, _effort: Effort) -> BoxStream<'_, Result<Sighting>> {
        let received = self.receive().map(|received| match received {
            Ok(sightings) => sightings.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        futures::stream::once(received).flat_map(futures::stream::iter).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, Result<()>> {
        self.delete().boxed()
    }
}

/// A queue in memory: for tests, and for applications that hear of files themselves.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    waiting: VecDeque<QueueMessage>,
    /// Received, not deleted.
    flying: Vec<QueueMessage>,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message.
    pub fn send(&self, body: impl Into<String>) {
        let mut held = self.lock();
        let receipt = held.next.to_string();
        held.next += 1;
        held.waiting.push_back(QueueMessage { receipt, body: body.into() });
    }

    /// What was received and not deleted comes again, as after a time-out.
    pub fn time_out(&self) {
        let mut held = self.lock();
        let flying = std::mem::take(&mut held.flying);
        held.waiting.extend(flying);
    }

    /// Messages that are not deleted.
    pub fn messages(&self) -> usize {
        let held = self.lock();
        held.waiting.len() + held.flying.len()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventQueue for MemoryQueue {
    fn describe(&self) -> String {
        "memory queue".to_owned()
    }

    fn receive(&self) -> BoxFuture<'_, Result<Vec<QueueMessage>>> {
        let mut held = self.lock();
        // As many as SQS gives.
        let count = held.waiting.len().min(10);
        let messages: Vec<QueueMessage> = held.waiting.drain(..count).collect();
        held.flying.extend(messages.iter().cloned());
        futures::future::ready(Ok(messages)).boxed()
    }

    fn delete<'a>(&'a self, receipts: &'a [String]) -> BoxFuture<'a, Result<()>> {
        let mut held = self.lock();
        held.flying.retain(|message| !receipts.contains(&message.receipt));
        held.waiting.retain(|message| !receipts.contains(&message.receipt));
        futures::future::ready(Ok(())).boxed()
    }
}
