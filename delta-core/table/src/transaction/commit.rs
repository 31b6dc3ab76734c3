//! Committing: attempt after attempt, for one transaction or for several together.

use std::sync::Arc;

use boathouse_delta_protocol::action::Action;

use super::back_off::wait_for_turn;
use super::builder::Transaction;
use super::group;
use super::member::grouped;
use super::pursuit::{Encoded, Pursuit, Won, commits_between, encode, winners_from};
use super::put::{Put, put};
use crate::error::{DeltaError, Result};
use crate::table::DeltaTable;
use crate::upkeep::after_commit;

/// A commit that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitReport {
    /// The version that holds it.
    pub version: u64,
    /// Attempts: 1 without contention.
    pub attempts: u32,
    /// Transactions that share the commit, this one included: 1 when it is alone.
    pub members: u32,
}

impl Transaction {
    /// Commits, or leaves the table as it is.
    ///
    /// Appends that wait for the same table handle become one version, unless they are to be [`alone`](Self::alone).
    /// May be dropped: then the commit happened as a whole or not at all, or still happens.
    ///
    /// **Cost**: one put without contention; a GET of each commit that was faster. Checksums, checkpoints and a clean
    /// log come after it, as the table's [`UpkeepSettings`](crate::UpkeepSettings) say.
    ///
    /// **Errors**: `Conflict` names the winner; `Invalid` when the table forbids the change; `Unavailable` with
    /// [`DeltaError::CommitUnknown`] when the store does not say whether it happened.
    pub async fn commit(self) -> Result<CommitReport> {
        let table = self.table.clone();
        let pursuit = Pursuit::start(self).await?;
        let interval = pursuit.checkpoint_interval();
        let report = if pursuit.can_share() { group::commit(pursuit).await? } else { alone(pursuit).await? };
        if report.members == 1 {
            after_commit(&table, report.version, interval).await;
        }
        Ok(report)
    }
}

/// Commits one transaction.
pub(super) async fn alone(pursuit: Pursuit) -> Result<CommitReport> {
    let table = pursuit.table().clone();
    let mut reports = together(&table, vec![pursuit]).await;
    #[expect(clippy::expect_used, reason = "every member gets one report")]
    reports.pop().expect("every member gets one report")
}

/// Commits transactions as one version. Each gets its own report, in this order; what stops one does not stop the others.
pub(super) async fn together(table: &DeltaTable, members: Vec<Pursuit>) -> Vec<Result<CommitReport>> {
    let group_id = (members.len() > 1).then(|| table.env().uuid());
    let mut party = Party { reports: members.iter().map(|_| None).collect(), live: members.into_iter().enumerate().collect() };
    party.meet(table).await;
    let mut attempt = 0;
    while !party.live.is_empty() {
        attempt += 1;
        match party.attempt(table, group_id.as_deref()).await {
            Ok((version, Put::Done, commit)) => party.succeed(table, version, attempt, &commit).await,
            Ok((version, Put::Taken(winner), _)) => {
                let winner: Arc<[Action]> = winner.into();
                table.recent().keep(version, &winner);
                // The wait comes before the look: whoever has caught up tries at once, before there are more winners.
                wait_for_turn(table.env(), attempt).await;
                match winners_from(table, version, winner).await {
                    Ok(winners) => party.follow(&winners).await,
                    Err(error) => party.fail(table, error).await,
                }
                party.give_up(table, attempt).await;
            }
            Err(error) => party.fail(table, error).await,
        }
    }
    party.reports.into_iter().flatten().collect()
}

/// Members of a commit that have no report yet, and the reports of the others.
struct Party {
    live: Vec<(usize, Pursuit)>,
    reports: Vec<Option<Result<CommitReport>>>,
}

