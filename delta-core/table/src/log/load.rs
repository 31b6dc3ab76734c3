//! A version of the table from its log: what it is, and where its files stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_delta_protocol::action::{Action, CommitInfo};
use boathouse_delta_protocol::checksum::VersionChecksum;
use boathouse_delta_protocol::log_path::{
    Checkpoint, CheckpointFormat, CommitFile, LogFile, LogSegment, checksum_name, commit_name, plan_segment,
};
use boathouse_delta_protocol::replay::{Replay, TableState};
use boathouse_delta_protocol::scan::{CommitScan, CommitScanner, Wanted};
use boathouse_delta_protocol::{ProtocolError, features};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::TryStreamExt;

use super::checkpoint_read::{self, CheckpointFiles};
use super::commit::{Kept, LogCommit, PIECE_BYTES, ReadCommit, Statistics, info, read_commit, scan_commits};
use super::files::{LazyFiles, Start};
use super::list::{Listed, last_checkpoint, list_log, log_path, no_table};
use crate::error::{DeltaError, OnTable, Result};

/// A version, loaded.
#[derive(Debug, Clone)]
pub(crate) struct LoadedLog {
    pub(crate) state: TableState,
    /// When the version was committed, in milliseconds since the Unix epoch.
    pub(crate) timestamp_ms: i64,
    /// The last commit file, to notice that it was replaced; nothing when it is not there any more.
    pub(crate) last_commit: Option<LastCommit>,
    /// The checkpoint or the checksum that it was loaded from: of what came with it or earlier it is not known
    /// which commit it came with.
    pub(crate) summary: Option<u64>,
    /// Its files, once somebody asks.
    pub(crate) files: Arc<LazyFiles>,
}

/// What tells a commit file from another one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitMark {
    pub(crate) modified_ms: i64,
    pub(crate) size_bytes: u64,
}

/// The last commit file of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastCommit {
    /// As a listing shows it.
    Seen(CommitMark),
    /// This process wrote it, and perhaps others before it, after a version of which the time is known: when the store wrote them is not.
    Written { size_bytes: u64, seen: (u64, i64) },
}

impl LastCommit {
    fn is(&self, found: &CommitMark) -> bool {
        match self {
            Self::Seen(mark) => mark == found,
            Self::Written { size_bytes, .. } => *size_bytes == found.size_bytes,
        }
    }
}

/// Loads a version; `None`: the newest.
///
/// **Cost**: a GET of `_last_checkpoint`, a LIST from there, the footer and few columns of the checkpoint, a GET for
/// each commit after it. A damaged checkpoint costs another LIST, of everything.
pub(crate) async fn load(storage: &Storage, version: Option<u64>) -> Result<LoadedLog> {
    load_with(storage, version, Statistics::Later).await
}

/// Long commits up to so many bytes in all are held in memory for their statistics.
const HELD_BYTES: u64 = 1280 << 20;

/// Loads the newest version for somebody who needs the statistics of all files right after that, and then lets go.
///
/// **Cost**: as [`load`]. A long commit that it reads stays in memory as a whole, unless it is too long for that.
pub(crate) async fn load_with_statistics(storage: &Storage) -> Result<LoadedLog> {
    load_with(storage, None, Statistics::AtOnce).await
}

