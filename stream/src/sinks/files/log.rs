//! The log of a folder: which files belong to it, and which epochs of which queries they are.
//!
//! ```text
//!   _spark_metadata/0 … 8      v1, and a line for each file that the entry adds
//!   _spark_metadata/9.compact  the same for all entries up to it; so each tenth
//! ```
//! The first line of an entry also says which epoch it is (`query`): Spark does not look at it, and it moves on into the next tenth entry if it is the query's last.
//!
//! **Source**: `FileStreamSinkLog` and `CompactibleFileStreamLog` of Structured Streaming.

use std::collections::BTreeMap;

use boathouse_base::{CommittedEpoch, DomainError, EpochCommit, ErrorKind};
use boathouse_storage::{Storage, StorageError};
use futures::lock::Mutex;
use serde::{Deserialize, Serialize};

use super::super::error::SinkError;

const FOLDER: &str = "_spark_metadata";
const COMPACT: &str = ".compact";
/// Each such entry is a compact one (`spark.sql.streaming.fileSink.log.compactInterval`).
const INTERVAL: u64 = 10;
/// Entries stay for ten minutes (`spark.sql.streaming.fileSink.log.cleanupDelay`).
const YOUNG_US: i64 = 600_000_000;

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) path: String,
    pub(super) size: u64,
    is_dir: bool,
    modification_time: i64,
    block_replication: u32,
    block_size: u64,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    query: Option<Query>,
}

/// The epoch of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Query {
    id: String,
    epoch: u64,
    payload: String,
}

impl Line {
    pub(super) fn new(path: String, size: u64, modified_ms: i64) -> Self {
        let (action, block_size) = ("add".to_owned(), 128 << 20);
        Self { path, size, is_dir: false, modification_time: modified_ms, block_replication: 1, block_size, action, query: None }
    }
}

/// Whose entry an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It names our files; its number, unless the answer was lost.
    Ours(Option<u64>),
    /// Another run has added the epoch, with files of its own.
    ByAnother,
}

/// The log of one folder.
#[derive(Debug)]
pub(super) struct FileLog {
    storage: Storage,
    known: Mutex<Option<Known>>,
}

/// What was read of the log.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The number of the next entry.
    next: u64,
    last: BTreeMap<String, CommittedEpoch>,
}

impl Known {
    fn take_in(&mut self, lines: &[Line]) {
        for query in lines.iter().filter_map(|line| line.query.as_ref()) {
            let committed = CommittedEpoch { epoch: query.epoch, payload: Some(query.payload.clone()) };
            self.last.insert(query.id.clone(), committed);
        }
    }
}

