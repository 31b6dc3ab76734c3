//! Putting a transaction together.

use std::collections::BTreeMap;

use boathouse_base::{AppTransaction, Predicate};
use boathouse_delta_protocol::action::{Action, Add, CommitInfo, DomainMetadata, Metadata, Protocol, Remove, Txn};
use boathouse_delta_protocol::conflict::{Concatenation, Mark, Source, Stake};
use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_delta_protocol::features::RowChange;
use serde_json::Value as Json;

use crate::app_transaction::keep_payload;
use crate::commit_metadata;
use crate::error::{DeltaError, OnTable, Result, TransactionProblem};
use crate::scan::DataFile;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::write::{WrittenChanges, WrittenFiles};

/// How often a commit is tried before it gives up. Every attempt that is lost is a commit of another writer.
const MAX_ATTEMPTS: u32 = 500;

/// A change of a table that is being put together. Nothing happens before [`commit`](Self::commit).
///
/// What is *read* decides what other writers may do meanwhile: a transaction that declares no read is a blind
/// append and conflicts with no other writer's rows. See
/// [`conflict`](boathouse_delta_protocol::conflict) for the whole table.
///
/// # Example
/// ```no_run
/// # use boathouse_base::Predicate;
/// # use boathouse_delta_table::{DeltaError, Snapshot, Transaction};
/// # async fn delete_month(snapshot: Snapshot) -> Result<(), DeltaError> {
/// // Month is the partition column: its files leave as they are.
/// let month = Predicate::eq("month", 7);
/// let files = snapshot.files(Some(&month)).await?;
/// let report = Transaction::begin(&snapshot)
///     .read_predicate(month.clone())
///     .remove_all(&files)
///     .operation("DELETE", [("predicate", month.to_string())])
///     .commit()
///     .await?;
/// println!("version {}, after {} attempts", report.version, report.attempts);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction {
    pub(super) table: DeltaTable,
    /// What was read; nothing for a new table.
    pub(super) base: Option<Snapshot>,
    pub(super) stake: Stake,
    pub(super) actions: Vec<Action>,
    pub(super) info: CommitInfo,
    pub(super) row_change: Option<RowChange>,
    pub(super) max_attempts: u32,
    pub(super) now_ms: i64,
    pub(super) grouping: Grouping,
    /// Whether rows from before, in new files, carry their ids along.
    pub(super) keeps_row_ids: bool,
    /// Whether it holds for the very next version alone.
    pub(super) only_next: bool,
    /// Whether files that were never in the table are listed as removed ones.
    pub(super) lists_strangers: bool,
}

/// Whether a transaction may share a commit with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// When it only adds rows.
    Allowed,
    /// Never.
    Alone,
}

impl Transaction {
    /// A change of a table as it is at this version.
    pub fn begin(snapshot: &Snapshot) -> Self {
        Self::new(snapshot.table().clone(), Some(snapshot.clone()))
    }

    /// A new table. Add metadata and protocol before the commit.
    pub(crate) fn create(table: DeltaTable, protocol: Protocol, metadata: Metadata) -> Self {
        let mut transaction = Self::new(table, None);
        transaction.actions.extend([Action::Protocol(protocol), Action::Metadata(metadata)]);
        transaction
    }

    fn new(table: DeltaTable, base: Option<Snapshot>) -> Self {
        let now_ms = table.env().now_ms();
        let info = CommitInfo { operation: Some("WRITE".to_owned()), ..CommitInfo::default() };
        Self {
            table,
            base,
            stake: Stake::default(),
            actions: Vec::new(),
            info,
            row_change: None,
            max_attempts: MAX_ATTEMPTS,
            now_ms,
            grouping: Grouping::Allowed,
            keeps_row_ids: false,
            only_next: false,
            lists_strangers: false,
        }
    }

    /// All rows were read: every row that another writer adds or removes meanwhile is a conflict.
    pub fn read_whole_table(mut self) -> Self {
        self.stake.reads.whole_table = true;
        self
    }

    /// The rows that match were read.
    pub fn read_predicate(mut self, predicate: Predicate) -> Self {
        self.stake.reads.predicates.push(predicate);
        self
    }