async fn load_with(storage: &Storage, version: Option<u64>, statistics: Statistics) -> Result<LoadedLog> {
    let hint = last_checkpoint(storage).await?.map(|h| h.version).filter(|hint| version.is_none_or(|v| *hint <= v));
    if let Some(hint) = hint {
        let listing = list_log(storage, Some(hint)).await?;
        match plan(&listing, version, &[]) {
            Ok(segment) if segment.checkpoint.is_some() => match load_segment(storage, &listing, &segment, statistics).await {
                Ok(Some(loaded)) => return Ok(loaded),
                Err(error) if !segment.commits.iter().any(CommitFile::is_compacted) => return Err(error),
                Ok(None) | Err(_) => {}
            },
            Ok(_) => tracing::warn!(table = storage.url(), hint, "`_last_checkpoint` names a checkpoint that is not there"),
            Err(error) => {
                tracing::warn!(table = storage.url(), hint, %error, "the hint of `_last_checkpoint` does not hold");
            }
        }
    }
    let mut listing = list_log(storage, None).await?;
    let mut rejected: Vec<Checkpoint> = Vec::new();
    loop {
        let segment = match plan(&listing, version, &rejected) {
            Ok(segment) => segment,
            Err(ProtocolError::NoLog) if rejected.is_empty() => return Err(no_table(storage).await),
            Err(error) => return Err(error).on(storage.url()),
        };
        match load_segment(storage, &listing, &segment, statistics).await {
            Ok(Some(loaded)) => return Ok(loaded),
            Ok(None) => rejected.extend(segment.checkpoint),
            Err(error) if is_damage(&error) && segment.commits.iter().any(CommitFile::is_compacted) => {
                without_compacted(&mut listing);
                // Without another way to the version, the damage is the answer.
                if plan(&listing, version, &rejected).is_err() {
                    return Err(error);
                }
                tracing::warn!(table = storage.url(), %error, "compacted commits are damaged; the single ones are used instead");
            }
            Err(error) => return Err(error),
        }
    }
}

/// What turned out to be damaged on the way to a version.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Whether commits are to be read one by one.
    pub(crate) compacted: bool,
}

/// Where the files of a version stand, without what was rejected.
///
/// **Cost**: a LIST of the log.
pub(crate) async fn locate(storage: &Storage, version: u64, rejected: &Rejected) -> Result<(Start, Vec<LogCommit>)> {
    let mut listing = list_log(storage, None).await?;
    if rejected.compacted {
        without_compacted(&mut listing);
    }
    let segment = plan(&listing, Some(version), &rejected.checkpoints).on(storage.url())?;
    let commits = commits(&listing, &segment);
    Ok((start(&listing, &segment), commits))
}

/// Goes on from a loaded version to the newest. `None`: nothing can be gone on from, load it all.
///
/// **Cost**: a HEAD of the last commit and of the next one; when there is one, a LIST from there and a GET for each.
pub(crate) async fn refresh(storage: &Storage, base: &LoadedLog) -> Result<Option<LoadedLog>> {
    let known = base.state.version;
    let Some(last) = base.last_commit else { return Ok(None) };
    let (this, next) = (log_path(&commit_name(known)), log_path(&commit_name(known + 1)));
    let (this, next) = futures::try_join!(storage.head(&this), storage.head(&next))?;
    let this = this.map(|entry| CommitMark { modified_ms: entry.modified_us.div_euclid(1000), size_bytes: entry.size_bytes });
    // The table may have been deleted and made anew in the meantime.
    let Some(this) = this.filter(|mark| last.is(mark)) else { return Ok(None) };
    let base = &seen(storage, base, this).await?;
    if next.is_none() {
        return Ok(Some(base.clone()));
    }
    let listing = list_log(storage, Some(known)).await?;
    let marks = marks(&listing);
    if marks.get(&known) != Some(&this) {
        return Ok(None);
    }
    let newest = marks.keys().next_back().copied().unwrap_or(known);
    if newest == known {
        return Ok(Some(base.clone()));
    }
    if marks.len() as u64 != newest - known + 1 {
        return Ok(None);
    }
    let commits = marks.iter().skip(1).map(|(version, mark)| LogCommit::new(CommitFile::of(*version), mark.size_bytes)).collect();
    let (replay, commits) = apply(storage, base.state.resume(), commits).await?;
    let state = finish(storage, replay)?;
    let timestamp_ms = timestamp(storage, &state, &marks, Some((known, base.timestamp_ms))).await?;
    let files = Arc::new(base.files.followed_by(commits));
    Ok(Some(LoadedLog {
        state,
        timestamp_ms,
        last_commit: marks.get(&newest).copied().map(LastCommit::Seen),
        summary: base.summary,
        files,
    }))
}

