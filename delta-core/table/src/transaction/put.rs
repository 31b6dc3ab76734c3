//! One version, until it is known whose it is.

use std::sync::Arc;

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::action::Action;
use boathouse_delta_protocol::log_path::LogFile;
use bytes::Bytes;

use super::back_off::back_off;
use crate::committer::CommitterError;
use crate::error::{DeltaError, Result};
use crate::log::commit::{info, read_commit};
use crate::log::list::{Listed, list_log};
use crate::table::DeltaTable;

/// How often the outcome of a failed put is looked up.
const LOOK_UPS: u32 = 8;

/// Whose a version is.
pub(super) enum Put {
    /// Ours.
    Done,
    /// Another writer's, who did this.
    Taken(Vec<Action>),
}

/// Tries to make this version ours, until it is known whose it is.
///
/// **Errors**: what the store says when it did not happen; `CommitUnknown` when that cannot be found out.
pub(super) async fn put(table: &DeltaTable, version: u64, bytes: &Bytes, txn_id: &str) -> Result<Put> {
    let (storage, committer) = (table.storage(), table.committer());
    let unknown = |source: CommitterError| DeltaError::CommitUnknown {
        url: table.url().to_owned(),
        version,
        txn_id: txn_id.to_owned(),
        source: Arc::new(source),
    };
    let Err(mut error) = committer.commit(storage, version, bytes.clone()).await else { return Ok(Put::Done) };
    let (mut look_ups, mut waited, mut on_its_way) = (0, false, false);
    loop {
        look_ups += 1;
        // Whoever gets no answer does not know: the store may do later what it was asked.
        on_its_way |= error.kind() == ErrorKind::Unavailable;
        match look_up(table, version, txn_id).await {
            Ok(Found::Ours) => {
                tracing::info!(table = storage.url(), version, "the reply to a commit was lost; it had happened");
                return Ok(Put::Done);
            }
            Ok(Found::Theirs(actions)) => return Ok(Put::Taken(actions)),
            Ok(Found::Cleaned) => return Err(unknown(error)),
            // It did not happen: then the error stands, unless trying again may help.
            Ok(Found::Nothing) => {
                let again = error.kind().is_retryable() || error.kind() == ErrorKind::AlreadyExists;
                if !again || look_ups >= LOOK_UPS {
                    return Err(if on_its_way { unknown(error) } else { table.not_committed(version, error) });
                }
                // Never without a look right before: a commit that may be ours must not be cleaned away in between.
                if std::mem::take(&mut waited) {
                    match committer.commit(storage, version, bytes.clone()).await {
                        Ok(()) => return Ok(Put::Done),
                        Err(next) => error = next,
                    }
                    continue;
                }
            }
            Err(_) if look_ups >= LOOK_UPS => return Err(unknown(error)),
            Err(look_up) => {
                tracing::warn!(table = storage.url(), version, error = %look_up, "the outcome of a commit is not known yet");
            }
        }
        back_off(table.env(), look_ups).await;
        waited = true;
    }
}

/// What is there of a version.
enum Found {
    Ours,
    Theirs(Vec<Action>),
    /// Later ones. It was there: commits are cleaned away once a checkpoint holds them.
    Cleaned,
    Nothing,
}

async fn look_up(table: &DeltaTable, version: u64, txn_id: &str) -> Result<Found> {
    match table.read_commit(version).await? {
        Some(found) if info_id(&found) == Some(txn_id) => Ok(Found::Ours),
        Some(found) => Ok(Found::Theirs(found)),
        None => {
            let later = list_log(table.log(), Some(version)).await?;
            Ok(if is_cleaned(&later, version) { Found::Cleaned } else { Found::Nothing })
        }
    }
}

/// Whether the log went on without this commit. One that came just now is read in the next turn.
fn is_cleaned(later: &[Listed], version: u64) -> bool {
    !later.is_empty() && !later.iter().any(|listed| listed.file == LogFile::Commit { version })
}

fn info_id(actions: &[Action]) -> Option<&str> {
    info(actions)?.txn_id.as_deref()
}

impl DeltaTable {
    /// The actions of a commit, wherever the committer has it; nothing when there is no such commit.
    pub(super) async fn read_commit(&self, version: u64) -> Result<Option<Vec<Action>>> {
        self.ask_committer().await?;
        read_commit(self.log(), version).await
    }

    /// The error of a commit that did not happen.
    fn not_committed(&self, version: u64, source: CommitterError) -> DeltaError {
        match source {
            CommitterError::Storage(source) => source.into(),
            source => DeltaError::Committer { url: self.url().to_owned(), version, source: Box::new(source) },
        }
    }
}
