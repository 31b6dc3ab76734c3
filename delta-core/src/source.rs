//! A Delta table as a stream: the rows that each commit added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture, ErrorKind, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use boathouse_base::{DomainError, TableVersion};
use boathouse_delta_protocol::action::{Action, Add};
use boathouse_delta_protocol::{commit, log_path};
use boathouse_delta_table::{DataFile, DeltaTable, FileRead, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::recent_commits::RecentCommits;
use crate::source_error::DeltaSourceError;

/// The layout of [`Position`] in an offset; raised when it changes.
const OFFSET_FORMAT: u32 = 1;
/// Files in a batch when the read limit names neither files nor bytes, as in Spark.
const DEFAULT_FILES: u64 = 1000;

/// Streams the rows that are appended to a table, commit by commit, in the order of the log.
///
/// A commit is taken whole: the limits of a batch decide how many commits it holds, and at least one. Commits that
/// change no data (OPTIMIZE) are passed over; one that removes rows stops the stream with an error, because a stream
/// cannot take back what it gave.
///
/// **Cost**: a plan lists the log after the position and reads the new commits; a batch reads its files. What a plan has
/// read its batch does not read again, up to 10,000 files.
///
/// **Source**: the semantics of Delta's streaming source without `ignoreChanges` and `skipChangeCommits`.
///
/// **What it does not do yet**: starting versions, change feeds, tables whose early commits were cleaned from the log,
/// files of the range that were compacted away since.
#[derive(Debug, Clone)]
pub struct DeltaSource {
    table: DeltaTable,
    recent: RecentCommits,
}

/// Where a stream is: everything up to this version has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    source_version: u32,
    reservoir_id: String,
    reservoir_version: u64,
}

impl DeltaSource {
    /// The rows of `table` from its first version on.
    pub fn new(table: DeltaTable) -> Self {
        Self { table, recent: RecentCommits::default() }
    }

    fn position(&self, offset: &Offset) -> Result<Position, DeltaSourceError> {
        let position: Option<Position> = serde_json::from_str(offset.as_str()).ok();
        position
            .filter(|position| position.source_version == OFFSET_FORMAT)
            .ok_or_else(|| DeltaSourceError::Offset { url: self.table.url().to_owned(), offset: offset.as_str().to_owned() })
    }

    /// The first version after `start`, once it is sure that the offset is of this table.
    fn next_version(&self, start: Option<&Offset>, id: &str) -> Result<u64, DeltaSourceError> {
        let Some(start) = start else { return Ok(0) };
        let position = self.position(start)?;
        if position.reservoir_id != id {
            return Err(DeltaSourceError::OtherTable {
                url: self.table.url().to_owned(),
                expected: position.reservoir_id,
                found: id.to_owned(),
            });
        }
        Ok(position.reservoir_version + 1)
    }

    /// The files that a commit added with new rows.
    async fn added(&self, table_id: &str, version: u64) -> Result<Arc<[Add]>, DeltaSourceError> {
        if let Some(adds) = self.recent.get(table_id, version) {
            return Ok(adds);
        }
        let adds = self.read_added(version).await?.into();
        self.recent.remember(table_id, version, &adds);
        Ok(adds)
    }

