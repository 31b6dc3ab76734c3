//! A folder of files that a log says belong to it.

mod encode;
mod log;

use std::fmt;
use std::sync::Arc;

use boathouse_base::{
    BatchStream, BoxFuture, CommittedEpoch, Env, EpochCommit, EpochReport, Error, OutputMode, Result, StreamSink,
};
use boathouse_storage::{Storage, system_env};
use datafusion::arrow::datatypes::SchemaRef;

use super::error::SinkError;
use encode::Encoder;
use log::{Added, FileLog, Line};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Parquet, compressed by Snappy.
    Parquet,
    /// A JSON document on each line; nulls are left out.
    Json,
}

impl FileFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "json",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "snappy.parquet",
            Self::Json => "json",
        }
    }
}

/// Adds the rows of each epoch to a folder, each once.
///
/// The folder's log, `_spark_metadata`, says which files belong to it: the rows of an epoch are there once their entry is, together with the position of the
/// query. Spark reads such a folder by its log, as [`files`](Self::files) does. A reader that lists the folder also sees files
/// that a crash has left, which no entry names.
///
/// Queries may share a folder; each finds its own epochs. The mode is append: files that are written stay.
///
/// **Cost**: memory for a row group of each file that is open; one entry an epoch. Each tenth entry repeats all before it, as Spark's format wants:
/// a folder of many files is better a Delta table.
///
/// **Source**: `FileStreamSinkLog` of Structured Streaming. It does not write folders by column values (`partitionBy`).
#[derive(Clone)]
pub struct FileSink {
    storage: Storage,
    format: FileFormat,
    max_records: u64,
    env: Env,
    log: Arc<FileLog>,
}

impl FileSink {
    /// A sink that writes to this folder.
    pub fn new(folder: Storage, format: FileFormat) -> Self {
        Self { log: Arc::new(FileLog::new(folder.clone())), storage: folder, format, max_records: u64::MAX, env: system_env() }
    }

    /// Begins another file of an epoch after so many rows; at least one (`maxRecordsPerFile`).
    pub fn max_records_per_file(mut self, rows: u64) -> Self {
        self.max_records = rows.max(1);
        self
    }

    /// Clock and randomness, for tests.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The files that belong to the folder, as URLs, in the order in which they were added.
    ///
    /// **Errors**: `Corrupt` when an entry of the log is none; those of the store.
    pub async fn files(&self) -> Result<Vec<String>, SinkError> {
        self.log.files().await
    }

    async fn write(&self, epoch: EpochCommit, rows: BatchStream) -> Result<EpochReport> {
        if epoch.mode != OutputMode::Append {
            return Err(SinkError::Mode { mode: epoch.mode, sink: self.describe() }.into());
        }
        if self.log.last_known(&epoch.query_id).await?.is_some_and(|last| last.epoch >= epoch.epoch) {
            return Ok(EpochReport { skipped: true, ..EpochReport::default() });
        }
        let mut written = Vec::new();
        let (rows, lines) = match self.encode(rows, &mut written).await {
            Ok(encoded) => encoded,
            Err(error) => {
                self.delete(&written).await;
                return Err(error);
            }
        };
        let (files, bytes) = (lines.len() as u64, lines.iter().map(|line| line.size).sum());
        // When this fails the entry may be there: its files stay.
        match self.log.add(epoch, lines, self.env.now_us()).await? {
            Added::Ours(version) => Ok(EpochReport { rows, bytes, files, skipped: false, version }),
            Added::ByAnother => {
                self.delete(&written).await;
                Ok(EpochReport { skipped: true, ..EpochReport::default() })
            }
        }
    }

    /// Deletes files that no entry names. Those that stay are not seen.
    async fn delete(&self, written: &[String]) {
        for path in written {
            if let Err(error) = self.storage.delete(path).await {
                tracing::warn!(folder = self.storage.url(), file = path, %error, "a file that belongs to no epoch was not deleted");
            }
        }
    }

    /// Writes rows to files: how many rows there were, and the files.
    async fn encode(&self, mut rows: BatchStream, written: &mut Vec<String>) -> Result<(u64, Vec<Line>)> {
        let (schema, job) = (rows.schema(), self.env.uuid());
        let (mut all, mut lines) = (0, Vec::new());
        let mut open: Option<(Encoder, u64)> = None;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut from = 0;
            while from < batch.num_rows() {
                let (mut encoder, before) = match open.take() {
                    Some(open) => open,
                    None => (self.open(&schema, &job, written)?, 0),
                };
                let room = usize::try_from(self.max_records - before).unwrap_or(usize::MAX);
                let part = batch.slice(from, room.min(batch.num_rows() - from));
                encoder.write(&part).await?;
                (from, all) = (from + part.num_rows(), all + part.num_rows() as u64);
                let held = before + part.num_rows() as u64;
                match held < self.max_records {
                    true => open = Some((encoder, held)),
                    false => lines.push(self.close(encoder).await?),
                }
            }
        }
        // The entry of an epoch without rows stands on a file without rows.
        if open.is_none() && lines.is_empty() {
            open = Some((self.open(&schema, &job, written)?, 0));
        }
        if let Some((encoder, _)) = open {
            lines.push(self.close(encoder).await?);
        }
        Ok((all, lines))
    }

    fn open(&self, schema: &SchemaRef, job: &str, written: &mut Vec<String>) -> Result<Encoder, SinkError> {
        let path = format!("part-{:05}-{job}-c000.{}", written.len(), self.format.ending());
        let encoder = Encoder::open(&self.storage, &path, self.format, schema)?;
        written.push(path);
        Ok(encoder)
    }

    async fn close(&self, encoder: Encoder) -> Result<Line, SinkError> {
        let path = encoder.path().to_owned();
        let size = encoder.close().await?;
        Ok(Line::new(self.storage.url_of(&path), size, self.env.now_us().div_euclid(1000)))
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink").field("folder", &self.storage.url()).field("format", &self.format).finish_non_exhaustive()
    }
}

impl StreamSink for FileSink {
    fn describe(&self) -> String {
        format!("{}[{}]", self.format.name(), self.storage.url())
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(async move { self.log.last(query_id).await.map_err(Error::from) })
    }

    fn commit(&self, epoch: EpochCommit, rows: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(self.write(epoch, rows))
    }
}
