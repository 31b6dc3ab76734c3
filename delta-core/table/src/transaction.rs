//! Transactions: what was read, what is changed, and one atomic commit.
//!
//! ```text
//!   begin(snapshot) ─ read_… ─ add, remove, … ─▶ commit ─▶ put-if-absent of VERSION + 1
//!                                                  ▲             │ taken
//!                                                  │             ├─▶ by ourselves (a reply got lost): done
//!                                       wait, go behind it ◀─────┴─▶ by another: no conflict ─ or ─▶ Conflict
//! ```
//! Every attempt carries the same transaction id in its commit info. A writer that is told "failed" or "exists
//! already" looks at the commit that is there, and knows its own again: nothing is ever written twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use boathouse_base::{AppTransaction, DomainError, ErrorKind, Predicate};
use boathouse_delta_protocol::action::{Action, Add, CommitInfo, DomainMetadata, Metadata, Protocol, Remove, Txn};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::conflict::{Attempt, Reads, Winner};
use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_protocol::log_path::commit_name;
use boathouse_delta_protocol::properties::IsolationLevel;
use boathouse_storage::StorageError;
use serde_json::Value as Json;

use crate::app_transaction::keep_payload;
use crate::error::{DeltaError, OnTable, Result, TransactionProblem};
use crate::log::commit::{info, read_commit};
use crate::log::list::log_path;
use crate::scan::DataFile;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::{checkpoint, commit_metadata};

/// How often a commit is tried before it gives up.
const MAX_ATTEMPTS: u32 = 50;
/// The first wait between two attempts; it doubles up to [`LONGEST_WAIT`], and a part of it is left to chance.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(1000);
/// How often the outcome of a failed put is looked up.
const LOOK_UPS: u32 = 5;

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
    table: DeltaTable,
    /// What was read; nothing for a new table.
    base: Option<Snapshot>,
    reads: Reads,
    actions: Vec<Action>,
    info: CommitInfo,
    row_change: Option<RowChange>,
    max_attempts: u32,
    now_ms: i64,
}

