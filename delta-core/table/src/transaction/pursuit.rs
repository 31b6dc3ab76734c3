//! A transaction on its way behind other writers.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_delta_protocol::action::{Action, CommitInfo, Metadata, Protocol};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::conflict::{
    Attempt, Concatenations, Ground, ROW_TRACKING_DOMAIN, RowTouch, TouchedVectors, Winner,
};
use boathouse_delta_protocol::log_path::{LogFile, commit_name};
use boathouse_delta_protocol::properties::IsolationLevel;
use bytes::Bytes;

use super::builder::{Grouping, Transaction};
use super::vectors::Vectors;
use crate::error::{DeltaError, OnTable, Result};
use crate::log::list::{Listed, list_log, log_path};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Time after which a version that was read may have been overtaken by a clean-up of the log: then it is looked up before the commit.
/// Tables keep their log for days.
const FRESH_US: u64 = 60_000_000;

/// Another writer's commit.
pub(super) type Won = (u64, Arc<[Action]>);

/// A checked transaction, and the version that it stands on.
#[derive(Debug)]
pub(super) struct Pursuit {
    pub(super) transaction: Transaction,
    pub(super) txn_id: String,
    pub(super) ground: Ground,
    vectors: Vectors,
}

impl Pursuit {
    /// Checks the transaction and stands on the version that it has read.
    pub(super) async fn start(mut transaction: Transaction) -> Result<Self> {
        transaction.check().await?;
        let txn_id = transaction.table.env().uuid();
        transaction.fill_info(&txn_id);
        let ground = match &transaction.base {
            Some(base) => ground(base),
            None => {
                let (protocol, metadata) = transaction.created();
                Ground::empty(protocol, metadata.into())
            }
        };
        let mut pursuit = Self { transaction, txn_id, ground, vectors: Vectors::default() };
        if let Some(base) = pursuit.transaction.base.clone() {
            check_age(&base).await?;
            pursuit.look_at_vectors().await?;
        }
        Ok(pursuit)
    }

    pub(super) fn table(&self) -> &DeltaTable {
        &self.transaction.table
    }

    /// Versions from one checkpoint to the next; 0 for none.
    pub(super) fn checkpoint_interval(&self) -> u64 {
        self.transaction.base.as_ref().map_or(0, |base| base.properties().checkpoint_interval)
    }

    /// Whether it may share a commit with others: it only adds rows, and has read none.
    pub(super) fn can_share(&self) -> bool {
        let plain = |action: &Action| match action {
            Action::Add(add) => add.data_change,
            Action::Txn(_) => true,
            _ => false,
        };
        let reads = &self.transaction.stake.reads;
        self.transaction.grouping == Grouping::Allowed
            && self.transaction.base.is_some()
            && self.transaction.is_blind_append()
            && reads.domains.is_empty()
            && self.transaction.actions.iter().all(plain)
    }

