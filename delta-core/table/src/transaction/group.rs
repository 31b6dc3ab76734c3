//! Group commit: appends that wait for one table handle become one version.
//!
//! ```text
//!   a ─▶ commit ───────────────▶ done
//!   b ──▶ waits ┐                 └─▶ commit of b, c, d ───────▶ done
//!   c ───▶ waits├─ the next group                                └─▶ commit of e ─▶ …
//!   d ────▶ waits
//!   e ─────────────────────────────────▶ waits
//! ```
//! The first one goes at once, in its own task; nobody waits for others to come. Those that arrive during its put go together
//! afterwards. Two of the same application, or with facts that disagree, never share a commit: the second finds the first
//! as its winner.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::commit::{CommitReport, alone, together};
use super::member::facts_agree;
use super::pursuit::Pursuit;
use crate::error::{DeltaError, Result};
use crate::table::DeltaTable;
use crate::upkeep::after_commit;

/// Transactions that share a commit at most.
const LARGEST_GROUP: usize = 1000;

/// The appends that wait for a table handle.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// A commit is under way; whoever ends it takes the next group.
    busy: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    pursuit: Pursuit,
    reply: oneshot::Sender<Result<CommitReport>>,
}

/// Commits an append: at once, or together with those that wait already.
pub(super) async fn commit(pursuit: Pursuit) -> Result<CommitReport> {
    let Ok(runtime) = Handle::try_current() else { return alone(pursuit).await };
    let table = pursuit.table().clone();
    let (version, txn_id) = (pursuit.ground.next_version(), pursuit.txn_id.clone());
    let place = {
        let mut queue = table.queue().lock();
        if queue.busy {
            let (reply, receiver) = oneshot::channel();
            queue.waiting.push(Waiting { pursuit, reply });
            Err(receiver)
        } else {
            queue.busy = true;
            Ok(pursuit)
        }
    };
    match place {
        Ok(pursuit) => {
            let _turn = Turn { table, runtime };
            alone(pursuit).await
        }
        Err(receiver) => receiver.await.unwrap_or_else(|ended| {
            let (url, source) = (table.url().to_owned(), Arc::new(ended));
            Err(DeltaError::CommitUnknown { url, version, txn_id, source })
        }),
    }
}

/// The right to commit. Whoever drops it, done or cancelled, lets the next group go.
struct Turn {
    table: DeltaTable,
    runtime: Handle,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let group = self.table.queue().lock().next_group();
        if group.is_empty() {
            return;
        }
        let next = Turn { table: self.table.clone(), runtime: self.runtime.clone() };
        self.runtime.spawn(run(next, group));
    }
}

async fn run(turn: Turn, group: Vec<Waiting>) {
    let table = turn.table.clone();
    let interval = group.first().map_or(0, |waiting| waiting.pursuit.checkpoint_interval());
    let (pursuits, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|waiting| (waiting.pursuit, waiting.reply)).unzip();
    let reports = together(&table, pursuits).await;
    drop(turn);
    let shared = reports.iter().flatten().find(|report| report.members > 1).map(|report| report.version);
    for (reply, report) in replies.into_iter().zip(reports) {
        // A waiter that went away does not want to know.
        let _ = reply.send(report);
    }
    if let Some(version) = shared {
        after_commit(&table, version, interval).await;
    }
}

impl CommitQueue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes those who can go together. Without any, the next one goes at once.
    fn next_group(&mut self) -> Vec<Waiting> {
        let mut group: Vec<Waiting> = Vec::new();
        let mut left = Vec::new();
        let mut names: BTreeSet<(bool, String)> = BTreeSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let own: Vec<(bool, String)> =
                waiting.pursuit.names().into_iter().map(|(kind, name)| (kind, name.to_owned())).collect();
            let info = &waiting.pursuit.transaction.info;
            let fits = group.len() < LARGEST_GROUP
                && own.iter().all(|name| !names.contains(name))
                && group.iter().all(|other| facts_agree(&other.pursuit.transaction.info, info));
            if fits {
                names.extend(own);
                group.push(waiting);
            } else {
                left.push(waiting);
            }
        }
        self.waiting = left;
        self.busy = !group.is_empty();
        group
    }
}
