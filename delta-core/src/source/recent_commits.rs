//! Commits that a stream has planned and will read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_delta_table::CommittedChanges;

/// How many files are remembered in all. A batch with more reads the commits that were left out again.
const MOST_FILES: usize = 10_000;

/// What recent commits did: what a plan has read, its batch need not read again.
///
/// A commit never changes, so what is remembered stays true, for one table: when another one stands at the location, by
/// its id, everything is forgotten. Clones share.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentCommits(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    table_id: String,
    by_version: BTreeMap<u64, Arc<CommittedChanges>>,
    files: usize,
}

impl RecentCommits {
    /// A commit of this table, if it is remembered.
    pub(crate) fn get(&self, table_id: &str, version: u64) -> Option<Arc<CommittedChanges>> {
        let remembered = self.lock();
        remembered.by_version.get(&version).filter(|_| remembered.table_id == table_id).map(Arc::clone)
    }

    /// Remembers a commit, unless there are too many files already: those that are needed first stay.
    pub(crate) fn remember(&self, table_id: &str, commit: &Arc<CommittedChanges>) {
        let version = commit.version();
        let mut remembered = self.lock();
        if remembered.table_id != table_id {
            *remembered = Remembered { table_id: table_id.to_owned(), ..Remembered::default() };
        }
        let cost = cost(commit);
        if remembered.files + cost <= MOST_FILES && remembered.by_version.insert(version, Arc::clone(commit)).is_none() {
            remembered.files += cost;
        }
    }

    /// Forgets what lies before a version: it has been streamed.
    pub(crate) fn forget_before(&self, version: u64) {
        let mut remembered = self.lock();
        remembered.by_version = remembered.by_version.split_off(&version);
        remembered.files = remembered.by_version.values().map(|commit| cost(commit)).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files that a commit names. One without files costs as well.
fn cost(commit: &CommittedChanges) -> usize {
    (commit.added().count() + commit.removed()).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use boathouse_delta_table::{CommittedChanges, DeltaTable};
    use boathouse_storage::{Storage, seeded_env};

    use super::*;

    /// A commit that adds so many files.
    async fn commit(version: u64, files: usize) -> Arc<CommittedChanges> {
        let storage = Storage::memory();
        let add = |n: usize| {
            format!(
                "{{\"add\":{{\"path\":\"f{n}\",\"partitionValues\":{{}},\"size\":1,\"modificationTime\":0,\"dataChange\":true}}}}\n"
            )
        };
        let text: String = std::iter::once("{\"commitInfo\":{}}\n".to_owned()).chain((0..files).map(add)).collect();
        let path = format!("_delta_log/{}", boathouse_delta_protocol::log_path::commit_name(version));
        storage.put(&path, text.into_bytes()).await.unwrap();
        let table = DeltaTable::at(storage, seeded_env(1));
        Arc::new(table.committed_changes(version).await.unwrap().unwrap())
    }

    #[tokio::test]
    async fn what_was_read_is_remembered_until_it_is_passed() {
        let recent = RecentCommits::default();
        recent.remember("t", &commit(4, 2).await);
        recent.remember("t", &commit(5, 0).await);
        assert_eq!(recent.get("t", 4).map(|commit| commit.added().count()), Some(2));
        recent.forget_before(5);
        assert!(recent.get("t", 4).is_none());
        assert_eq!(recent.get("t", 5).map(|commit| commit.added().count()), Some(0));
    }

    #[tokio::test]
    async fn another_table_at_the_same_place_knows_nothing_of_the_first() {
        let recent = RecentCommits::default();
        recent.remember("old", &commit(0, 1).await);
        assert!(recent.get("new", 0).is_none());
        recent.remember("new", &commit(1, 1).await);
        assert!(recent.get("new", 0).is_none());
        assert!(recent.get("old", 0).is_none());
    }

    #[tokio::test]
    async fn too_many_files_are_not_kept_and_room_comes_back() {
        let recent = RecentCommits::default();
        recent.remember("t", &commit(0, MOST_FILES - 1).await);
        let second = commit(1, 2).await;
        recent.remember("t", &second);
        assert!(recent.get("t", 1).is_none());
        recent.forget_before(1);
        recent.remember("t", &second);
        assert!(recent.get("t", 1).is_some());
    }
}