    async fn read_added(&self, version: u64) -> Result<Vec<Add>, DeltaSourceError> {
        let path = format!("_delta_log/{}", log_path::commit_name(version));
        let bytes = match self.table.log().get(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(DeltaSourceError::CommitGone { url: self.table.url().to_owned(), version });
            }
            Err(error) => return Err(error.into()),
        };
        let (mut adds, mut removes, mut operation) = (Vec::new(), 0, None);
        for action in commit::parse(version, &bytes)? {
            match action {
                Action::Add(add) if add.data_change => adds.push(add),
                Action::Remove(remove) if remove.data_change => removes += 1,
                Action::CommitInfo(info) => operation = info.operation,
                _ => {}
            }
        }
        if removes > 0 {
            return Err(DeltaSourceError::NotAppendOnly {
                url: self.table.url().to_owned(),
                version,
                operation: operation.unwrap_or_else(|| "an operation without a name".to_owned()),
                files: removes,
            });
        }
        Ok(adds)
    }

    async fn plan_batch(&self, start: Option<&Offset>, limit: ReadLimit) -> Result<Option<PlannedBatch>, DeltaSourceError> {
        let Some(snapshot) = self.table.try_snapshot().await? else { return Ok(None) };
        let id = snapshot.metadata().id.clone();
        let latest = snapshot.version();
        let max_files = limit.files.or(limit.bytes.is_none().then_some(DEFAULT_FILES)).unwrap_or(u64::MAX);
        let max_bytes = limit.bytes.unwrap_or(u64::MAX);
        let (mut files, mut bytes, mut end) = (0, 0_u64, None);
        let first = self.next_version(start, &id)?;
        self.recent.forget_before(first);
        for version in first..=latest {
            let adds = self.added(&id, version).await?;
            let (more_files, more_bytes) = (adds.len() as u64, size_of(&adds));
            if files > 0 && (files + more_files > max_files || bytes.saturating_add(more_bytes) > max_bytes) {
                break;
            }
            files += more_files;
            bytes = bytes.saturating_add(more_bytes);
            end = Some(version);
        }
        let Some(version) = end.filter(|_| files > 0) else { return Ok(None) };
        let end = Position { source_version: OFFSET_FORMAT, reservoir_id: id, reservoir_version: version };
        let end = Offset::new(serde_json::json!(end).to_string());
        Ok(Some(PlannedBatch { end, files, bytes, more: version < latest }))
    }

    async fn read_range(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream, DeltaSourceError> {
        let last = self.position(end)?;
        let snapshot = self.table.snapshot_at(TableVersion::Number(last.reservoir_version)).await?;
        let id = snapshot.metadata().id.clone();
        self.next_version(Some(end), &id)?;
        let first = self.next_version(start, &id)?;
        if first > last.reservoir_version + 1 {
            let url = self.table.url().to_owned();
            return Err(DeltaSourceError::Backwards { url, start: first - 1, end: last.reservoir_version });
        }
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        let mut order = Vec::new();
        for version in first..=last.reservoir_version {
            for add in self.added(&id, version).await?.iter() {
                wanted.insert(add.path.clone(), version);
                order.push(add.path.clone());
            }
        }
        let files = self.find(&snapshot, &wanted, order).await?;
        let schema = snapshot.schema();
        let rows = stream::iter(files)
            .map(move |file| snapshot.read_file(&file, FileRead::default()).map_err(boathouse_base::Error::from))
            .try_flatten();
        Ok(BatchStream::new(schema, rows))
    }

    /// The files of the range, in the order of the log.
    async fn find(
        &self,
        snapshot: &Snapshot,
        wanted: &BTreeMap<String, u64>,
        order: Vec<String>,
    ) -> Result<Vec<DataFile>, DeltaSourceError> {
        let present: BTreeMap<String, DataFile> = snapshot
            .files(None)
            .await?
            .into_iter()
            .map(|file| (file.add().path.clone(), file))
            .filter(|(path, _)| wanted.contains_key(path))
            .collect();
        let mut seen = BTreeSet::new();
        order
            .into_iter()
            .filter(|path| seen.insert(path.clone()))
            .map(|path| match present.get(&path) {
                Some(file) => Ok(file.clone()),
                None => Err(DeltaSourceError::FileGone {
                    url: self.table.url().to_owned(),
                    version: wanted.get(&path).copied().unwrap_or_default(),
                    end: snapshot.version(),
                    path,
                }),
            })
            .collect()
    }
}

fn size_of(adds: &[Add]) -> u64 {
    adds.iter().map(|add| add.size).fold(0, u64::saturating_add)
}

impl StreamSource for DeltaSource {
    fn describe(&self) -> String {
        format!("delta[{}]", self.table.url())
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        Box::pin(async move { Ok(self.plan_batch(start, limit).await?) })
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        Box::pin(async move { Ok(self.read_range(start, end).await?) })
    }

    fn commit<'a>(&'a self, _end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        // Nothing to clean: the table keeps its own files.
        Box::pin(std::future::ready(Ok(())))
    }
}
