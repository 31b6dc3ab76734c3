//! What earlier versions need.

use std::time::Duration;

use boathouse_delta_protocol::action::Action;
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::log_path::LogFile;
use futures::TryStreamExt;

use crate::error::{OnTable, Result};
use crate::log::commit::read_commits;
use crate::log::list::list_log;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Versions younger than this stay: transactions that are under way may stand on them.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Deletes older versions, and finds the first of those that are left that needs the feature.
pub(super) async fn truncate(table: &DeltaTable, name: &str) -> Result<Option<u64>> {
    table.clean_log().retention(KEPT).run().await?;
    let newest = table.snapshot().await?;
    let files: Vec<LogFile> = list_log(table.log(), None).await?.into_iter().map(|listed| listed.file).collect();
    let commits = files.iter().filter_map(|file| if let LogFile::Commit { version } = file { Some(*version) } else { None });
    let Some(first) = commits.min() else { return Ok(None) };
    if name == features::CHECKPOINT_PROTECTION {
        // What is protected must be gone.
        let key = newest.metadata().configuration.iter().find(|(key, _)| key.eq_ignore_ascii_case(features::PROTECTED_BEFORE));
        let protected = key.map_or(0, |(_, value)| value.trim().parse().unwrap_or(u64::MAX));
        return Ok((first < protected).then_some(first));
    }
    if let Some(file) = files.iter().find(|file| matches!(file, LogFile::UuidCheckpoint { .. }) && name == "v2Checkpoint")
        && let LogFile::UuidCheckpoint { version, .. } = file
    {
        return Ok(Some(*version));
    }
    let oldest = table.snapshot_at(boathouse_base::TableVersion::Number(first)).await?;
    if uses(&oldest, name).await? {
        return Ok(Some(first));
    }
    let mut commits = std::pin::pin!(read_commits(table.log(), first + 1..=newest.version()));
    while let Some((version, actions)) = commits.try_next().await? {
        for action in actions.unwrap_or_default() {
            let is_trace = match &action {
                Action::Metadata(metadata) => features::leaves_traces(metadata, name).on(table.url())?,
                Action::Add(add) => name == "deletionVectors" && add.deletion_vector.is_some(),
                Action::Remove(remove) => name == "deletionVectors" && remove.deletion_vector.is_some(),
                _ => false,
            };
            if is_trace {
                return Ok(Some(version));
            }
        }
    }
    Ok(None)
}

/// Whether readers of a version must know the feature.
async fn uses(snapshot: &Snapshot, name: &str) -> Result<bool> {
    if features::leaves_traces(snapshot.metadata(), name).on(snapshot.url())? {
        return Ok(true);
    }
    Ok(name == "deletionVectors" && with_vector(snapshot).await?.is_some())
}

/// The first file of a version with a deletion vector.
pub(super) async fn with_vector(snapshot: &Snapshot) -> Result<Option<String>> {
    let index = snapshot.index().await?;
    let found = index.iter_without_stats().find(|file| file.deletion_vector().is_some()).map(|file| file.path().to_owned());
    Ok(found)
}
