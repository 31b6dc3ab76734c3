//! Checkpoints of Spark's Structured Streaming: where a query of theirs was, so that one of ours can go on from there.
//!
//! ```text
//!   metadata          {"id":"…"}
//!   offsets/7         v1, one line of metadata, one line for each source        what batch 7 was to read
//!   commits/7         v1, {"nextBatchWatermarkMs":0}                            batch 7 is done
//!   state/…           what its operators remember; not read
//! ```
//! The last *committed* batch counts: a batch that was planned and not committed is read again from its start. Sinks other than Spark's
//! own may have its rows already; that is so when Spark restarts, too.
//!
//! | source | its offset in Spark | here |
//! | --- | --- | --- |
//! | Kafka | `{"topic":{"0":123}}` | the same |
//! | Delta | `{"sourceVersion":1,"reservoirId":"…","reservoirVersion":7,"index":-1,"isStartingVersion":false}` | all before version 7 |
//! | Delta, within a version | an `index` from 0 on | refused: files of a version have another order |
//! | files | `{"logOffset":7}` | refused: which files were read stands in a log of Spark's source |
//!
//! **Source**: Spark, `OffsetSeqLog`, `CommitLog`; Delta, `DeltaSourceOffset`.

mod error;
mod offset;

use std::collections::BTreeMap;

use boathouse_base::Offset;
use boathouse_storage::{Storage, StorageError};

pub use error::SparkCheckpointError;

/// The newest layout of `offsets` and `commits` that is read.
const NEWEST_LAYOUT: u32 = 2;

/// Where a query of Spark was.
///
/// # Example
/// ```
/// use boathouse_storage::Storage;
/// use boathouse_stream::SparkCheckpoint;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = Storage::memory();
/// folder.put("offsets/0", "v1\n{\"batchWatermarkMs\":0}\n{\"clicks\":{\"0\":23}}").await?;
/// folder.put("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}").await?;
/// let checkpoint = SparkCheckpoint::read(&folder).await?;
/// assert_eq!(checkpoint.offset(0, "clicks").map(|offset| offset.as_str()), Some(r#"{"clicks":{"0":23}}"#));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkCheckpoint {
    url: String,
    batch: Option<u64>,
    offsets: BTreeMap<String, Option<Offset>>,
    has_state: bool,
    with_empty_state: bool,
}

impl SparkCheckpoint {
    /// Reads where a query was.
    ///
    /// **Cost**: two listings and two small reads; one more listing finds out whether there is state.
    ///
    /// **Errors**: `Invalid` when the folder is no checkpoint, when a layout is newer than Spark 4.3's, and when an offset cannot be taken
    /// over; `Corrupt` when a file is not as Spark writes it; those of the store.
    pub async fn read(folder: &Storage) -> Result<Self, SparkCheckpointError> {
        let failed =
            |source: StorageError| SparkCheckpointError::Store { checkpoint: folder.url().to_owned(), source: Box::new(source) };
        let planned = batches(folder, "offsets").await?;
        let committed = batches(folder, "commits").await?;
        if planned.is_empty() && folder.get_optional("metadata").await.map_err(failed)?.is_none() {
            return Err(SparkCheckpointError::NoCheckpoint { checkpoint: folder.url().to_owned() });
        }
        let has_state = !folder.list("state").await.map_err(failed)?.is_empty();
        let batch = committed.last().copied();
        let mut offsets = BTreeMap::new();
        if let Some(batch) = batch {
            let path = format!("offsets/{batch}");
            let text = folder.get_optional(&path).await.map_err(failed)?;
            let text = text.ok_or_else(|| SparkCheckpointError::NoOffsets { file: folder.url_of(&path), batch })?;
            offsets = read_offsets(&folder.url_of(&path), &text)?;
        }
        Ok(Self { url: folder.url().to_owned(), batch, offsets, has_state, with_empty_state: false })
    }

