//! Whether a table may be changed in a certain way at all.

use std::collections::BTreeSet;

use boathouse_delta_protocol::action::{Action, Add, FileKey};
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_protocol::stats::record_count;

use super::builder::Transaction;
use crate::error::{DeltaError, OnTable, Result, TransactionProblem};
use crate::snapshot::Snapshot;

/// The rows of a file by its statistics, deleted ones too.
pub(super) fn rows_of(add: &Add) -> Option<u64> {
    record_count(add.stats.as_deref()?).ok().flatten()
}

impl Transaction {
    /// Checks the transaction against the version that it has read.
    pub(super) async fn check(&self) -> Result<()> {
        let url = self.table.url();
        let invalid = |problem| DeltaError::InvalidTransaction { url: url.to_owned(), problem };
        let protocol = self.actions.iter().rev().find_map(|a| if let Action::Protocol(p) = a { Some(p) } else { None });
        let metadata = self.actions.iter().rev().find_map(|a| if let Action::Metadata(m) = a { Some(m) } else { None });
        for (action, more) in [("metaData", is_metadata as fn(&Action) -> bool), ("protocol", is_protocol)] {
            if self.actions.iter().filter(|a| more(a)).count() > 1 {
                return Err(invalid(TransactionProblem::SetTwice { action }));
            }
        }
        let (protocol, metadata) = match &self.base {
            Some(base) => {
                // The table as it is must be one that we may write to, not only as it will be.
                features::check_write(base.protocol(), base.metadata()).on(url)?;
                (protocol.unwrap_or(base.protocol()), metadata.unwrap_or(base.metadata()))
            }
            None => match (protocol, metadata) {
                (Some(protocol), Some(metadata)) => (protocol, metadata),
                _ => return Err(invalid(TransactionProblem::NoMetadata)),
            },
        };
        if protocol_or_metadata_staged(&self.actions) {
            features::check_write(protocol, metadata).on(url)?;
        }
        self.table.check_committer(protocol)?;
        let rearranges = self.actions.iter().any(|a| matches!(a, Action::Remove(remove) if !remove.data_change));
        if let Some(feature) = features::catalog_feature(protocol)
            && (rearranges || !self.stake.concatenations.is_empty())
        {
            return Err(DeltaError::MaintenanceByCatalog { url: url.to_owned(), operation: "rearrange rows of", feature });
        }
        let marks = !self.stake.marks.is_empty();
        let removes_rows = marks || self.actions.iter().any(|a| matches!(a, Action::Remove(r) if r.data_change));
        if removes_rows {
            let properties = metadata.properties().on(url)?;
            let otherwise = if marks { RowChange::MarkRows } else { RowChange::RemoveFiles };
            let change = self.row_change.unwrap_or(otherwise);
            features::check_change(protocol, &properties, change).on(url)?;
            let recorded = self.actions.iter().any(|action| matches!(action, Action::Cdc(_)));
            if change == RowChange::Rewrite && features::records_changes(protocol, &properties) && !recorded {
                return Err(invalid(TransactionProblem::ChangesNotRecorded));
            }
            if marks && !(properties.enable_deletion_vectors && features::has(protocol, "deletionVectors")) {
                return Err(invalid(TransactionProblem::VectorsOff));
            }
        }
        self.check_row_ids()?;
        self.check_files().await
    }

    /// In a table that tracks its rows, those that move to other files must take their ids along.
    fn check_row_ids(&self) -> Result<()> {
        if self.keeps_row_ids || self.base.as_ref().is_none_or(|base| base.row_tracking().is_none()) {
            return Ok(());
        }
        let removed: BTreeSet<&str> =
            self.actions.iter().filter_map(|a| if let Action::Remove(r) = a { Some(r.path.as_str()) } else { None }).collect();
        let mut new = self.actions.iter().filter_map(|action| match action {
            Action::Add(add) if !removed.contains(add.path.as_str()) => Some(add),
            _ => None,
        });
        // Rows that are changed, or only rearranged, were there before; whole files may be replaced by others.
        let changes = !self.stake.marks.is_empty() || matches!(self.row_change, Some(RowChange::Rewrite | RowChange::Rearrange));
        let moved = new.find(|add| changes || !add.data_change);
        match moved.or_else(|| self.stake.concatenations.first().map(|concatenation| &concatenation.add)) {
            None => Ok(()),
            Some(add) => Err(DeltaError::InvalidTransaction {
                url: self.table.url().to_owned(),
                problem: TransactionProblem::RowIdsUnknown { path: add.path.clone() },
            }),
        }
    }

    /// Every file once, and only files that are there.
    async fn check_files(&self) -> Result<()> {
        let invalid = |problem| DeltaError::InvalidTransaction { url: self.table.url().to_owned(), problem };
        let mut added = BTreeSet::new();
        let mut changed: BTreeSet<&str> = BTreeSet::new();
        let mut gone: Vec<FileKey> = Vec::new();
        for action in &self.actions {
            match action {
                Action::Add(add) => {
                    if !added.insert(add.key()) {
                        return Err(invalid(TransactionProblem::AddedTwice { path: add.path.clone() }));
                    }
                    changed.insert(&add.path);
                }
                Action::Remove(remove) => {
                    changed.insert(&remove.path);
                    gone.extend(Some(remove.key()).filter(|_| !self.lists_strangers));
                }
                _ => {}
            }
        }
        let concatenated =
            self.stake.concatenations.iter().flat_map(|c| c.sources.iter().map(|source| &source.file).chain([&c.add]));
        for file in self.stake.marks.values().map(|mark| &mark.file).chain(concatenated) {
            if !changed.insert(&file.path) {
                return Err(invalid(TransactionProblem::ChangedTwice { path: file.path.clone() }));
            }
        }
        for mark in self.stake.marks.values() {
            let path = || mark.file.path.clone();
            let rows = rows_of(&mark.file).ok_or_else(|| invalid(TransactionProblem::RowsUnknown { path: path() }))?;
            if let Some(row) = mark.rows.last().filter(|row| *row >= rows) {
                return Err(invalid(TransactionProblem::RowBeyondFile { path: path(), row, rows }));
            }
            gone.push(mark.file.key());
        }
        gone.extend(self.stake.concatenations.iter().flat_map(|c| c.sources.iter().map(|source| source.file.key())));
        if gone.is_empty() {
            return Ok(());
        }
        let version = self.base.as_ref().map_or(0, Snapshot::version);
        let unknown = match &self.base {
            Some(base) => first_unknown(base, gone).await?,
            None => gone.into_iter().next(),
        };
        match unknown {
            Some(key) => Err(invalid(TransactionProblem::RemovesUnknown { path: key.path, version })),
            None => Ok(()),
        }
    }
}

/// The first of these files that a version does not have.
async fn first_unknown(base: &Snapshot, files: Vec<FileKey>) -> Result<Option<FileKey>> {
    let known = base.index().await?;
    Ok(files.into_iter().find(|key| !known.contains(key)))
}

fn is_metadata(action: &Action) -> bool {
    matches!(action, Action::Metadata(_))
}

fn is_protocol(action: &Action) -> bool {
    matches!(action, Action::Protocol(_))
}

fn protocol_or_metadata_staged(actions: &[Action]) -> bool {
    actions.iter().any(|action| is_metadata(action) || is_protocol(action))
}
