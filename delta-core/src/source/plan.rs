//! The next range of a stream.

use std::sync::Arc;

use boathouse_base::{DomainError, ErrorKind, PlannedBatch, ReadLimit, TableVersion};
use boathouse_delta_protocol::action::{Add, Metadata};
use boathouse_delta_protocol::schema::Widening;
use boathouse_delta_table::{CommittedChanges, DataFile, Snapshot};

use super::DeltaSource;
use super::error::DeltaSourceError;
use super::initial::Initial;
use super::options::{OnChange, OnDataLoss, OnNewColumns, StreamRows, StreamStart};
use super::position::{Begun, Cursor, Next, Position};

/// Files in a batch when the read limit names neither files nor bytes, as in Spark.
const DEFAULT_FILES: u64 = 1000;

/// What a part brings, which is taken whole.
#[derive(Debug, Clone, Copy)]
struct Size {
    files: u64,
    bytes: u64,
    /// As statistics tell; a file without them counts for none.
    rows: u64,
}

/// A batch that is being put together.
struct Batch<'a> {
    table_id: &'a str,
    begun: Begun,
    max_files: u64,
    max_bytes: u64,
    max_rows: u64,
    files: u64,
    bytes: u64,
    rows: u64,
    end: Option<Position>,
}

impl Batch<'_> {
    /// Takes parts from `next` on as long as there is room. Whether all were taken.
    fn take(&mut self, next: Next, first: u64, parts: impl Iterator<Item = Size>) -> bool {
        for (read, part) in (first..).zip(parts) {
            if self.files > 0 && self.is_full_with(part) {
                if read > first {
                    self.end = Some(Position::after(self.table_id, self.begun, next, Some(read)));
                }
                return false;
            }
            self.files += part.files;
            self.bytes = self.bytes.saturating_add(part.bytes);
            self.rows = self.rows.saturating_add(part.rows);
        }
        self.end = Some(Position::after(self.table_id, self.begun, next, None));
        true
    }

    fn is_full_with(&self, part: Size) -> bool {
        self.files + part.files > self.max_files
            || self.bytes.saturating_add(part.bytes) > self.max_bytes
            || self.rows.saturating_add(part.rows) > self.max_rows
    }

    fn planned(self, more: bool) -> Option<PlannedBatch> {
        let end = self.end.filter(|_| self.files > 0)?;
        Some(PlannedBatch { end: end.offset(), files: self.files, bytes: self.bytes, more })
    }
}

impl DeltaSource {
    pub(super) async fn plan_batch(
        &self,
        start: Option<&boathouse_base::Offset>,
        limit: ReadLimit,
    ) -> Result<Option<PlannedBatch>, DeltaSourceError> {
        self.check_options()?;
        let Some(snapshot) = self.table.try_snapshot().await? else {
            // All that the table will ever do comes later.
            self.later.get_or_init(|| 0);
            return Ok(None);
        };
        let (id, latest) = (snapshot.metadata().id.clone(), snapshot.version());
        let cursor = match start {
            Some(start) => self.position(start, &id)?.cursor(),
            None => Cursor::at(match self.options.start {
                StreamStart::Snapshot => Begun::Snapshot(latest),
                StreamStart::Version(version) if version > latest => {
                    return Err(DeltaSourceError::StartTooLate { url: self.table.url().to_owned(), version, latest });
                }
                StreamStart::Version(version) => Begun::Commit(version),
                StreamStart::Later => Begun::Commit(*self.later.get_or_init(|| latest.saturating_add(1))),
                StreamStart::AtUs(at_us) => Begun::Commit(self.table.first_version(TableVersion::AtUs(at_us)).await?),
            }),
        };
        let max_files = limit.files.or(limit.bytes.is_none().then_some(DEFAULT_FILES)).unwrap_or(u64::MAX);
        let max_bytes = limit.bytes.unwrap_or(u64::MAX);
        let max_rows = limit.rows.unwrap_or(u64::MAX);
        let (table_id, begun) = (id.as_str(), cursor.begun);
        let mut batch = Batch { table_id, begun, max_files, max_bytes, max_rows, files: 0, bytes: 0, rows: 0, end: None };
        let (mut version, mut first) = match cursor.next {
            Next::Commit { version, part } => (version, part),
            Next::Snapshot { version, part } => {
                let initial = self.initial(&snapshot, version).await?;
                let size = |at| {
                    let (files, _) = initial.part(at);
                    // Statistics are parsed only where they are asked for.
                    let counted =
                        limit.rows.map(|_| files.iter().filter_map(|file| file.row_count()).fold(0, u64::saturating_add));
                    let bytes = DataFile::total_bytes(files.iter().copied());
                    Size { files: files.len() as u64, bytes, rows: counted.unwrap_or(0) }
                };
                if !batch.take(cursor.next, part, (part..initial.len()).map(size)) {
                    return Ok(batch.planned(true));
                }
                (version + 1, 0)
            }
        };
        self.recent.forget_before(version);
        while version <= latest {
            let next = Next::Commit { version, part: first };
            let Some(commit) = self.commit_at(&id, version).await? else {
                if self.options.on_data_loss == OnDataLoss::Fail {
                    return Err(DeltaSourceError::CommitGone { url: self.table.url().to_owned(), version });
                }
                let Some(oldest) = self.table.oldest_commit(version + 1).await? else { break };
                (version, first) = (oldest, 0);
                continue;
            };
            // A batch has one schema: it ends before a commit that brings another.
            if commit.metadata().is_some() && version > 0 && batch.files > 0 {
                return Ok(batch.planned(true));
            }
            match self.parts(&commit, first).await {
                Ok(parts) => {
                    if !batch.take(next, first, parts.into_iter()) {
                        return Ok(batch.planned(true));
                    }
                }
                // What came before is given first.
                Err(_) if batch.files > 0 => return Ok(batch.planned(true)),
                Err(error) => return Err(error),
            }
            (version, first) = (version + 1, 0);
        }
        Ok(batch.planned(false))
    }