/// A commit that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitReport {
    /// The version that holds it.
    pub version: u64,
    /// Attempts: 1 without contention.
    pub attempts: u32,
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
        let (reads, actions) = (Reads::default(), Vec::new());
        Self { table, base, reads, actions, info, row_change: None, max_attempts: MAX_ATTEMPTS, now_ms }
    }

    /// All rows were read: every row that another writer adds or removes meanwhile is a conflict.
    pub fn read_whole_table(mut self) -> Self {
        self.reads.whole_table = true;
        self
    }

    /// The rows that match were read.
    pub fn read_predicate(mut self, predicate: Predicate) -> Self {
        self.reads.predicates.push(predicate);
        self
    }

    /// The rows of these files were read.
    pub fn read_files<'a>(mut self, files: impl IntoIterator<Item = &'a DataFile>) -> Self {
        self.reads.files.extend(files.into_iter().map(|file| file.add().path.clone()));
        self
    }

    /// Schema, properties or other metadata were read in such a way that no change of them is harmless.
    pub fn read_metadata(mut self) -> Self {
        self.reads.metadata = true;
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

    /// Commits, or leaves the table as it is.
    ///
    /// May be dropped: then the commit happened as a whole or not at all.
    ///
    /// **Cost**: one put without contention; a GET of each commit that was faster. Every
    /// `delta.checkpointInterval` versions a checkpoint more, whose failure is a warning only.
    ///
    /// **Errors**: `Conflict` names the winner; `Invalid` when the table forbids the change; `Unavailable` with
    /// [`DeltaError::CommitUnknown`] when the store does not say whether it happened.
    pub async fn commit(mut self) -> Result<CommitReport> {
        self.check().await?;
        let txn_id = self.table.env().uuid();
        self.fill_info(&txn_id);
        let mut version = self.base.as_ref().map_or(0, |base| base.version() + 1);
        for attempt in 1..=self.max_attempts {
            match self.put(version, &txn_id).await? {
                Put::Done => {
                    self.checkpoint_if_due(version).await;
                    return Ok(CommitReport { version, attempts: attempt });
                }
                Put::Taken(winner) => version = self.follow(version, winner).await?,
            }
            if attempt < self.max_attempts {
                self.back_off(attempt).await;
            }
        }
        Err(DeltaError::TooManyAttempts { url: self.table.url().to_owned(), attempts: self.max_attempts, version })
    }

    /// Whether the table may be changed like this at all.
    async fn check(&self) -> Result<()> {
        let url = self.table.url();
        let invalid = |problem| DeltaError::InvalidTransaction { url: url.to_owned(), problem };
        let protocol = self.actions.iter().rev().find_map(|a| if let Action::Protocol(p) = a { Some(p) } else { None });
        let metadata = self.actions.iter().rev().find_map(|a| if let Action::Metadata(m) = a { Some(m) } else { None });
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
        features::check_write(protocol, metadata).on(url)?;
        let removes_rows = self.actions.iter().any(|a| matches!(a, Action::Remove(r) if r.data_change));
        let change = self.row_change.unwrap_or(if removes_rows { RowChange::RemoveFiles } else { RowChange::None });
        if removes_rows {
            features::check_change(protocol, &metadata.properties().on(url)?, change).on(url)?;
        }
        let mut added = BTreeSet::new();
        // A transaction that only adds needs no files.
        let removes = self.actions.iter().any(|action| matches!(action, Action::Remove(_)));
        let files = match &self.base {
            Some(base) if removes => Some(base.index().await?),
            _ => None,
        };
        for action in &self.actions {
            match action {
                Action::Add(add) if !added.insert(add.key()) => {
                    return Err(invalid(TransactionProblem::AddedTwice { path: add.path.clone() }));
                }
                Action::Remove(remove) => {
                    if !files.as_ref().is_some_and(|files| files.contains(&remove.key())) {
                        let version = self.base.as_ref().map_or(0, Snapshot::version);
                        return Err(invalid(TransactionProblem::RemovesUnknown { path: remove.path.clone(), version }));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn fill_info(&mut self, txn_id: &str) {
        let only_adds = self.actions.iter().all(|action| match action {
            Action::Add(add) => add.data_change,
            Action::Remove(_) => false,
            _ => true,
        });
        self.info.is_blind_append = Some(only_adds && self.reads == Reads::default());
        self.info.read_version = self.base.as_ref().map(Snapshot::version);
        self.info.isolation_level = Some(self.isolation().as_str().to_owned());
        self.info.engine_info = Some(crate::ENGINE_INFO.to_owned());
        self.info.txn_id = Some(txn_id.to_owned());
    }

    fn isolation(&self) -> IsolationLevel {
        self.base.as_ref().map_or_else(IsolationLevel::default, |base| base.properties().isolation_level)
    }

    /// Tries to make this version ours, until it is known whose it is.
    async fn put(&self, version: u64, txn_id: &str) -> Result<Put> {
        let (storage, path) = (self.table.storage(), log_path(&commit_name(version)));
        let info = CommitInfo { timestamp: Some(self.table.env().now_ms()), ..self.info.clone() };
        let actions: Vec<Action> = [info.into()].into_iter().chain(self.actions.iter().cloned()).collect();
        let bytes = bytes::Bytes::from(commit::to_json(&actions).on(storage.url())?);
        let (mut look_ups, mut on_its_way) = (0, false);
        loop {
            let Err(error) = storage.put_if_absent(&path, bytes.clone()).await else { return Ok(Put::Done) };
            look_ups += 1;
            // Whoever gets no answer does not know: the store may do later what it was asked.
            on_its_way |= error.kind().is_retryable();
            match read_commit(storage, version).await {
                Ok(Some(found)) if info_id(&found) == Some(txn_id) => {
                    tracing::info!(table = storage.url(), version, "the reply to a commit was lost; it had happened");
                    return Ok(Put::Done);
                }
                Ok(Some(found)) => return Ok(Put::Taken(found)),
                // It did not happen: then the error stands, unless trying again may help.
                Ok(None) if look_ups < LOOK_UPS && (error.kind().is_retryable() || error.kind() == ErrorKind::AlreadyExists) => {}
                Ok(None) if on_its_way => return Err(self.unknown(version, txn_id, error)),
                Ok(None) => return Err(error.into()),
                Err(_) if look_ups >= LOOK_UPS => return Err(self.unknown(version, txn_id, error)),
                Err(look_up) => {
                    tracing::warn!(table = storage.url(), version, error = %look_up, "the outcome of a commit is not known yet")
                }
            }
            self.back_off(look_ups).await;
        }
    }

    fn unknown(&self, version: u64, txn_id: &str, source: StorageError) -> DeltaError {
        DeltaError::CommitUnknown {
            url: self.table.url().to_owned(),
            version,
            txn_id: txn_id.to_owned(),
            source: Box::new(source),
        }
    }

    /// Goes behind the winner of this version, and all that came after it. Returns the next free version.
    async fn follow(&self, taken: u64, winner: Vec<Action>) -> Result<u64> {
        let url = self.table.url();
        let Some(base) = &self.base else { return Err(DeltaError::CreatedMeanwhile { url: url.to_owned() }) };
        let layout = base.layout();
        let files = if self.reads.predicates.is_empty() { None } else { Some(base.index_with_stats().await?) };
        let mut attempt =
            Attempt::new(&self.reads, &self.actions, self.isolation(), base.metadata(), &layout.schema, layout.mode);
        if let Some(files) = &files {
            attempt = attempt.with_files(files);
        }
        let (mut version, mut next) = (taken, Some(winner));
        while let Some(actions) = next {
            attempt
                .check(&Winner { version, actions: &actions })
                .map_err(|source| DeltaError::Conflict { url: url.to_owned(), source: Box::new(source) })?;
            version += 1;
            next = read_commit(self.table.storage(), version).await?;
        }
        Ok(version)
    }

    /// Waits a random part of a time that grows with every attempt.
    async fn back_off(&self, attempt: u32) {
        let env = self.table.env();
        let longest = FIRST_WAIT.saturating_mul(1 << attempt.min(10)).min(LONGEST_WAIT);
        let us = env.random_below(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX));
        env.sleep(Duration::from_micros(us)).await;
    }

    /// A checkpoint makes later loads faster; a table without it is as right.
    async fn checkpoint_if_due(&self, version: u64) {
        let interval = self.base.as_ref().map_or(0, |base| base.properties().checkpoint_interval);
        if version == 0 || interval == 0 || !version.is_multiple_of(interval) {
            return;
        }
        let written = async {
            let snapshot = self.table.snapshot().await?;
            checkpoint::write(&snapshot).await
        };
        if let Err(error) = written.await {
            tracing::warn!(table = self.table.url(), version, %error, "the commit succeeded, its checkpoint did not");
        }
    }
}

/// Whose a version is.
enum Put {
    /// Ours.
    Done,
    /// Another writer's, who did this.
    Taken(Vec<Action>),
}

fn info_id(actions: &[Action]) -> Option<&str> {
    info(actions)?.txn_id.as_deref()
}