/// The same version, now that its commit file was seen.
///
/// **Cost**: nothing more for one commit of this process; a LIST for several in a row.
async fn seen(storage: &Storage, base: &LoadedLog, mark: CommitMark) -> Result<LoadedLog> {
    let mut seen = base.clone();
    if let Some(LastCommit::Written { seen: (version, at_ms), .. }) = base.last_commit {
        let known = base.state.version;
        seen.last_commit = Some(LastCommit::Seen(mark));
        if !has_in_commit_timestamps(&base.state) {
            let marks = match known == version + 1 {
                true => BTreeMap::from([(known, mark)]),
                false => marks(&list_log(storage, Some(version)).await?),
            };
            seen.timestamp_ms = timestamp(storage, &base.state, &marks, Some((version, at_ms))).await?;
        }
    }
    Ok(seen)
}

/// The version after this one, which this process has just committed with these bytes.
pub(crate) fn advanced(storage: &Storage, base: &LoadedLog, version: u64, bytes: &Bytes) -> Result<LoadedLog> {
    let size_bytes = bytes.len() as u64;
    let mut scanner = CommitScanner::new(version, Wanted::Head);
    scanner.scan(bytes).on(storage.url())?;
    let scan = CommitScan::whole(version, [scanner.finish().on(storage.url())?]).on(storage.url())?;
    let mut replay = base.state.resume();
    replay.apply_commits(version, version, scan.head).on(storage.url())?;
    let state = finish(storage, replay)?;
    let at = state.commit_info.as_deref().and_then(|info| info.in_commit_timestamp.filter(|_| has_in_commit_timestamps(&state)));
    let seen = match base.last_commit {
        Some(LastCommit::Written { seen, .. }) if at.is_none() => seen,
        _ => (base.state.version, base.timestamp_ms),
    };
    let kept = if size_bytes <= PIECE_BYTES { Kept::Bytes(bytes.clone()) } else { Kept::Nothing };
    let commit = LogCommit { kept, ..LogCommit::new(CommitFile::of(version), size_bytes) };
    Ok(LoadedLog {
        timestamp_ms: at.unwrap_or(base.timestamp_ms),
        last_commit: Some(LastCommit::Written { size_bytes, seen }),
        summary: base.summary,
        files: Arc::new(base.files.followed_by(vec![commit])),
        state,
    })
}

fn without_compacted(listing: &mut Vec<Listed>) {
    listing.retain(|listed| !matches!(listed.file, LogFile::Compacted { .. }));
}

fn plan(listing: &[Listed], version: Option<u64>, rejected: &[Checkpoint]) -> Result<LogSegment, ProtocolError> {
    plan_segment(listing.iter().map(|l| l.name.as_str()), version, rejected)
}

/// The checkpoint of a segment, with the sizes of its files.
fn start(listing: &[Listed], segment: &LogSegment) -> Start {
    let size_of = |file: &LogFile| listing.iter().find(|l| l.file == *file).map_or(0, |l| l.size_bytes);
    match &segment.checkpoint {
        Some(checkpoint) => Start::Checkpoint(CheckpointFiles::new(checkpoint.clone(), size_of)),
        None => Start::Beginning,
    }
}

/// The commits of a segment, with their sizes.
fn commits(listing: &[Listed], segment: &LogSegment) -> Vec<LogCommit> {
    let sizes: BTreeMap<&LogFile, u64> = listing.iter().map(|l| (&l.file, l.size_bytes)).collect();
    let size = |file: &CommitFile| {
        let name = if file.from == file.to {
            LogFile::Commit { version: file.to }
        } else {
            LogFile::Compacted { from: file.from, to: file.to }
        };
        sizes.get(&name).copied().unwrap_or_default()
    };
    segment.commits.iter().map(|file| LogCommit::new(*file, size(file))).collect()
}