impl FileLog {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, known: Mutex::new(None) }
    }

    /// The last epoch of a query, as the log is now.
    pub(super) async fn last(&self, query: &str) -> Result<Option<CommittedEpoch>, SinkError> {
        let mut known = self.known.lock().await;
        let read = self.read().await?;
        let last = read.last.get(query).cloned();
        *known = Some(read);
        Ok(last)
    }

    /// As [`last`](Self::last), as it was when the log was read last.
    pub(super) async fn last_known(&self, query: &str) -> Result<Option<CommittedEpoch>, SinkError> {
        let known = self.known.lock().await;
        match &*known {
            Some(known) => Ok(known.last.get(query).cloned()),
            None => {
                drop(known);
                self.last(query).await
            }
        }
    }

    /// All files that belong to the folder.
    pub(super) async fn files(&self) -> Result<Vec<String>, SinkError> {
        let numbers = self.numbers().await?;
        Ok(self.lines(&numbers).await?.into_iter().map(|line| line.path).collect())
    }

    /// Adds the files of an epoch. `now_us` says which entries are old.
    pub(super) async fn add(&self, epoch: EpochCommit, mut lines: Vec<Line>, now_us: i64) -> Result<Added, SinkError> {
        let mut known = self.known.lock().await;
        if let Some(first) = lines.first_mut() {
            first.query = Some(Query { id: epoch.query_id.clone(), epoch: epoch.epoch, payload: epoch.payload });
        }
        loop {
            let now = match known.take() {
                Some(known) => known,
                None => self.read().await?,
            };
            if now.last.get(&epoch.query_id).is_some_and(|last| last.epoch >= epoch.epoch) {
                let files = self.files().await?;
                *known = Some(now);
                let is_ours = lines.first().is_some_and(|line| files.contains(&line.path));
                return Ok(if is_ours { Added::Ours(None) } else { Added::ByAnother });
            }
            let number = now.next;
            // The number of an old entry is free again when it was deleted; then the entry before it is gone too.
            if let Some(before) = number.checked_sub(1)
                && self.storage.head(&path(before)).await.map_err(|source| self.failed("find", &path(before), source))?.is_none()
            {
                continue;
            }
            match self.storage.put_if_absent(&path(number), self.content(number, &lines).await?).await {
                Ok(()) => {
                    let mut now = Known { next: number + 1, ..now };
                    now.take_in(&lines);
                    *known = Some(now);
                    drop(known);
                    self.forget_before(number, now_us).await;
                    return Ok(Added::Ours(Some(number)));
                }
                // Another query, another run of this one, or our own write whose answer was lost: what is there is read.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(self.failed("write", &path(number), source)),
            }
        }
    }

    /// The text of an entry.
    async fn content(&self, number: u64, lines: &[Line]) -> Result<String, SinkError> {
        if !is_compact(number) {
            return Ok(text(lines));
        }
        let numbers: Vec<u64> = since_compact(number - 1).collect();
        let mut all = self.lines(&numbers).await?;
        all.extend_from_slice(lines);
        // Of each query the last epoch.
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for (n, query) in all.iter().enumerate().filter_map(|(n, line)| Some((n, line.query.as_ref()?))) {
            last.insert(query.id.clone(), n);
        }
        for (n, line) in all.iter_mut().enumerate() {
            line.query = line.query.take().filter(|query| last.get(&query.id) == Some(&n));
        }
        Ok(text(&all))
    }

    async fn read(&self) -> Result<Known, SinkError> {
        let numbers = self.numbers().await?;
        let mut known = Known { next: numbers.last().map_or(0, |last| last + 1), ..Known::default() };
        known.take_in(&self.lines(&numbers).await?);
        Ok(known)
    }

    /// The entries that say all, ascending.
    async fn numbers(&self) -> Result<Vec<u64>, SinkError> {
        let listed = self.storage.list(FOLDER).await.map_err(|source| self.failed("list", FOLDER, source))?;
        let last = listed.iter().filter_map(|entry| number_of(&entry.path)).max();
        Ok(last.map(|last| since_compact(last).collect()).unwrap_or_default())
    }

    async fn lines(&self, numbers: &[u64]) -> Result<Vec<Line>, SinkError> {
        let mut lines = Vec::new();
        for number in numbers {
            lines.extend(self.entry(*number).await?);
        }
        Ok(lines)
    }

    async fn entry(&self, number: u64) -> Result<Vec<Line>, SinkError> {
        let path = path(number);
        let bytes = self.storage.get(&path).await.map_err(|source| self.failed("read", &path, source))?;
        let wrong = |source| SinkError::Entry { file: self.storage.url_of(&path), source };
        let text = String::from_utf8_lossy(&bytes);
        let Some(rest) = text.strip_prefix("v1") else {
            return Err(wrong(serde::de::Error::custom("its first line is not `v1`")));
        };
        rest.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).map_err(wrong)).collect()
    }

    /// Deletes what the compact entry before this one has made useless, the oldest first. Readers and other runs may still be at what is young.
    async fn forget_before(&self, number: u64, now_us: i64) {
        let Some(end) = number.checked_sub(INTERVAL).filter(|_| is_compact(number)) else { return };
        let forget = async || {
            let mut old = Vec::new();
            for entry in self.storage.list(FOLDER).await? {
                let age_us = now_us.saturating_sub(entry.modified_us);
                old.extend(number_of(&entry.path).filter(|number| *number < end && age_us > YOUNG_US));
            }
            old.sort_unstable();
            for number in old {
                self.storage.delete(&path(number)).await?;
            }
            Ok::<_, StorageError>(())
        };
        if let Err(error) = forget().await {
            tracing::warn!(folder = self.storage.url(), %error, "old entries of the folder's log were not deleted");
        }
    }

    fn failed(&self, attempt: &'static str, path: &str, source: StorageError) -> SinkError {
        SinkError::Journal { attempt, file: self.storage.url_of(path), source: Box::new(source) }
    }
}

fn is_compact(number: u64) -> bool {
    (number + 1).is_multiple_of(INTERVAL)
}

/// The entries up to this one that say all: the last compact one and what came after it.
fn since_compact(last: u64) -> std::ops::RangeInclusive<u64> {
    let first = if is_compact(last) { last } else { (last / INTERVAL * INTERVAL).saturating_sub(1) };
    first..=last
}

fn number_of(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.trim_end_matches(COMPACT).parse().ok()
}

fn path(number: u64) -> String {
    let ending = if is_compact(number) { COMPACT } else { "" };
    format!("{FOLDER}/{number}{ending}")
}

fn text(lines: &[Line]) -> String {
    let lines = lines.iter().map(crate::checkpoint::json);
    ["v1".to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}
