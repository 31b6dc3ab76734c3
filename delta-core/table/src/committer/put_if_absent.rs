//! The store decides.

use boathouse_base::BoxFuture;
use boathouse_delta_protocol::log_path::commit_name;
use boathouse_storage::Storage;
use bytes::Bytes;

use super::{Committer, CommitterError, DecidedCommits, Management};
use crate::log::list::log_path;

/// Puts a commit into the log's folder if there is none of that version: what every table has by default. Local disks, S3, Azure and
/// GCS can do that.
///
/// It does not look for the version before: whoever commits has read it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutIfAbsent;

impl Committer for PutIfAbsent {
    fn commit<'a>(&'a self, storage: &'a Storage, version: u64, bytes: Bytes) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(async move { Ok(storage.put_if_absent(&log_path(&commit_name(version)), bytes).await?) })
    }

    fn decided<'a>(&'a self, _storage: &'a Storage) -> BoxFuture<'a, Result<Option<DecidedCommits>, CommitterError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn publish<'a>(&'a self, _storage: &'a Storage) -> BoxFuture<'a, Result<(), CommitterError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn management(&self) -> Management {
        Management::Files
    }
}