/// Loads what was planned; `None` when its checkpoint is damaged.
async fn load_segment(
    storage: &Storage,
    listing: &[Listed],
    segment: &LogSegment,
    statistics: Statistics,
) -> Result<Option<LoadedLog>> {
    for version in &segment.incomplete {
        tracing::warn!(table = storage.url(), version, "a checkpoint lacks parts; an older one or the commits are used instead");
    }
    let start = start(listing, segment);
    let mut commits = commits(listing, segment);
    if statistics == Statistics::AtOnce && commits.iter().map(|commit| commit.size_bytes).sum::<u64>() <= HELD_BYTES {
        commits.iter_mut().for_each(|commit| commit.statistics = statistics);
    }
    let checksum = match checksum_of(listing, segment, &commits) {
        Some(version) => read_checksum(storage, version).await?,
        None => None,
    };
    let in_commit_ms = checksum.as_ref().filter(|c| c.version == segment.version).and_then(|c| c.in_commit_timestamp_ms);
    // What the table is stands in the checksum, or else in the checkpoint; what came later in the commits.
    let (replay, summary) = match checksum {
        Some(checksum) => {
            let version = checksum.version;
            let mut replay = Replay::from_checkpoint(version);
            replay.apply_checkpoint(head_of(checksum));
            (replay, Some(version))
        }
        None => match &start {
            Start::Beginning | Start::Earlier(_) => (Replay::new(), None),
            Start::Checkpoint(checkpoint) => match checkpoint_read::head(storage, checkpoint).await {
                Ok(actions) => {
                    let mut replay = Replay::from_checkpoint(checkpoint.name.version);
                    replay.apply_checkpoint(actions);
                    (replay, Some(checkpoint.name.version))
                }
                Err(error) if is_damage(&error) && !is_contradiction(&error, &checkpoint.name) => {
                    tracing::warn!(
                        table = storage.url(), version = checkpoint.name.version, %error,
                        "a checkpoint is damaged; an older one or the commits are used instead"
                    );
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        },
    };
    let known = commits.iter().take_while(|commit| summary.is_some_and(|summary| commit.file.to <= summary)).count();
    let (replay, later) = apply(storage, replay, commits.split_off(known)).await?;
    commits.extend(later);
    let state = finish(storage, replay)?;
    let marks = marks(listing);
    let checkpoint_mark = segment.checkpoint.as_ref().and_then(|c| {
        let file = listing.iter().find(|l| Some(&l.file) == c.files.first())?;
        Some((c.version, file.modified_ms))
    });
    let base = checkpoint_mark.filter(|(version, _)| !marks.contains_key(version));
    let timestamp_ms = match in_commit_ms.filter(|_| has_in_commit_timestamps(&state)) {
        Some(at) => at,
        None => timestamp(storage, &state, &marks, base).await?,
    };
    let last_commit = marks.get(&state.version).copied().map(LastCommit::Seen);
    let files = Arc::new(LazyFiles::new(storage, state.version, start, commits));
    Ok(Some(LoadedLog { state, timestamp_ms, last_commit, summary, files }))
}

/// Commits below this size are read as quickly as a checksum in their place.
const WORTH_A_CHECKSUM_BYTES: u64 = 64 << 10;

/// The newest checksum that saves reading a checkpoint or commits.
fn checksum_of(listing: &[Listed], segment: &LogSegment, commits: &[LogCommit]) -> Option<u64> {
    let base = segment.checkpoint.as_ref().map(|checkpoint| checkpoint.version);
    let versions = listing.iter().filter_map(|l| match l.file {
        LogFile::Checksum { version } => Some(version),
        _ => None,
    });
    let version = versions.filter(|v| *v <= segment.version && base.is_none_or(|base| *v >= base)).max()?;
    // A compacted file that reaches beyond it would have to be read all the same.
    if commits.iter().any(|commit| (commit.file.from..commit.file.to).contains(&version)) {
        return None;
    }
    let saved = || commits.iter().filter(|commit| commit.file.to <= version);
    let bytes: u64 = saved().map(|commit| commit.size_bytes).sum();
    (base.is_some() || saved().count() > 1 || bytes > WORTH_A_CHECKSUM_BYTES).then_some(version)
}

/// The checksum of a version; nothing when it is damaged, or does not say all that a table is.
async fn read_checksum(storage: &Storage, version: u64) -> Result<Option<VersionChecksum>> {
    let Some(bytes) = storage.get_optional(&log_path(&checksum_name(version))).await? else { return Ok(None) };
    let checksum = match VersionChecksum::parse(version, &bytes) {
        Ok(checksum) => checksum,
        Err(error) => {
            tracing::warn!(table = storage.url(), version, %error, "a version checksum is damaged; the log is read instead");
            return Ok(None);
        }
    };
    let no_domains = !features::has(&checksum.protocol, "domainMetadata");
    let complete = checksum.set_transactions.is_some() && (checksum.domain_metadata.is_some() || no_domains);
    Ok(complete.then_some(checksum))
}

fn head_of(checksum: VersionChecksum) -> impl Iterator<Item = Action> {
    let VersionChecksum { protocol, metadata, set_transactions, domain_metadata, .. } = checksum;
    [Action::Protocol(protocol), Action::Metadata(metadata)]
        .into_iter()
        .chain(set_transactions.into_iter().flatten().map(Action::Txn))
        .chain(domain_metadata.into_iter().flatten().map(Action::DomainMetadata))
}

/// Whether the writer of a checkpoint left out what every table has. A Parquet file is whole or cannot be read at all;
/// a JSON file may have been cut off in a lucky place, which is damage.
fn is_contradiction(error: &DeltaError, checkpoint: &Checkpoint) -> bool {
    let is_json = |file: &LogFile| matches!(file, LogFile::UuidCheckpoint { format: CheckpointFormat::Json, .. });
    matches!(error, DeltaError::Protocol { source: ProtocolError::MissingAction { .. }, .. })
        && !checkpoint.files.iter().any(is_json)
}

/// Whether another checkpoint may do better.
pub(crate) fn is_damage(error: &DeltaError) -> bool {
    use boathouse_base::{DomainError, ErrorKind};
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Internal)
}

/// Applies what the commits say but for files. Gives the commits back, short ones with their bytes.
async fn apply(storage: &Storage, mut replay: Replay, commits: Vec<LogCommit>) -> Result<(Replay, Vec<LogCommit>)> {
    let mut read = Vec::with_capacity(commits.len());
    let mut scans = std::pin::pin!(scan_commits(storage, commits, Wanted::Head));
    while let Some(ReadCommit { scan, commit }) = scans.try_next().await? {
        replay.apply_commits(commit.file.from, commit.file.to, scan.head).on(storage.url())?;
        read.push(commit);
    }
    Ok((replay, read))
}

fn finish(storage: &Storage, replay: Replay) -> Result<TableState> {
    let state = replay.finish().on(storage.url())?;
    features::check_read(&state.protocol).on(storage.url())?;
    Ok(state)
}

/// Commit files of a listing, by version.
pub(crate) fn marks(listing: &[Listed]) -> BTreeMap<u64, CommitMark> {
    let commits = listing.iter().filter_map(|l| match l.file {
        LogFile::Commit { version } => Some((version, CommitMark { modified_ms: l.modified_ms, size_bytes: l.size_bytes })),
        _ => None,
    });
    commits.collect()
}

/// When the state's version was committed.
///
/// The commit says it itself when the table has in-commit timestamps. Otherwise the time of its file counts, but
/// never less than a millisecond after the commit before it: clocks of writers differ.
async fn timestamp(
    storage: &Storage,
    state: &TableState,
    marks: &BTreeMap<u64, CommitMark>,
    base: Option<(u64, i64)>,
) -> Result<i64> {
    if has_in_commit_timestamps(state) {
        let info_of = |info: &CommitInfo| info.in_commit_timestamp;
        if let Some(at) = state.commit_info.as_deref().and_then(info_of) {
            return Ok(at);
        }
        // The version came out of a checkpoint or a compacted file.
        if marks.contains_key(&state.version)
            && let Some(actions) = read_commit(storage, state.version).await?
            && let Some(at) = info(&actions).and_then(info_of)
        {
            return Ok(at);
        }
    }
    let start = base.map_or(0, |(version, _)| version + 1);
    let mut last = base.map(|(_, at)| at);
    for mark in marks.range(start..=state.version.max(start)).filter(|(v, _)| **v <= state.version).map(|(_, m)| m) {
        last = Some(monotonic(last, mark.modified_ms));
    }
    Ok(last.unwrap_or_default())
}

/// The time of a commit after one at `last`.
pub(crate) fn monotonic(last: Option<i64>, modified_ms: i64) -> i64 {
    last.map_or(modified_ms, |last| modified_ms.max(last + 1))
}

fn has_in_commit_timestamps(state: &TableState) -> bool {
    features::has_in_commit_timestamps(&state.protocol, &state.metadata.configuration)
}
