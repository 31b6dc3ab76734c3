//! The rows of a range.

use std::sync::Arc;

use boathouse_base::{BatchStream, Offset, Predicate, TableVersion};
use boathouse_delta_table::{CommittedChanges, DataFile, FileRead, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};

use super::DeltaSource;
use super::error::DeltaSourceError;
use super::options::{OnDataLoss, StreamRows};
use super::position::Next;

/// What a range consists of.
#[derive(Debug, Default)]
struct Range {
    /// Files, and which of their rows.
    files: Vec<(DataFile, Option<Predicate>)>,
    /// Commits whose changes are told.
    commits: Vec<Arc<CommittedChanges>>,
}

impl DeltaSource {
    pub(super) async fn read_range(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream, DeltaSourceError> {
        let last = self.position_of(end)?;
        let from = match start {
            Some(start) => self.position(start, &last.reservoir_id)?.cursor(),
            None => last.beginning(),
        };
        let to = last.cursor().next;
        if to < from.next {
            let (url, start) = (self.table.url().to_owned(), from.next.version());
            return Err(DeltaSourceError::Backwards { url, start, end: last.reservoir_version });
        }
        let shown = self.table.snapshot_at(TableVersion::Number(last.reservoir_version)).await?;
        // The offset may be of a table that stood here before.
        self.position(end, &shown.metadata().id)?;
        let range = self.range(&shown, from.next, to).await?;
        if self.options.rows == StreamRows::Changes {
            let files = range.files.into_iter().map(|(file, _)| file).collect();
            return Ok(shown.read_changes(files, range.commits).await?);
        }
        let schema = shown.schema();
        let read = move |(file, predicate): (DataFile, Option<Predicate>)| {
            let rows = match predicate {
                None => shown.read_file(&file, FileRead::default()),
                Some(predicate) => shown.read_matching(&file, predicate),
            };
            rows.map_err(boathouse_base::Error::from)
        };
        Ok(BatchStream::new(schema, stream::iter(range.files).map(read).try_flatten()))
    }

    /// What lies from one part up to another, which is not part of it.
    async fn range(&self, shown: &Snapshot, from: Next, to: Next) -> Result<Range, DeltaSourceError> {
        let id = shown.metadata().id.clone();
        let mut range = Range::default();
        let (mut version, mut first) = match from {
            Next::Commit { version, part } => (version, part),
            Next::Snapshot { version, part } => {
                let initial = self.initial(shown, version).await?;
                let (end, goes_on) = match to {
                    Next::Snapshot { part, .. } => (part.min(initial.len()), false),
                    Next::Commit { .. } => (initial.len(), true),
                };
                for at in part..end {
                    let (files, predicate) = initial.part(at);
                    for file in files {
                        range.files.push((shown.data_file(file.add().as_ref().clone())?, predicate.clone()));
                    }
                }
                if !goes_on {
                    return Ok(range);
                }
                (version + 1, 0)
            }
        };
        let Next::Commit { version: last, part: last_part } = to else { return Ok(range) };
        while version < last || (version == last && last_part > 0) {
            let Some(commit) = self.commit_at(&id, version).await? else {
                if self.options.on_data_loss == OnDataLoss::Fail {
                    return Err(DeltaSourceError::CommitGone { url: self.table.url().to_owned(), version });
                }
                let Some(oldest) = self.table.oldest_commit(version + 1).await? else { break };
                (version, first) = (oldest, 0);
                continue;
            };
            if self.options.rows == StreamRows::Changes {
                range.commits.push(commit);
            } else {
                let end = if version == last { last_part } else { u64::MAX };
                for (at, add) in (0_u64..).zip(self.given(&commit)?) {
                    if (first..end).contains(&at) {
                        range.files.push((shown.data_file(add.clone())?, None));
                    }
                }
            }
            (version, first) = (version + 1, 0);
        }
        Ok(range)
    }
}
