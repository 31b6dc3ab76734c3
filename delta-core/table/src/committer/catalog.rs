//! A catalog decides.

use std::fmt;
use std::sync::Arc;

use boathouse_base::{BoxFuture, DomainError, Env, ErrorKind};
use boathouse_delta_protocol::log_path::{STAGED_FOLDER, commit_name};
use boathouse_storage::{Storage, StorageError};
use bytes::Bytes;

use super::{CommitContent, Committer, CommitterError, DecidedCommits, Management};
use crate::log::list::log_path;

/// What a catalog does for one table: it remembers which staged commit is which version.
pub trait CommitCatalog: fmt::Debug + Send + Sync {
    /// Records that a staged commit, by its name in `_delta_log/_staged_commits`, is this version: durably, and at most once.
    ///
    /// **Errors**: `AlreadyExists` when the version is another commit, `Conflict` when the one before it was not recorded: then it is
    /// certain that nothing was. After other errors it may have been.
    fn ratify<'a>(&'a self, version: u64, staged: &'a str) -> BoxFuture<'a, boathouse_base::Result<()>>;

    /// The newest version, and what was ratified and not yet reported as published, in order.
    fn ratified(&self) -> BoxFuture<'_, boathouse_base::Result<DecidedCommits>>;

    /// Takes note that all versions up to this one stand in the log's folder: it may forget them.
    fn published(&self, version: u64) -> BoxFuture<'_, boathouse_base::Result<()>>;
}

/// Stages a commit, has a catalog ratify it, and publishes it.
///
/// ```text
///   _delta_log/_staged_commits/VERSION.UUID.json ─▶ CommitCatalog::ratify ─▶ _delta_log/VERSION.json ─▶ published
/// ```
/// A crash after the staging leaves a file that nobody speaks of; one after the ratification leaves a version that is read where it is
/// staged, and published by the next writer.
///
/// **Source**: Delta protocol, "Commit Protocol", "Publishing Commits".
#[derive(Debug, Clone)]
pub struct CatalogCommitter {
    catalog: Arc<dyn CommitCatalog>,
    env: Env,
}

impl CatalogCommitter {
    /// A committer that asks this catalog; `env` names staged commits.
    pub fn new(catalog: Arc<dyn CommitCatalog>, env: Env) -> Self {
        Self { catalog, env }
    }

    async fn ratified(&self, storage: &Storage) -> Result<DecidedCommits, CommitterError> {
        self.catalog.ratified().await.map_err(failed(storage, "name its ratified commits"))
    }
}

impl Committer for CatalogCommitter {
    fn commit<'a>(&'a self, storage: &'a Storage, version: u64, bytes: Bytes) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(async move {
            let staged = format!("{version:020}.{}.json", self.env.uuid());
            let path = log_path(&format!("{STAGED_FOLDER}/{staged}"));
            storage.put(&path, bytes).await?;
            let Err(source) = self.catalog.ratify(version, &staged).await else {
                // It is decided. Whoever reads next does what is left.
                if let Err(error) = self.publish(storage).await {
                    tracing::warn!(table = storage.url(), version, %error, "a ratified commit could not be published yet");
                }
                return Ok(());
            };
            let error = match source.kind() {
                ErrorKind::AlreadyExists => CommitterError::Taken { version },
                ErrorKind::Conflict => CommitterError::OutOfOrder { version },
                _ => return Err(CommitterError::Catalog { url: storage.url().to_owned(), attempted: "ratify a commit", source }),
            };
            if let Err(error) = storage.delete(&path).await {
                tracing::warn!(table = storage.url(), path, %error, "a staged commit that was not ratified could not be deleted");
            }
            Err(error)
        })
    }

    fn decided<'a>(&'a self, storage: &'a Storage) -> BoxFuture<'a, Result<Option<DecidedCommits>, CommitterError>> {
        Box::pin(async move { self.ratified(storage).await.map(Some) })
    }

    fn publish<'a>(&'a self, storage: &'a Storage) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(async move {
            let ratified = self.ratified(storage).await?;
            let Some(last) = ratified.commits.last().map(|commit| commit.version) else { return Ok(()) };
            for commit in ratified.commits {
                let bytes = match commit.content {
                    CommitContent::Staged(name) => storage.get(&log_path(&format!("{STAGED_FOLDER}/{name}"))).await?,
                    CommitContent::Inline(bytes) => bytes,
                };
                copy(storage, commit.version, bytes).await?;
            }
            self.catalog.published(last).await.map_err(failed(storage, "take note of published commits"))
        })
    }

    fn management(&self) -> Management {
        Management::Catalog
    }
}

/// Puts a decided commit into the log's folder, unless somebody else has.
pub(super) async fn copy(storage: &Storage, version: u64, bytes: Bytes) -> Result<(), StorageError> {
    match storage.put_if_absent(&log_path(&commit_name(version)), bytes).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn failed(storage: &Storage, attempted: &'static str) -> impl FnOnce(boathouse_base::Error) -> CommitterError {
    move |source| CommitterError::Catalog { url: storage.url().to_owned(), attempted, source }
}
