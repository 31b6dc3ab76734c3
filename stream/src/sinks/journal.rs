//! What is about to be written, and what is: the write-ahead record of sinks that cannot commit.
//!
//! ```text
//!   offsets/7    what epoch 7 reads; written before its rows are given away
//!   commits/7    it is done, and what the query must know to go on
//! ```
//! Both have the shape of Spark's checkpoint: the line `v1`, a line about the batch, and in `offsets` a line for each source. The line about the batch
//! also holds the position of the query, which Spark does not look at.
//!
//! **Source**: `OffsetSeqLog` and `CommitLog` of Structured Streaming.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::Storage;
use serde_json::{Value, json};

use super::error::SinkError;
use crate::position::Position;

const OFFSETS: &str = "offsets";
const COMMITS: &str = "commits";
/// Of the line about the batch.
const POSITION: &str = "position";
/// Epochs that are kept (Spark's `minBatchesToRetain`).
const KEPT: u64 = 100;

/// The journal of one query.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    storage: Storage,
}

impl Journal {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage }
    }

    pub(super) fn url(&self) -> &str {
        self.storage.url()
    }

    /// The last epoch that is done, with its position.
    pub(super) async fn done(&self) -> Result<Option<(u64, String)>, SinkError> {
        self.newest(COMMITS).await
    }

    /// The last epoch that was begun, with the position that it was begun with.
    pub(super) async fn begun(&self) -> Result<Option<(u64, String)>, SinkError> {
        self.newest(OFFSETS).await
    }

    /// Notes that an epoch begins; the position that it was begun with when it was before.
    pub(super) async fn begin(&self, epoch: u64, position: &str) -> Result<Option<String>, SinkError> {
        let entry = begun(position).map_err(|source| self.unreadable(OFFSETS, epoch, source))?;
        self.write(OFFSETS, epoch, entry).await
    }

    /// Notes that an epoch is done; the position of the run that said so before.
    pub(super) async fn end(&self, epoch: u64, position: &str) -> Result<Option<String>, SinkError> {
        let entry = done(position).map_err(|source| self.unreadable(COMMITS, epoch, source))?;
        let before = self.write(COMMITS, epoch, entry).await?;
        if let Some(old) = epoch.checked_sub(KEPT) {
            for folder in [OFFSETS, COMMITS] {
                // Advice: what is not deleted now is not read again either.
                if let Err(error) = self.storage.delete(&path(folder, old)).await {
                    tracing::warn!(journal = self.url(), epoch = old, %error, "an old entry of the journal was not deleted");
                }
            }
        }
        Ok(before)
    }

    async fn write(&self, folder: &'static str, epoch: u64, entry: String) -> Result<Option<String>, SinkError> {
        match self.storage.put_if_absent(&path(folder, epoch), entry).await {
            Ok(()) => Ok(None),
            // Ours, or of another run.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.read(folder, epoch).await.map(Some),
            Err(source) => Err(self.failed("write", folder, epoch, source)),
        }
    }

    async fn newest(&self, folder: &'static str) -> Result<Option<(u64, String)>, SinkError> {
        let listed = self.storage.list(folder).await.map_err(|source| SinkError::Journal {
            attempt: "list",
            file: self.storage.url_of(folder),
            source: Box::new(source),
        })?;
        let newest = listed.iter().filter_map(|entry| entry.path.rsplit('/').next()?.parse::<u64>().ok()).max();
        match newest {
            Some(epoch) => Ok(Some((epoch, self.read(folder, epoch).await?))),
            None => Ok(None),
        }
    }

    async fn read(&self, folder: &'static str, epoch: u64) -> Result<String, SinkError> {
        let bytes = self.storage.get(&path(folder, epoch)).await;
        let bytes = bytes.map_err(|source| self.failed("read", folder, epoch, source))?;
        let text = String::from_utf8_lossy(&bytes);
        let about = text.strip_prefix("v1\n").and_then(|rest| rest.lines().next());
        let parsed: Result<Value, _> = serde_json::from_str(about.unwrap_or_default());
        match parsed.map(|about| about.get(POSITION).map(Value::to_string)) {
            Ok(Some(position)) => Ok(position),
            Ok(None) => Err(self.unreadable(folder, epoch, serde::de::Error::custom("it holds no position of this engine"))),
            Err(source) => Err(self.unreadable(folder, epoch, source)),
        }
    }

    fn failed(&self, attempt: &'static str, folder: &str, epoch: u64, source: boathouse_storage::StorageError) -> SinkError {
        SinkError::Journal { attempt, file: self.storage.url_of(&path(folder, epoch)), source: Box::new(source) }
    }

    fn unreadable(&self, folder: &str, epoch: u64, source: serde_json::Error) -> SinkError {
        SinkError::Entry { file: self.storage.url_of(&path(folder, epoch)), source }
    }
}

fn path(folder: &str, epoch: u64) -> String {
    format!("{folder}/{epoch}")
}

/// An entry of `offsets`.
fn begun(position: &str) -> Result<String, serde_json::Error> {
    let whole: Value = serde_json::from_str(position)?;
    let known: Position = serde_json::from_str(position)?;
    let about = json!({
        "batchWatermarkMs": known.watermark_us.map_or(0, |us| us.div_euclid(1000)),
        "batchTimestampMs": known.timestamp_us.div_euclid(1000),
        "conf": {},
        POSITION: whole,
    });
    let mut entry = format!("v1\n{about}");
    for range in &known.sources {
        entry.push('\n');
        // An offset is JSON by convention, and a text otherwise; `-` says that there is none.
        match range.end.as_deref() {
            None => entry.push('-'),
            Some(end) => match serde_json::from_str::<Value>(end) {
                Ok(offset) => entry.push_str(&offset.to_string()),
                Err(_) => entry.push_str(&Value::from(end).to_string()),
            },
        }
    }
    Ok(entry)
}

/// An entry of `commits`.
fn done(position: &str) -> Result<String, serde_json::Error> {
    let whole: Value = serde_json::from_str(position)?;
    let known: Position = serde_json::from_str(position)?;
    let next = known.next_watermark_us.map_or(0, |us| us.div_euclid(1000));
    Ok(format!("v1\n{}", json!({ "nextBatchWatermarkMs": next, POSITION: whole })))
}