    /// Lets a query begin without the state of Spark's: its groups hold rows from now on.
    #[must_use]
    pub fn with_empty_state(mut self) -> Self {
        self.with_empty_state = true;
        self
    }

    /// The last committed batch; `None`: the query has not done anything.
    pub fn batch(&self) -> Option<u64> {
        self.batch
    }

    /// Whether the query remembers something that is not taken over.
    pub fn has_state(&self) -> bool {
        self.has_state
    }

    /// Where a source was, by its place in the query or, where Spark has given sources names, by its name. `None`: at its beginning.
    pub fn offset(&self, place: usize, name: &str) -> Option<&Offset> {
        self.offsets.get(name).or_else(|| self.offsets.get(&place.to_string()))?.as_ref()
    }

    /// Where each of a query's sources begins.
    ///
    /// **Errors**: when there are other sources, or state that must not be lost.
    pub(crate) fn starts(&self, names: &[String]) -> Result<BTreeMap<String, Offset>, SparkCheckpointError> {
        if self.has_state && !self.with_empty_state {
            return Err(SparkCheckpointError::HasState { checkpoint: self.url.clone() });
        }
        let is_known =
            |(place, name): (usize, &String)| self.offsets.contains_key(name) || self.offsets.contains_key(&place.to_string());
        if self.batch.is_some() && (self.offsets.len() != names.len() || !names.iter().enumerate().all(is_known)) {
            return Err(SparkCheckpointError::OtherSources {
                checkpoint: self.url.clone(),
                recorded: self.offsets.keys().cloned().collect(),
                found: names.to_vec(),
            });
        }
        let start = |(place, name): (usize, &String)| Some((name.clone(), self.offset(place, name)?.clone()));
        Ok(names.iter().enumerate().filter_map(start).collect())
    }
}

/// The batches of a log, oldest first.
async fn batches(folder: &Storage, log: &str) -> Result<Vec<u64>, SparkCheckpointError> {
    let entries = folder.list(log).await;
    let entries = entries
        .map_err(|source| SparkCheckpointError::Store { checkpoint: folder.url().to_owned(), source: Box::new(source) })?;
    let number = |path: &str| path.rsplit('/').next().and_then(|name| name.parse::<u64>().ok());
    let mut batches: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.path)).collect();
    batches.sort_unstable();
    Ok(batches)
}

/// The offsets of a batch, by the place or name of their sources.
fn read_offsets(file: &str, text: &[u8]) -> Result<BTreeMap<String, Option<Offset>>, SparkCheckpointError> {
    let corrupt = |problem: String| SparkCheckpointError::Corrupt { file: file.to_owned(), problem };
    let text = std::str::from_utf8(text).map_err(|error| corrupt(error.to_string()))?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().trim();
    let layout = header.strip_prefix('v').and_then(|layout| layout.parse::<u32>().ok());
    let layout =
        layout.ok_or_else(|| corrupt(format!("its first line is `{header}`, and a layout such as `v1` was expected")))?;
    if layout == 0 || layout > NEWEST_LAYOUT {
        return Err(SparkCheckpointError::Layout { file: file.to_owned(), found: layout, newest: NEWEST_LAYOUT });
    }
    // The line of metadata may be empty.
    let Some(metadata) = lines.next() else { return Err(corrupt("it ends after its first line".to_owned())) };
    if !metadata.trim().is_empty() {
        serde_json::from_str::<serde_json::Value>(metadata)
            .map_err(|error| corrupt(format!("its metadata is no JSON: {error}")))?;
    }
    let mut offsets = BTreeMap::new();
    for (place, line) in lines.enumerate() {
        let (source, offset) = match (layout, line.split_once(':')) {
            (1, _) => (place.to_string(), line),
            (_, Some((source, offset))) => (source.to_owned(), offset),
            (_, None) => return Err(corrupt(format!("the line `{line}` names no source"))),
        };
        let offset = if offset == "-" { None } else { offset::taken_over(file, &source, offset)? };
        offsets.insert(source, offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests;