impl Party {
    /// Lets all members stand on the newest version that one of them, or this process, knows.
    async fn meet(&mut self, table: &DeltaTable) {
        let Some(mut next) = self.live.iter().map(|(_, member)| member.ground.next_version()).max() else { return };
        let is_new = self.live.iter().any(|(_, member)| member.transaction.base.is_none());
        while !is_new && table.recent().get(next).is_some() {
            next += 1;
        }
        for (place, mut member) in std::mem::take(&mut self.live) {
            let behind = member.ground.next_version();
            let met = match behind < next {
                true => match commits_between(table, behind, next - 1).await {
                    Ok(winners) => member.follow(&winners).await,
                    Err(error) => Err(error),
                },
                false => Ok(()),
            };
            self.keep(place, member, met).await;
        }
    }

    async fn attempt(&mut self, table: &DeltaTable, group_id: Option<&str>) -> Result<(u64, Put, Encoded)> {
        let mut actions = Vec::new();
        for (_, member) in &mut self.live {
            actions.extend(member.actions().await?);
        }
        let infos: Vec<_> = self.live.iter().map(|(_, member)| &member.transaction.info).collect();
        let (info, txn_id) = match (self.live.as_slice(), group_id) {
            ([(_, member)], _) => (member.transaction.info.clone(), member.txn_id.clone()),
            (_, Some(id)) => (grouped(&infos, id), id.to_owned()),
            (members, None) => (grouped(&infos, &members[0].1.txn_id), members[0].1.txn_id.clone()),
        };
        let ground = &self.live[0].1.ground;
        let version = ground.next_version();
        let commit = encode(table, ground, info, actions)?;
        let outcome = put(table, version, &commit.bytes, &txn_id).await?;
        Ok((version, outcome, commit))
    }

    async fn follow(&mut self, winners: &[Won]) {
        for (place, mut member) in std::mem::take(&mut self.live) {
            let followed = member.follow(winners).await;
            self.keep(place, member, followed).await;
        }
    }

    /// Keeps a member on its way, or reports why it is not any more.
    async fn keep(&mut self, place: usize, member: Pursuit, result: Result<()>) {
        match result {
            Ok(()) => self.live.push((place, member)),
            Err(error) => self.report(place, member, error).await,
        }
    }

    async fn report(&mut self, place: usize, member: Pursuit, error: DeltaError) {
        // Files of a commit that may have happened must stay.
        if !matches!(error, DeltaError::CommitUnknown { .. }) {
            member.discard(&[]).await;
        }
        self.reports[place] = Some(Err(error));
    }

    async fn succeed(&mut self, table: &DeltaTable, version: u64, attempts: u32, commit: &Encoded) {
        table.recent().keep(version, &commit.actions);
        table.advance(version, &commit.bytes);
        let members = u32::try_from(self.live.len()).unwrap_or(u32::MAX);
        for (place, member) in std::mem::take(&mut self.live) {
            self.reports[place] = Some(Ok(CommitReport { version, attempts, members }));
            member.discard(&commit.actions).await;
        }
    }

    /// Reports those whose last attempt it was.
    async fn give_up(&mut self, table: &DeltaTable, attempt: u32) {
        for (place, member) in std::mem::take(&mut self.live) {
            if attempt < member.transaction.max_attempts {
                self.live.push((place, member));
                continue;
            }
            let version = member.ground.next_version();
            let error = DeltaError::TooManyAttempts { url: table.url().to_owned(), attempts: attempt, version };
            self.report(place, member, error).await;
        }
    }

    /// An attempt failed: a single member gets the error. Several are tried one by one, so that each gets its own; unless it may
    /// have happened, which is so for all of them.
    async fn fail(&mut self, table: &DeltaTable, error: DeltaError) {
        let mut live = std::mem::take(&mut self.live);
        if let DeltaError::CommitUnknown { url, version, source, .. } = error {
            for (place, member) in live {
                let (url, txn_id, source) = (url.clone(), member.txn_id.clone(), Arc::clone(&source));
                self.report(place, member, DeltaError::CommitUnknown { url, version, txn_id, source }).await;
            }
        } else if live.len() == 1 {
            if let Some((place, member)) = live.pop() {
                self.report(place, member, error).await;
            }
        } else {
            tracing::warn!(table = table.url(), members = live.len(), %error, "a shared commit failed; its members are tried one by one");
            for (place, member) in live {
                self.reports[place] = Some(Box::pin(alone(member)).await);
            }
        }
    }
}
