//! Committers: who decides which commit becomes a version.
//!
//! ```text
//!   PutIfAbsent        put of VERSION.json, if there is none                      the store decides
//!   CatalogCommitter   stage _staged_commits/VERSION.UUID.json ─▶ ratify ─▶ publish  the catalog decides
//!   MemoryCommitter    keep the bytes ─▶ publish                                  this process decides: for tests
//! ```
//! A committer decides in order and never twice. What it has decided and not yet published is read where it is; writers publish it after
//! their commits. The content of a decided commit never changes, so it does not matter who copies it into the log's folder.
//!
//! **Source**: Delta protocol, "Catalog-managed tables".

mod catalog;
mod log_view;
mod memory;
mod put_if_absent;

use std::fmt;

use boathouse_base::{BoxFuture, DomainError, ErrorKind};
use boathouse_storage::{Storage, StorageError};
use bytes::Bytes;

pub use catalog::{CatalogCommitter, CommitCatalog};
pub(crate) use log_view::LogView;
pub use memory::{MemoryCatalog, MemoryCommitter};
pub use put_if_absent::PutIfAbsent;

/// Decides which commit becomes a version. Given to a table by [`DeltaTable::with_committer`](crate::DeltaTable::with_committer).
///
/// Every implementation keeps the same contract:
/// - of several commits for one version at most one succeeds, and the others are told [`CommitterError::Taken`];
/// - a version is decided only after the one before it;
/// - after [`publish`](Self::publish) every version that was decided before stands in the log's folder, byte by byte.
pub trait Committer: fmt::Debug + Send + Sync {
    /// Tries to make these bytes the commit of a version of the table at `storage`.
    ///
    /// **Errors**: `Taken` and `OutOfOrder` when they are not. After any other error they may be.
    fn commit<'a>(&'a self, storage: &'a Storage, version: u64, bytes: Bytes) -> BoxFuture<'a, Result<(), CommitterError>>;

    /// What was decided and may not be in the log's folder yet. `None`: what is in the folder is all there is.
    fn decided<'a>(&'a self, storage: &'a Storage) -> BoxFuture<'a, Result<Option<DecidedCommits>, CommitterError>>;

    /// Copies everything that was decided into the log's folder, in order.
    fn publish<'a>(&'a self, storage: &'a Storage) -> BoxFuture<'a, Result<(), CommitterError>>;

    /// Whether tables that say that a catalog manages them may be read and written with it.
    fn management(&self) -> Management;
}

/// What was decided by now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecidedCommits {
    /// The newest version: later ones do not exist, whatever the log's folder holds. `None` when none is known, and the folder tells.
    pub latest_version: Option<u64>,
    /// The last commits, in order, as far as they may not be published. They count, and not what was published of the same version.
    pub commits: Vec<DecidedCommit>,
}

/// A commit that became a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedCommit {
    /// The version.
    pub version: u64,
    /// What it says.
    pub content: CommitContent,
}

/// Where the content of a commit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitContent {
    /// In this file of `_delta_log/_staged_commits`.
    Staged(String),
    /// Here: the actions, one in a line.
    Inline(Bytes),
}

/// Who manages the tables of a committer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Management {
    /// The files in the log's folder are the truth.
    Files,
    /// A catalog is.
    Catalog,
}

/// Why a commit was not decided, or could not be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitterError {
    /// The version is another commit.
    #[error("commit version {version}: it is taken")]
    Taken {
        /// The version.
        version: u64,
    },
    /// The version before it does not exist yet.
    #[error("commit version {version}: there is no version before it")]
    OutOfOrder {
        /// The version.
        version: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The catalog failed.
    #[error("ask the catalog of the table {url} to {attempted}: {source}")]
    Catalog {
        /// The table.
        url: String,
        /// What it was asked.
        attempted: &'static str,
        /// What it said.
        source: boathouse_base::Error,
    },
}

impl DomainError for CommitterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken { .. } => ErrorKind::AlreadyExists,
            Self::OutOfOrder { .. } => ErrorKind::Conflict,
            Self::Storage(source) => source.kind(),
            Self::Catalog { source, .. } => source.kind(),
        }
    }
}
