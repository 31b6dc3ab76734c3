//! Version checksums of a table.

use boathouse_delta_protocol::action::Action;
use boathouse_delta_protocol::checksum::{ChecksumDifference, VersionChecksum};
use boathouse_delta_protocol::log_path::checksum_name;
use boathouse_delta_protocol::replay::Replay;
use boathouse_delta_protocol::{ProtocolError, commit, features};
use boathouse_storage::{Storage, StorageError};

use crate::error::{OnTable, Result};
use crate::log::checkpoint_read;
use crate::log::commit::{info, read_commit};
use crate::log::files::Start;
use crate::log::list::log_path;
use crate::log::load::{Rejected, locate};
use crate::snapshot::Snapshot;

/// Commits that are read at most to come from a known checksum to the next one.
const MOST_COMMITS: u64 = 32;

/// What came of comparing a version checksum with the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumReport {
    /// The version.
    pub version: u64,
    /// Whether there is a checksum of it.
    pub found: bool,
    /// Where it and the log disagree; then one of the two was changed by a program that should not have.
    pub differences: Vec<ChecksumDifference>,
}

/// Compares the checksum of a version with a replay of its log.
pub(crate) async fn validate(snapshot: &Snapshot) -> Result<ChecksumReport> {
    let version = snapshot.version();
    let Some(said) = read(snapshot.table().log(), version).await? else {
        return Ok(ChecksumReport { version, found: false, differences: Vec::new() });
    };
    let found = replayed(snapshot).await?;
    Ok(ChecksumReport { version, found: true, differences: said.differences(&found) })
}

/// The checksum file of a version.
pub(super) async fn read(storage: &Storage, version: u64) -> Result<Option<VersionChecksum>> {
    match storage.get_optional(&log_path(&checksum_name(version))).await? {
        Some(bytes) => VersionChecksum::parse(version, &bytes).on(storage.url()).map(Some),
        None => Ok(None),
    }
}

/// Writes a checksum, unless there is one.
pub(super) async fn write(storage: &Storage, checksum: &VersionChecksum) -> Result<()> {
    let bytes = checksum.to_json().on(storage.url())?;
    let path = log_path(&checksum_name(checksum.version));
    match storage.put_if_absent(&path, bytes).await {
        Ok(()) => Ok(()),
        Err(error @ StorageError::Object { .. }) => {
            use boathouse_base::{DomainError, ErrorKind};
            if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The checksum of a version, from the log alone: no checksum file is looked at.
///
/// **Cost**: the head of the checkpoint, the commits after it, and the files.
pub(super) async fn replayed(snapshot: &Snapshot) -> Result<VersionChecksum> {
    let (storage, url, version) = (snapshot.table().log(), snapshot.url(), snapshot.version());
    // Compacted files are made by programs, too: the commits themselves count.
    let without_compacted = Rejected { compacted: true, ..Rejected::default() };
    let (start, commits) = locate(storage, version, &without_compacted).await?;
    let mut replay = match &start {
        Start::Checkpoint(checkpoint) => {
            let mut replay = Replay::from_checkpoint(checkpoint.version());
            replay.apply_checkpoint(checkpoint_read::head(storage, checkpoint).await?);
            replay
        }
        Start::Beginning | Start::Earlier(_) => Replay::new(),
    };
    for commit in commits {
        let bytes = storage.get(&log_path(&commit.file.name())).await?;
        let actions = commit::parse(commit.file.to, &bytes).on(url)?;
        replay.apply_commits(commit.file.from, commit.file.to, actions).on(url)?;
    }
    let state = replay.finish().on(url)?;
    let properties = state.metadata.properties().on(url)?;
    let stamped = features::has_in_commit_timestamps(&state.protocol, &state.metadata.configuration);
    let mut checksum = VersionChecksum::empty(version, state.protocol.clone(), (*state.metadata).clone());
    let said = read_commit(storage, version).await?;
    let said = said.as_deref().and_then(info);
    checksum.txn_id = said.and_then(|info| info.txn_id.clone());
    checksum.in_commit_timestamp_ms = said.and_then(|info| info.in_commit_timestamp).filter(|_| stamped);
    let txns = state.app_txns.into_values().map(|txn| txn.txn).collect();
    checksum.set_transactions = Some(txns).filter(|_| properties.transaction_retention_us.is_none());
    checksum.domain_metadata = Some(state.domain_metadata.into_values().collect());
    for file in snapshot.index().await?.iter_without_stats() {
        checksum.count_file(file.size_bytes(), file.deletion_vector().map(|vector| vector.cardinality));
    }
    Ok(checksum)
}

/// The checksum of a version: from one that is known, or the file of the version before, and the commits since.
/// `None` when that is not enough to know it.
pub(super) async fn follow(storage: &Storage, known: Option<&VersionChecksum>, version: u64) -> Result<Option<VersionChecksum>> {
    let near = known.filter(|known| known.version < version && version - known.version <= MOST_COMMITS);
    let base = match (near, version.checked_sub(1)) {
        (Some(known), Some(before)) if known.version == before => Some(known.clone()),
        // Another writer may have noted it.
        (near, Some(before)) => match read(storage, before).await {
            Ok(Some(found)) => Some(found),
            Ok(None) => near.cloned(),
            Err(error) => {
                tracing::warn!(table = storage.url(), version = before, %error, "a version checksum cannot be used");
                near.cloned()
            }
        },
        (_, None) => None,
    };
    let Some(mut checksum) = base else {
        if version > 0 {
            return Ok(None);
        }
        return Ok(VersionChecksum::first(&actions(storage, 0).await?));
    };
    while checksum.version < version {
        let Some(next) = checksum.next(&actions(storage, checksum.version + 1).await?) else { return Ok(None) };
        checksum = next;
    }
    Ok(Some(checksum))
}

async fn actions(storage: &Storage, version: u64) -> Result<Vec<Action>> {
    let found = read_commit(storage, version).await?;
    found.ok_or(ProtocolError::LogGap { wanted: version, missing: version }).on(storage.url())
}
