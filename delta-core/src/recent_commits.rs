//! Commits that a stream has planned and will read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_delta_protocol::action::Add;

/// How many files are remembered in all. A batch with more reads the commits that were left out again.
const MOST_FILES: usize = 10_000;

/// The files that recent commits added: what a plan has read, its batch need not read again.
///
/// A commit never changes, so what is remembered stays true, for one table: when another one stands at the location, by
/// its id, everything is forgotten. Clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentCommits(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    table_id: String,
    by_version: BTreeMap<u64, Arc<[Add]>>,
    files: usize,
}

impl RecentCommits {
    /// The files of a commit of this table, if they are remembered.
    pub(crate) fn get(&self, table_id: &str, version: u64) -> Option<Arc<[Add]>> {
        let remembered = self.lock();
        remembered.by_version.get(&version).filter(|_| remembered.table_id == table_id).map(Arc::clone)
    }

    /// Remembers a commit, unless there are too many files already: those that are needed first stay.
    pub(crate) fn remember(&self, table_id: &str, version: u64, adds: &Arc<[Add]>) {
        let mut remembered = self.lock();
        if remembered.table_id != table_id {
            *remembered = Remembered { table_id: table_id.to_owned(), ..Remembered::default() };
        }
        // A commit without files costs as well.
        let cost = adds.len().max(1);
        if remembered.files + cost <= MOST_FILES && remembered.by_version.insert(version, Arc::clone(adds)).is_none() {
            remembered.files += cost;
        }
    }

    /// Forgets what lies before a version: it has been streamed.
    pub(crate) fn forget_before(&self, version: u64) {
        let mut remembered = self.lock();
        remembered.by_version = remembered.by_version.split_off(&version);
        remembered.files = remembered.by_version.values().map(|adds| adds.len().max(1)).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize) -> Arc<[Add]> {
        vec![Add::default(); count].into()
    }

    #[test]
    fn what_was_read_is_remembered_until_it_is_passed() {
        let recent = RecentCommits::default();
        recent.remember("t", 4, &files(2));
        recent.remember("t", 5, &files(0));
        assert_eq!(recent.get("t", 4).map(|adds| adds.len()), Some(2));
        recent.forget_before(5);
        assert_eq!(recent.get("t", 4), None);
        assert_eq!(recent.get("t", 5).map(|adds| adds.len()), Some(0));
    }

    #[test]
    fn another_table_at_the_same_place_knows_nothing_of_the_first() {
        let recent = RecentCommits::default();
        recent.remember("old", 0, &files(1));
        assert_eq!(recent.get("new", 0), None);
        recent.remember("new", 1, &files(1));
        assert_eq!(recent.get("new", 0), None);
        assert_eq!(recent.get("old", 0), None);
    }

    #[test]
    fn too_many_files_are_not_kept_and_room_comes_back() {
        let recent = RecentCommits::default();
        recent.remember("t", 0, &files(MOST_FILES - 1));
        recent.remember("t", 1, &files(2));
        assert_eq!(recent.get("t", 1), None);
        recent.forget_before(1);
        recent.remember("t", 1, &files(2));
        assert!(recent.get("t", 1).is_some());
    }
}
