//! Removed files that the log of a version still speaks of.

use boathouse_delta_protocol::action::Remove;
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::files::FileIndex;
use boathouse_delta_protocol::replay::Tombstones;
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::checkpoint_read;
use super::commit::LogCommit;
use super::files::Start;
use super::list::log_path;
use super::load::{Rejected, is_damage, locate};
use crate::error::{OnTable, Result};

/// Commits that are fetched at once.
const AT_ONCE: usize = 16;

/// Files that were removed and are not in `files`, by path.
///
/// **Cost**: a LIST of the log, the removals of the checkpoint, a GET for each commit after it.
pub(crate) async fn tombstones(storage: &Storage, version: u64, files: &FileIndex) -> Result<Vec<Remove>> {
    let mut rejected = Rejected::default();
    loop {
        let (start, commits) = locate(storage, version, &rejected).await?;
        match collect(storage, &start, commits).await {
            Ok(found) => return Ok(found.finish(files)),
            Err(error) => match start {
                Start::Checkpoint(checkpoint) if is_damage(&error) => rejected.checkpoints.push(checkpoint.name),
                _ => return Err(error),
            },
        }
    }
}

async fn collect(storage: &Storage, start: &Start, commits: Vec<LogCommit>) -> Result<Tombstones> {
    let mut found = Tombstones::default();
    if let Start::Checkpoint(checkpoint) = start {
        for file in checkpoint_read::files(storage, checkpoint).await? {
            found.apply(checkpoint_read::removes(storage, &file).await?);
        }
    }
    let gets: Vec<_> = commits.iter().map(|commit| fetch(storage, commit)).collect();
    let mut read = futures::stream::iter(gets).buffered(AT_ONCE);
    while let Some((version, bytes)) = read.try_next().await? {
        found.apply(commit::parse(version, &bytes).on(storage.url())?);
    }
    Ok(found)
}

async fn fetch(storage: &Storage, commit: &LogCommit) -> Result<(u64, Bytes)> {
    Ok((commit.file.to, storage.get(&log_path(&commit.file.name())).await?))
}