    /// The paths of its files, and its applications: what no other member of a group may have.
    pub(super) fn names(&self) -> BTreeSet<(bool, &str)> {
        let reads = self.transaction.stake.reads.app_ids.iter().map(|app| (true, app.as_str()));
        let staged = self.transaction.actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some((false, add.path.as_str())),
            Action::Txn(txn) => Some((true, txn.app_id.as_str())),
            _ => None,
        });
        reads.chain(staged).collect()
    }

    /// Goes behind these winners, the first of which took the next version.
    pub(super) async fn follow(&mut self, winners: &[Won]) -> Result<()> {
        let table = self.transaction.table.clone();
        let Some(base) = self.transaction.base.clone() else {
            return Err(DeltaError::CreatedMeanwhile { url: table.url().to_owned() });
        };
        if let Some((version, _)) = winners.first().filter(|_| self.transaction.only_next) {
            return Err(DeltaError::TooManyAttempts { url: table.url().to_owned(), attempts: 1, version: *version });
        }
        let conflict = |source| DeltaError::Conflict { url: table.url().to_owned(), source: Box::new(source) };
        for (version, actions) in winners {
            let winner = Winner { version: *version, actions };
            let touches = check(&self.transaction, &base, &winner).await?;
            if !touches.is_empty() {
                self.vectors.moved();
            }
            let mut looked_at: Vec<(RowTouch<'_>, TouchedVectors)> = Vec::with_capacity(touches.len());
            for touch in touches {
                let vectors = self.vectors.of_touch(&table, &touch, *version).await?;
                looked_at.push((touch, vectors));
            }
            self.transaction.stake.follow(&winner, &looked_at).map_err(conflict)?;
            self.ground.follow(&winner);
        }
        if self.ground.needs_time(&self.transaction.actions) {
            let at = written_ms(&table, self.ground.next_version().saturating_sub(1)).await?;
            self.ground = self.ground.clone().committed_at(at);
        }
        Ok(())
    }

    /// The actions that it stages for the version after the one that it stands on, not settled yet.
    pub(super) async fn actions(&mut self) -> Result<Vec<Action>> {
        let transaction = &self.transaction;
        let (table, version) = (&transaction.table, self.ground.next_version().saturating_sub(1));
        let rows = self.vectors.actions(table, &transaction.stake, version, transaction.now_ms).await?;
        let mut concatenations = Concatenations::default();
        for concatenation in &transaction.stake.concatenations {
            concatenations.insert(concatenation.add.path.clone(), concatenation.stretches());
        }
        let actions = transaction.actions.iter().cloned().chain(rows).collect();
        concatenations.keep(&mut self.transaction.info);
        Ok(actions)
    }

    /// Deletes the files of vectors that no commit names.
    pub(super) async fn discard(self, committed: &[Action]) {
        self.vectors.discard(&self.transaction.table, committed).await;
    }

    /// Rows that are deleted already are not at stake, and were not copied.
    async fn look_at_vectors(&mut self) -> Result<()> {
        let (table, version) = (self.transaction.table.clone(), self.ground.next_version().saturating_sub(1));
        for (path, mark) in &mut self.transaction.stake.marks {
            let before = self.vectors.of(&table, path, mark.file.deletion_vector.as_deref(), version).await?;
            mark.rows = mark.rows.minus(&before);
        }
        for source in self.transaction.stake.concatenations.iter_mut().flat_map(|c| &mut c.sources) {
            source.gone = self.vectors.of(&table, &source.file.path, source.vector.as_ref(), version).await?;
        }
        Ok(())
    }
}

async fn check<'w>(transaction: &Transaction, base: &Snapshot, winner: &Winner<'w>) -> Result<Vec<RowTouch<'w>>> {
    let (layout, stake) = (base.layout(), &transaction.stake);
    let isolation = base.properties().isolation_level;
    let files = if stake.reads.predicates.is_empty() { None } else { Some(base.index_with_stats().await?) };
    let mut attempt = Attempt::new(stake, &transaction.actions, isolation, base.metadata(), &layout.schema, layout.mode);
    if let Some(files) = &files {
        attempt = attempt.with_files(files);
    }
    attempt.check(winner).map_err(|source| DeltaError::Conflict { url: base.url().to_owned(), source: Box::new(source) })
}

/// What the next version continues.
fn ground(base: &Snapshot) -> Ground {
    let state = base.state();
    let committed_ms = base.timestamp_us().div_euclid(1000);
    let row_tracking = state.domain_metadata.get(ROW_TRACKING_DOMAIN);
    Ground::new(base.version(), state.protocol.clone(), Arc::clone(&state.metadata), committed_ms, row_tracking)
}

/// When the store wrote the commit of a version, in milliseconds since the Unix epoch.
async fn written_ms(table: &DeltaTable, version: u64) -> Result<i64> {
    let found = table.log().head(&log_path(&commit_name(version))).await?;
    let gone = || DeltaError::BaseCleaned { url: table.url().to_owned(), version, newest: version };
    Ok(found.ok_or_else(gone)?.modified_us.div_euclid(1000))
}