    /// The rows of these files were read.
    pub fn read_files<'a>(mut self, files: impl IntoIterator<Item = &'a DataFile>) -> Self {
        self.stake.reads.files.extend(files.into_iter().map(|file| file.add().path.clone()));
        self
    }

    /// Of this file exactly these rows were read, by their place in it, from 0. No row at all: it was searched, and nothing was found.
    ///
    /// Other writers may then delete all other rows of it. Without this, a predicate or a read of the whole table counts for
    /// every row of a file that its statistics do not exclude.
    pub fn read_rows(mut self, file: &DataFile, rows: impl IntoIterator<Item = u64>) -> Self {
        self.stake.reads.rows.entry(file.add().path.clone()).or_default().union_with(&rows.into_iter().collect());
        self
    }

    /// The last `txn` of this application was read.
    pub fn read_app_transaction(mut self, app_id: impl Into<String>) -> Self {
        self.stake.reads.app_ids.insert(app_id.into());
        self
    }

    /// This metadata domain was read.
    pub fn read_domain(mut self, domain: impl Into<String>) -> Self {
        self.stake.reads.domains.insert(domain.into());
        self
    }

    /// Schema, properties or other metadata were read in such a way that no change of them is harmless.
    pub fn read_metadata(mut self) -> Self {
        self.stake.reads.metadata = true;
        self
    }

    /// Adds a data file. It must be complete in the store.
    #[expect(clippy::should_implement_trait, reason = "the action is called `add` in the protocol, beside `remove`")]
    pub fn add(mut self, add: Add) -> Self {
        self.actions.push(add.into());
        self
    }

    /// Adds data files.
    pub fn add_all(mut self, adds: impl IntoIterator<Item = Add>) -> Self {
        self.actions.extend(adds.into_iter().map(Action::from));
        self
    }

    /// Adds the files that a writer wrote, and what else they change: the marks of identity columns.
    ///
    /// **Errors**: `Corrupt` when the schema of the table does not parse.
    pub fn add_written(mut self, written: &WrittenFiles) -> Result<Self> {
        if !written.high_water_marks.is_empty() {
            let staged = self.actions.iter().position(|action| matches!(action, Action::Metadata(_)));
            let metadata = match staged.map(|at| self.actions.remove(at)) {
                Some(Action::Metadata(metadata)) => Some(metadata),
                _ => self.base.as_ref().map(|base| base.metadata().clone()),
            };
            if let Some(metadata) = metadata {
                let schema = metadata.schema().on(self.table.url())?.with_high_water_marks(&written.high_water_marks);
                self = self.set_metadata(Metadata { schema_string: schema.to_json(), ..metadata });
            }
        }
        if !written.adds.is_empty() {
            self.keeps_row_ids = written.keeps_row_ids && (self.keeps_row_ids || !self.adds_files());
        }
        Ok(self.add_all(written.adds.iter().cloned()))
    }

    /// Says that rows which were in the table before carry their ids along in the files that are added, or that there are none such.
    ///
    /// Needed on tables that track their rows, when these files were not written by a [`DataWriter`](crate::DataWriter) and staged with
    /// [`add_written`](Self::add_written), and rows leave other files, or are put into others.
    pub fn keeps_row_ids(mut self) -> Self {
        self.keeps_row_ids = true;
        self
    }

    /// Commits as the version after the one that was read, or fails with [`DeltaError::TooManyAttempts`].
    pub(crate) fn only_next(mut self) -> Self {
        self.only_next = true;
        self.alone()
    }

    /// Removed files need not be in the table: they are listed, so that a vacuum spares them for some time.
    pub(crate) fn lists_strangers(mut self) -> Self {
        self.lists_strangers = true;
        self.alone()
    }

    fn adds_files(&self) -> bool {
        !self.stake.concatenations.is_empty() || self.actions.iter().any(|action| matches!(action, Action::Add(_)))
    }

    /// Says for readers of the change feed what this commit changes. They then look at nothing else of it.
    pub fn record_changes(mut self, changes: &WrittenChanges) -> Self {
        self.actions.extend(changes.files.iter().cloned().map(Action::from));
        self
    }

    /// Removes a data file and the rows in it.
    pub fn remove(self, file: &DataFile) -> Self {
        let remove = file.add().to_remove(self.now_ms, true);
        self.remove_action(remove)
    }

    /// Removes data files and the rows in them.
    pub fn remove_all<'a>(self, files: impl IntoIterator<Item = &'a DataFile>) -> Self {
        files.into_iter().fold(self, Self::remove)
    }

    /// Removes a data file, as this action says.
    pub fn remove_action(mut self, remove: Remove) -> Self {
        self.actions.push(remove.into());
        self
    }

    /// Deletes rows of a file, by their place in it, from 0, without writing it again: its deletion vector grows by them.
    ///
    /// Rows that are deleted already are passed over; a file that loses its last row leaves. The rows count as read, so two
    /// transactions that delete different rows of one file both succeed. What else was read of the file is for
    /// [`read_rows`](Self::read_rows) or the other reads to say.
    ///
    /// The table must have `delta.enableDeletionVectors`, and the statistics of the file must say how many rows it has.
    ///
    /// **Cost** of the commit: a GET of the file's vector, if it is not in the log; one put of a file with all new vectors, unless
    /// all of them are small enough for the log.
    pub fn delete_rows(mut self, file: &DataFile, rows: impl IntoIterator<Item = u64>) -> Self {
        let rows: DeletionVector = rows.into_iter().collect();
        let mark = || Mark { file: file.add().as_ref().clone(), rows: DeletionVector::new() };
        self.stake.marks.entry(file.add().path.clone()).or_insert_with(mark).rows.union_with(&rows);
        self
    }

    /// Replaces files by one that holds their rows, one file after the other, each in its order, without those that are deleted.
    ///
    /// The rows do not change: this conflicts with no append. Because the commit says how the file was put together, rows that other
    /// writers delete from the old files meanwhile, or right afterwards, are deleted from the new one.
    ///
    /// **Errors**: `Invalid` when statistics do not say how many rows a file has, or the numbers do not agree.
    pub fn concatenate(mut self, sources: &[DataFile], add: Add) -> Result<Self> {
        let invalid = |problem| DeltaError::InvalidTransaction { url: self.table.url().to_owned(), problem };
        let unknown = |path: &str| invalid(TransactionProblem::RowsUnknown { path: path.to_owned() });
        let rows = |source: &DataFile| source.row_count().ok_or_else(|| unknown(&source.add().path));
        let part = |file: &DataFile| {
            let (rows, vector) = (rows(file)?, file.deletion_vector().cloned());
            Ok(Source { file: file.add().as_ref().clone(), rows, vector, gone: DeletionVector::new() })
        };
        let parts = sources.iter().map(part).collect::<Result<Vec<_>>>()?;
        let expected: u64 = parts.iter().map(|part| part.rows).sum();
        let found = super::check::rows_of(&add).ok_or_else(|| unknown(&add.path))?;
        if found != expected {
            return Err(invalid(TransactionProblem::RowsDiffer { path: add.path, expected, found }));
        }
        let add = Add { data_change: false, ..add };
        self.stake.concatenations.push(Concatenation { add, sources: parts, deleted: DeletionVector::new() });
        Ok(self)
    }

    /// Takes the reads and the changes of another transaction into this one, so that both happen in one commit.
    ///
    /// The operation stays that of this one; facts for the history of both are kept, and metrics of the same name are added up.
    ///
    /// **Errors**: `Invalid` when the other one is about another table or version.
    pub fn with(mut self, other: Self) -> Result<Self> {
        let place = |t: &Self| (t.table.url().to_owned(), t.base.as_ref().map(Snapshot::version));
        if place(&self) != place(&other) {
            let (url, problem) =
                (self.table.url().to_owned(), TransactionProblem::AnotherBase { url: other.table.url().to_owned() });
            return Err(DeltaError::InvalidTransaction { url, problem });
        }
        let keeps = |t: &Self| t.keeps_row_ids || !t.adds_files();
        self.keeps_row_ids = keeps(&self) && keeps(&other);
        self.only_next |= other.only_next;
        self.lists_strangers |= other.lists_strangers;
        self.stake.reads.union_with(other.stake.reads);
        for (path, mark) in other.stake.marks {
            match self.stake.marks.get_mut(&path) {
                Some(known) => known.rows.union_with(&mark.rows),
                None => {
                    self.stake.marks.insert(path, mark);
                }
            }
        }
        self.stake.concatenations.extend(other.stake.concatenations);
        self.actions.extend(other.actions);
        for (key, value) in other.info.operation_metrics.clone().unwrap_or_default() {
            let sum = self.info.operation_metrics.get_or_insert_with(BTreeMap::new).entry(key).or_insert_with(|| Json::from("0"));
            *sum = super::member::added(sum, &value);
        }
        super::member::merge_facts(&mut self.info, &other.info);
        if self.row_change != Some(RowChange::Rewrite) {
            self.row_change = other.row_change.or(self.row_change);
        }
        self.max_attempts = self.max_attempts.max(other.max_attempts);
        if other.grouping == Grouping::Alone {
            self.grouping = Grouping::Alone;
        }
        Ok(self)
    }

    /// Commits by itself, even if other appends of this process wait at the same time.
    ///
    /// Without it, appends that wait for the same table handle become one version.
    pub fn alone(mut self) -> Self {
        self.grouping = Grouping::Alone;
        self
    }

    /// Sets schema, properties and the rest of the metadata.
    pub fn set_metadata(mut self, metadata: Metadata) -> Self {
        self.actions.push(metadata.into());
        self
    }

    /// Sets what clients must be able to do.
    pub fn set_protocol(mut self, protocol: Protocol) -> Self {
        self.actions.push(protocol.into());
        self
    }

    /// Sets or removes a metadata domain.
    pub fn domain_metadata(mut self, domain: DomainMetadata) -> Self {
        self.actions.push(domain.into());
        self
    }

    /// Numbers this write, so that it is not done twice; its payload is kept in the commit.
    ///
    /// The caller has looked at [`Snapshot::app_transaction`] before: here nothing is skipped, but another writer
    /// that commits for the same application meanwhile is a conflict.
    ///
    /// **Errors**: `Invalid` when the version is beyond the 63 bits of the log.
    pub fn app_transaction(mut self, transaction: &AppTransaction) -> Result<Self> {
        let version = i64::try_from(transaction.version).map_err(|_| DeltaError::AppVersionTooLarge {
            url: self.table.url().to_owned(),
            app_id: transaction.app_id.clone(),
            version: transaction.version,
        })?;
        if let Some(payload) = &transaction.payload {
            keep_payload(&mut self.info, &transaction.app_id, payload);
        }
        self.actions.push(Txn { app_id: transaction.app_id.clone(), version, last_updated: Some(self.now_ms) }.into());
        Ok(self)
    }

    /// Names the operation and what it was asked to do, for the history.
    pub fn operation<'k>(mut self, name: &str, parameters: impl IntoIterator<Item = (&'k str, String)>) -> Self {
        self.info.operation = Some(name.to_owned());
        let parameters = parameters.into_iter().map(|(key, value)| (key.to_owned(), Json::String(value)));
        self.info.operation_parameters = Some(parameters.collect());
        self
    }

    /// Says what the operation did, for the history: names as Spark has them, such as `numOutputRows`.
    pub fn metrics<'k>(mut self, metrics: impl IntoIterator<Item = (&'k str, u64)>) -> Self {
        let metrics = metrics.into_iter().map(|(key, value)| (key.to_owned(), Json::String(value.to_string())));
        self.info.operation_metrics.get_or_insert_with(BTreeMap::new).extend(metrics);
        self
    }

    /// Free facts for the history. `userMetadata` becomes the field of that name.
    pub fn commit_metadata(mut self, facts: &BTreeMap<String, String>) -> Self {
        commit_metadata::keep(&mut self.info, facts);
        self
    }

    /// Says that rows are changed within files, which some tables forbid. Without it, a removed file counts as a
    /// whole file that leaves.
    pub fn row_change(mut self, change: RowChange) -> Self {
        self.row_change = Some(change);
        self
    }

    /// Tries at most so often.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }
}
