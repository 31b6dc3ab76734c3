//! This process decides: committers for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{BoxFuture, DomainError, Error, ErrorKind};
use boathouse_delta_protocol::log_path::commit_name;
use boathouse_storage::Storage;
use bytes::Bytes;

use super::catalog::{CommitCatalog, copy};
use super::{CommitContent, Committer, CommitterError, DecidedCommit, DecidedCommits, Management};
use crate::log::list::log_path;

/// Keeps commits in memory until they are published. Clones are one committer.
///
/// For tests: what was not published is lost with the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryCommitter(Arc<Mutex<BTreeMap<u64, Bytes>>>);

impl MemoryCommitter {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer for MemoryCommitter {
    fn commit<'a>(&'a self, storage: &'a Storage, version: u64, bytes: Bytes) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(async move {
            let (this, before) = (log_path(&commit_name(version)), version.checked_sub(1));
            let taken = storage.head(&this).await?.is_some();
            let follows = match before {
                Some(before) => storage.head(&log_path(&commit_name(before))).await?.is_some(),
                None => true,
            };
            let mut decided = self.lock();
            if taken || decided.contains_key(&version) {
                return Err(CommitterError::Taken { version });
            }
            if !follows && before.is_none_or(|before| !decided.contains_key(&before)) {
                return Err(CommitterError::OutOfOrder { version });
            }
            decided.insert(version, bytes);
            Ok(())
        })
    }

    fn decided<'a>(&'a self, _storage: &'a Storage) -> BoxFuture<'a, Result<Option<DecidedCommits>, CommitterError>> {
        let decided = self.lock();
        let latest_version = decided.last_key_value().map(|(version, _)| *version);
        let commit =
            |(version, bytes): (&u64, &Bytes)| DecidedCommit { version: *version, content: CommitContent::Inline(bytes.clone()) };
        let decided = DecidedCommits { latest_version, commits: decided.iter().map(commit).collect() };
        Box::pin(std::future::ready(Ok(Some(decided))))
    }

    fn publish<'a>(&'a self, storage: &'a Storage) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(async move {
            // They stay: a version that is gone from here and not yet seen in the folder could be decided twice.
            let decided = self.lock().clone();
            for (version, bytes) in decided {
                copy(storage, version, bytes).await?;
            }
            Ok(())
        })
    }

    fn management(&self) -> Management {
        Management::Catalog
    }
}

/// A catalog of one table in memory. Clones are one catalog.
///
/// For tests, and as the smallest example of a catalog.
#[derive(Debug, Clone, Default)]
pub struct MemoryCatalog(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// The next version.
    next: u64,
    unpublished: BTreeMap<u64, String>,
}

/// Why the catalog says no.
#[derive(Debug, thiserror::Error)]
#[error("version {version} cannot be ratified: the next one is {next}")]
struct Refused {
    version: u64,
    next: u64,
}

impl DomainError for Refused {
    fn kind(&self) -> ErrorKind {
        if self.version < self.next { ErrorKind::AlreadyExists } else { ErrorKind::Conflict }
    }
}

impl MemoryCatalog {
    /// A catalog that takes over a table of which this is the newest version.
    pub fn from_version(version: u64) -> Self {
        Self(Arc::new(Mutex::new(Entries { next: version + 1, unpublished: BTreeMap::new() })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommitCatalog for MemoryCatalog {
    fn ratify<'a>(&'a self, version: u64, staged: &'a str) -> BoxFuture<'a, boathouse_base::Result<()>> {
        let mut entries = self.lock();
        let next = entries.next;
        let ratified = if version == next {
            entries.next += 1;
            entries.unpublished.insert(version, staged.to_owned());
            Ok(())
        } else {
            let refused = Refused { version, next };
            Err(Error::new(refused.kind(), refused))
        };
        Box::pin(std::future::ready(ratified))
    }

    fn ratified(&self) -> BoxFuture<'_, boathouse_base::Result<DecidedCommits>> {
        let entries = self.lock();
        let commit = |(version, staged): (&u64, &String)| DecidedCommit {
            version: *version,
            content: CommitContent::Staged(staged.clone()),
        };
        let commits = entries.unpublished.iter().map(commit).collect();
        let ratified = DecidedCommits { latest_version: entries.next.checked_sub(1), commits };
        Box::pin(std::future::ready(Ok(ratified)))
    }

    fn published(&self, version: u64) -> BoxFuture<'_, boathouse_base::Result<()>> {
        let mut entries = self.lock();
        entries.unpublished.retain(|ratified, _| *ratified > version);
        Box::pin(std::future::ready(Ok(())))
    }
}