/// A version that was read long ago may be one whose next commits were cleaned up: their numbers would look free.
async fn check_age(base: &Snapshot) -> Result<()> {
    let (table, version) = (base.table(), base.version());
    if table.env().monotonic_us().saturating_sub(base.seen_us()) < FRESH_US {
        return Ok(());
    }
    table.ask_committer().await?;
    let later = list_log(table.log(), Some(version)).await?;
    let versions: BTreeSet<u64> = later.iter().filter_map(|listed| listed.file.version()).collect();
    match versions.last() {
        Some(newest) if *newest > version && later.iter().all(|listed| !is_commit(listed, version + 1)) => {
            Err(DeltaError::BaseCleaned { url: table.url().to_owned(), version, newest: *newest })
        }
        _ => Ok(()),
    }
}

fn is_commit(listed: &Listed, version: u64) -> bool {
    listed.file == LogFile::Commit { version }
}

impl Transaction {
    /// Whether it adds rows, and has read none.
    pub(super) fn is_blind_append(&self) -> bool {
        let only_adds = self.actions.iter().all(|action| match action {
            Action::Add(add) => add.data_change,
            Action::Remove(_) => false,
            _ => true,
        });
        let stake = &self.stake;
        only_adds && stake.marks.is_empty() && stake.concatenations.is_empty() && stake.reads.no_rows() && !stake.reads.metadata
    }

    fn fill_info(&mut self, txn_id: &str) {
        self.info.is_blind_append = Some(self.is_blind_append());
        self.info.read_version = self.base.as_ref().map(Snapshot::version);
        let isolation = self.base.as_ref().map_or_else(IsolationLevel::default, |base| base.properties().isolation_level);
        self.info.isolation_level = Some(isolation.as_str().to_owned());
        self.info.engine_info = Some(crate::ENGINE_INFO.to_owned());
        self.info.txn_id = Some(txn_id.to_owned());
    }

    /// Protocol and metadata of a new table, which were checked to be there.
    fn created(&self) -> (Protocol, Metadata) {
        let mut created = (Protocol::default(), Metadata::default());
        for action in &self.actions {
            match action {
                Action::Protocol(protocol) => created.0 = protocol.clone(),
                Action::Metadata(metadata) => created.1 = metadata.clone(),
                _ => {}
            }
        }
        created
    }
}

/// The winner of a version and all commits after it. The last of them is followed by a free number.
pub(super) async fn winners_from(table: &DeltaTable, taken: u64, first: Arc<[Action]>) -> Result<Vec<Won>> {
    let mut winners = vec![(taken, first)];
    loop {
        let version = taken + winners.len() as u64;
        let Some(actions) = table.read_commit(version).await? else { return Ok(winners) };
        let actions: Arc<[Action]> = actions.into();
        table.recent().keep(version, &actions);
        winners.push((version, actions));
    }
}

/// Commits that are known to be there.
pub(super) async fn commits_between(table: &DeltaTable, from: u64, to: u64) -> Result<Vec<Won>> {
    let mut commits = Vec::new();
    for version in from..=to {
        let actions = match table.recent().get(version) {
            Some(actions) => actions,
            None => {
                let read = table.read_commit(version).await?;
                let gone =
                    || DeltaError::BaseCleaned { url: table.url().to_owned(), version: from.saturating_sub(1), newest: to };
                let actions: Arc<[Action]> = read.ok_or_else(gone)?.into();
                table.recent().keep(version, &actions);
                actions
            }
        };
        commits.push((version, actions));
    }
    Ok(commits)
}

/// A commit that is ready to be put.
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    /// The commit info first.
    pub(super) actions: Arc<[Action]>,
}

/// Puts a commit together for the version after the one that it stands on.
pub(super) fn encode(table: &DeltaTable, ground: &Ground, info: CommitInfo, actions: Vec<Action>) -> Result<Encoded> {
    let (info, actions) = ground.settle(info, actions, table.env().now_ms()).on(table.url())?;
    let actions: Vec<Action> = [Action::from(info)].into_iter().chain(actions).collect();
    let bytes = commit::to_json(&actions).on(table.url())?;
    Ok(Encoded { bytes: bytes.into(), actions: actions.into() })
}
