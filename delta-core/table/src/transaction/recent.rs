//! Commits that this process has seen lately.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_delta_protocol::action::Action;

/// Commits that are kept.
const KEPT: usize = 128;
/// Actions of a commit above which it is not kept.
const ACTIONS: usize = 128;

/// The actions of the last commits that this process made or met: whoever has to go behind them need not read them.
///
/// A commit never changes. Only a table that is deleted and made anew has others: then this is [forgotten](Self::forget).
#[derive(Debug, Default)]
pub(crate) struct RecentCommits(Mutex<BTreeMap<u64, Arc<[Action]>>>);

impl RecentCommits {
    pub(crate) fn get(&self, version: u64) -> Option<Arc<[Action]>> {
        self.lock().get(&version).cloned()
    }

    pub(crate) fn keep(&self, version: u64, actions: &Arc<[Action]>) {
        if actions.len() > ACTIONS {
            return;
        }
        let mut known = self.lock();
        known.insert(version, Arc::clone(actions));
        while known.len() > KEPT {
            known.pop_first();
        }
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<[Action]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