    fn check_options(&self) -> Result<(), DeltaSourceError> {
        match &self.options.event_time {
            Some(by) if self.options.rows == StreamRows::Changes || self.options.start != StreamStart::Snapshot => {
                Err(DeltaSourceError::EventTime { url: self.table.url().to_owned(), column: by.column.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The rows of the beginning; `now` is the newest version.
    pub(super) async fn initial(&self, now: &Snapshot, version: u64) -> Result<Initial, DeltaSourceError> {
        let event_time = self.options.event_time.as_ref();
        if now.version() == version {
            return Initial::of(now, event_time).await;
        }
        Initial::of(&self.table.snapshot_at(TableVersion::Number(version)).await?, event_time).await
    }

    /// The parts of a commit, from one of them on.
    async fn parts(&self, commit: &CommittedChanges, first: u64) -> Result<Vec<Size>, DeltaSourceError> {
        if let Some(metadata) = commit.metadata() {
            self.check_columns(metadata, commit).await?;
        }
        if self.options.rows == StreamRows::Changes {
            let (files, bytes) = commit.change_files();
            // Files of changes have no statistics: the rows of the files that come stand for them.
            let rows = commit.added_rows().flatten().fold(0, u64::saturating_add);
            return Ok((first == 0 && files > 0).then_some(Size { files, bytes, rows }).into_iter().collect());
        }
        let skipped = usize::try_from(first).unwrap_or(usize::MAX);
        let sizes = self.given(commit)?.zip(commit.added_rows());
        Ok(sizes.skip(skipped).map(|(add, rows)| Size { files: 1, bytes: add.size, rows: rows.unwrap_or(0) }).collect())
    }

    /// The files of a commit whose rows are given.
    pub(super) fn given<'a>(&self, commit: &'a CommittedChanges) -> Result<impl Iterator<Item = &'a Add>, DeltaSourceError> {
        let (removed, added) = (commit.removed(), commit.added().count());
        let gives = match self.options.on_change {
            _ if removed == 0 => true,
            OnChange::GiveAgain => true,
            OnChange::SkipCommit => false,
            OnChange::IgnoreDeletes if added == 0 => false,
            OnChange::Fail | OnChange::IgnoreDeletes => {
                return Err(DeltaSourceError::NotAppendOnly {
                    url: self.table.url().to_owned(),
                    version: commit.version(),
                    operation: commit.operation().unwrap_or("an operation without a name").to_owned(),
                    files: removed,
                });
            }
        };
        Ok(commit.added().filter(move |_| gives))
    }

    /// Refuses columns that are not those before with more added.
    async fn check_columns(&self, metadata: &Metadata, commit: &CommittedChanges) -> Result<(), DeltaSourceError> {
        let Some(before) = commit.version().checked_sub(1) else { return Ok(()) };
        if self.options.on_new_columns == OnNewColumns::Follow {
            return Ok(());
        }
        // Where the version before is not there any more, nothing was given of it.
        let before = match self.table.snapshot_at(TableVersion::Number(before)).await {
            Ok(before) => before,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (old, new) = (before.delta_schema(), metadata.schema()?);
        let fits = new.merge_widening(&old.as_data(), Widening::Off).is_ok_and(|merged| merged == new);
        let same_names = |name: &str| {
            let physical = |field: &boathouse_delta_protocol::schema::StructField| field.metadata.get(PHYSICAL_NAME).cloned();
            match (old.field(name), new.field(name)) {
                // Column mapping that begins keeps the names of files.
                (Some(old), Some(new)) => physical(old).is_none() || physical(old) == physical(new),
                _ => false,
            }
        };
        match fits && old.names().all(same_names) {
            true => Ok(()),
            false => Err(DeltaSourceError::ColumnsChanged { url: self.table.url().to_owned(), version: commit.version() }),
        }
    }

    /// A commit, read once; nothing when it is not in the log.
    pub(super) async fn commit_at(
        &self,
        table_id: &str,
        version: u64,
    ) -> Result<Option<Arc<CommittedChanges>>, DeltaSourceError> {
        if let Some(commit) = self.recent.get(table_id, version) {
            return Ok(Some(commit));
        }
        let Some(commit) = self.table.committed_changes(version).await?.map(Arc::new) else { return Ok(None) };
        self.recent.remember(table_id, &commit);
        Ok(Some(commit))
    }
}

/// Where a column keeps its name in files.
const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
