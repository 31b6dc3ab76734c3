//! Removed files that the log of a version still speaks of.

use boathouse_delta_protocol::action::Remove;
use boathouse_delta_protocol::replay::Tombstones;
use boathouse_delta_protocol::scan::Wanted;
use boathouse_storage::Storage;
use futures::TryStreamExt;

use super::checkpoint_read;
use super::commit::{LogCommit, ReadCommit, scan_commits};
use super::files::{LazyFiles, Start};
use super::load::{Rejected, is_damage, locate};
use crate::error::Result;

/// Files that were removed and are not in `files`, by path.
///
/// **Cost**: the removals of the checkpoint, a GET for each commit after it that is not known to remove nothing; a LIST
/// of the log when `files` go on from those of an earlier version.
pub(crate) async fn tombstones(storage: &Storage, version: u64, files: &LazyFiles) -> Result<Vec<Remove>> {
    let index = files.index().await?;
    let mut rejected = Rejected::default();
    let mut known = files.place();
    loop {
        let (start, commits) = match known.take() {
            Some(place) => place,
            None => locate(storage, version, &rejected).await?,
        };
        match collect(storage, &start, commits).await {
            Ok(found) => return Ok(found.finish(index)),
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
    let commits = commits.into_iter().filter(|commit| !commit.removes_nothing()).collect();
    // Files that came back are known by the files of the version.
    let mut scans = std::pin::pin!(scan_commits(storage, commits, Wanted::Removes));
    while let Some(ReadCommit { scan, .. }) = scans.try_next().await? {
        found.apply(scan.head);
    }
    Ok(found)
}
