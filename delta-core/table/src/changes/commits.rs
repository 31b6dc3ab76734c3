//! Commits one by one, for readers that go from one to the next.

use std::sync::Arc;

use boathouse_base::{BatchStream, TableVersion};
use boathouse_delta_protocol::action::{Action, Add, Metadata};
use boathouse_delta_protocol::changes::{Change, changes_of};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
use boathouse_delta_protocol::stats::FileStats;
use futures::{TryStreamExt, stream};

use super::builder::{changes_schema, first_version, tell};
use super::pieces::{Finder, Of};
use crate::error::{DeltaError, OnTable, Result};
use crate::history;
use crate::log::commit::{info, read_commit};
use crate::scan::{Columns, DataFile, Piece, Rows, read_pieces, source};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::write::ChangeType;

/// What a commit did to rows. A commit never changes, so neither does this.
#[derive(Debug, Clone)]
pub struct CommittedChanges {
    version: u64,
    timestamp_us: Option<i64>,
    actions: Vec<Action>,
    /// Of each file of [`added`](Self::added).
    added_rows: Vec<Option<u64>>,
}

impl CommittedChanges {
    /// The version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What the commit calls itself.
    pub fn operation(&self) -> Option<&str> {
        info(&self.actions)?.operation.as_deref()
    }

    /// The files that it added with other rows than before: new ones, and those that now have other deletion vectors.
    pub fn added(&self) -> impl Iterator<Item = &Add> {
        self.actions.iter().filter_map(|action| match action {
            Action::Add(add) if add.data_change => Some(add),
            _ => None,
        })
    }

    /// The rows of each of [these](Self::added), deleted ones left out; nothing where statistics do not tell.
    pub fn added_rows(&self) -> impl Iterator<Item = Option<u64>> {
        self.added_rows.iter().copied()
    }

    /// How many files it removed with rows.
    pub fn removed(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Remove(remove) if remove.data_change)).count()
    }

    /// What the table became, if it became something else.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.actions.iter().find_map(|action| match action {
            Action::Metadata(metadata) => Some(metadata),
            _ => None,
        })
    }

    /// How many files tell what it changed, and their bytes.
    pub fn change_files(&self) -> (u64, u64) {
        let size = |change: &Change<'_>| match change {
            Change::Recorded(cdc) => cdc.size,
            Change::Inserted(add) | Change::Remarked { after: add, .. } => add.size,
            Change::Deleted(remove) => remove.size.unwrap_or_default(),
        };
        let changes = changes_of(&self.actions);
        (changes.len() as u64, changes.iter().map(size).fold(0, u64::saturating_add))
    }
}

/// How many rows a file has, as its statistics tell.
fn rows_of(add: &Add) -> Option<u64> {
    // Without a schema no bounds are read.
    let stats = FileStats::from_json(add.stats.as_deref()?, &StructType::default(), ColumnMappingMode::None).ok()?;
    let deleted = add.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
    stats.num_records.map(|rows| rows.saturating_sub(deleted))
}

impl DeltaTable {
    /// What a commit did; nothing when it is not in the log, or not any more.
    ///
    /// **Cost**: a GET. Of the statistics of files only their rows are kept.
    pub async fn committed_changes(&self, version: u64) -> Result<Option<CommittedChanges>> {
        let Some(actions) = read_commit(self.storage(), version).await? else { return Ok(None) };
        let timestamp_us = info(&actions).and_then(|info| info.in_commit_timestamp).map(|ms| ms.saturating_mul(1000));
        let added_rows = actions.iter().filter_map(|action| match action {
            Action::Add(add) if add.data_change => Some(rows_of(add)),
            _ => None,
        });
        let added_rows = added_rows.collect();
        let actions = actions.into_iter().filter_map(|action| match action {
            Action::Add(add) => Some(Action::Add(Add { stats: None, ..add })),
            Action::Remove(_) | Action::Cdc(_) | Action::Metadata(_) | Action::CommitInfo(_) => Some(action),
            _ => None,
        });
        Ok(Some(CommittedChanges { version, timestamp_us, actions: actions.collect(), added_rows }))
    }

    /// The first version that is not before this one: by time the first that was committed then or later.
    ///
    /// **Cost**: a LIST of the log.
    ///
    /// **Errors**: `NotFound` without a table, and when nothing was committed then or later.
    pub async fn first_version(&self, from: TableVersion) -> Result<u64> {
        first_version(self, from, self.snapshot().await?.version()).await
    }

    /// The oldest version whose commit is in the log, from `version` on; nothing when there is none.
    ///
    /// **Cost**: a LIST of the log.
    pub async fn oldest_commit(&self, version: u64) -> Result<Option<u64>> {
        Ok(history::commit_times(self.storage()).await?.into_keys().find(|found| *found >= version))
    }
}

impl Snapshot {
    /// A file that some version has, under the columns of this one.
    ///
    /// **Errors**: `Corrupt` when its partition values are none of these columns.
    pub fn data_file(&self, add: Add) -> Result<DataFile> {
        let layout = self.layout();
        let values = partition::values_of(&add, &layout.schema, &layout.partition_columns, layout.mode).on(self.url())?;
        Ok(DataFile::new(Arc::new(add), values, Arc::clone(layout)))
    }

    /// The rows of these files as insertions of this version, and then what these commits changed, in this order.
    ///
    /// **Shape**, **Errors**: as [`ChangesBuilder::read`](crate::ChangesBuilder::read), with the columns of this version.
    ///
    /// **Cost**: a LIST of the log for the times of commits, and the files.
    pub async fn read_changes(&self, files: Vec<DataFile>, commits: Vec<Arc<CommittedChanges>>) -> Result<BatchStream> {
        let columns = Columns::resolve(self.url(), self.layout(), None, None, None)?;
        let schema = changes_schema(&columns.schema);
        let (columns, recorded) = (Arc::new(columns.clone()), Arc::new(columns.with_change_type()));
        let times = history::commit_times(self.table().storage()).await?;
        let inserted = Of { version: self.version(), timestamp_us: self.timestamp_us(), change: Some(ChangeType::Insert) };
        let of_files = Arc::clone(&columns);
        let whole = files
            .into_iter()
            .map(move |file| Ok(Piece { file, columns: Arc::clone(&of_files), rows: Rows::default(), tag: inserted }));
        let finder = Finder { shown: self.clone(), columns, recorded };
        let pieces = stream::iter(commits.into_iter().map(Ok::<_, DeltaError>)).and_then(move |commit| {
            let finder = finder.clone();
            let by_file = times.get(&commit.version).copied().unwrap_or_default().saturating_mul(1000);
            async move {
                let at_us = commit.timestamp_us.unwrap_or(by_file);
                let pieces = finder.pieces(commit.version, at_us, &commit.actions).await?;
                Ok(stream::iter(pieces.into_iter().map(Ok)))
            }
        });
        let pieces = futures::StreamExt::chain(stream::iter(whole), pieces.try_flatten());
        Ok(tell(self.url(), schema, read_pieces(source(self), pieces)))
    }
}
