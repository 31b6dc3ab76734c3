//! Commit files.

use boathouse_delta_protocol::action::{Action, CommitInfo};
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::log_path::commit_name;
use boathouse_storage::Storage;
use futures::{StreamExt, TryStreamExt};

use super::list::log_path;
use crate::error::{OnTable, Result};

/// Commits that are fetched at once.
const AT_ONCE: usize = 16;

/// The actions of a commit; nothing when there is no such commit.
pub(crate) async fn read_commit(storage: &Storage, version: u64) -> Result<Option<Vec<Action>>> {
    match storage.get_optional(&log_path(&commit_name(version))).await? {
        Some(bytes) => commit::parse(version, &bytes).on(storage.url()).map(Some),
        None => Ok(None),
    }
}

/// Commits in this order, several on their way at once. A commit that is not there ends it with `None`.
pub(crate) fn read_commits(
    storage: &Storage,
    versions: impl IntoIterator<Item = u64>,
) -> impl futures::Stream<Item = Result<(u64, Option<Vec<Action>>)>> {
    let versions: Vec<u64> = versions.into_iter().collect();
    let storage = storage.clone();
    futures::stream::iter(versions)
        .map(move |version| {
            let storage = storage.clone();
            async move { Ok((version, storage.get_optional(&log_path(&commit_name(version))).await?, storage)) }
        })
        .buffered(AT_ONCE)
        .and_then(|(version, bytes, storage)| async move {
            let actions = bytes.map(|bytes| commit::parse(version, &bytes)).transpose().on(storage.url())?;
            Ok((version, actions))
        })
}

/// The commit info among the actions of a commit.
pub(crate) fn info(actions: &[Action]) -> Option<&CommitInfo> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    })
}
