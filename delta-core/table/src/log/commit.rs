//! Commit files.

use std::sync::Arc;

use boathouse_delta_protocol::action::{Action, CommitInfo};
use boathouse_delta_protocol::log_path::{CommitFile, commit_name};
use boathouse_delta_protocol::scan::{CommitScan, CommitScanner, Wanted};
use boathouse_delta_protocol::{ProtocolError, commit};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::list::log_path;
use crate::error::{DeltaError, OnTable, Result};

/// Commits that are fetched at once.
const AT_ONCE: usize = 32;
/// Pieces of a long commit that are fetched and read at once.
const PIECES_AT_ONCE: usize = 3;
/// Bytes of a piece. A commit of one piece is fetched as a whole.
pub(crate) const PIECE_BYTES: u64 = 8 << 20;

/// The actions of a commit; nothing when there is no such commit.
pub(crate) async fn read_commit(storage: &Storage, version: u64) -> Result<Option<Vec<Action>>> {
    match storage.get_optional(&log_path(&commit_name(version))).await? {
        Some(bytes) => commit::parse(version, &bytes).on(storage.url()).map(Some),
        None => Ok(None),
    }
}

/// Commits in this order, several on their way at once. A commit that is not there ends it with `None`.
pub(crate) fn read_commits<I: IntoIterator<Item = u64>>(
    storage: &Storage,
    versions: I,
) -> impl futures::Stream<Item = Result<(u64, Option<Vec<Action>>)>> + use<I> {
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

/// A commit, or several in one compacted file, of which it is known where it is.
#[derive(Debug, Clone)]
pub(crate) struct LogCommit {
    pub(crate) file: CommitFile,
    pub(crate) size_bytes: u64,
    /// How it is read if it is long.
    pub(crate) statistics: Statistics,
    /// What it says, when it was read already.
    pub(crate) kept: Kept,
}

/// When the statistics of a long commit are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistics {
    /// When somebody asks: most readers never do, or ask for few columns.
    Later,
    /// With everything else; they stay in memory as long as the version does, unpacked.
    AtOnce,
}

/// What is kept of a commit that was read for something else than its files.
#[derive(Debug, Clone, Default)]
pub(crate) enum Kept {
    /// Nothing.
    #[default]
    Nothing,
    /// The bytes of a short one.
    Bytes(Bytes),
    /// The files of a long one: to read it twice costs more than to keep them.
    Files(Arc<CommitScan>),
}

impl LogCommit {
    pub(crate) fn new(file: CommitFile, size_bytes: u64) -> Self {
        Self { file, size_bytes, statistics: Statistics::Later, kept: Kept::Nothing }
    }

    /// Whether it is read in pieces.
    fn is_long(&self) -> bool {
        self.size_bytes > PIECE_BYTES
    }

    /// Whether it was read, and removes no file.
    pub(crate) fn removes_nothing(&self) -> bool {
        matches!(&self.kept, Kept::Files(scan) if scan.removes.is_empty())
    }

    /// Bytes that are kept.
    pub(crate) fn kept_bytes(&self) -> u64 {
        if let Kept::Bytes(bytes) = &self.kept { bytes.len() as u64 } else { 0 }
    }
}

/// Commits that were read.
pub(crate) struct ReadCommit {
    pub(crate) scan: CommitScan,
    /// The same commit, with its bytes if it is short.
    pub(crate) commit: LogCommit,
}

/// Reads commits, several at once, in the order given.
///
/// **Errors**: `Corrupt` for one that is not there: the listing named it.
pub(crate) fn scan_commits(
    storage: &Storage,
    commits: Vec<LogCommit>,
    wanted: Wanted,
) -> impl futures::Stream<Item = Result<ReadCommit>> {
    let storage = storage.clone();
    futures::stream::iter(commits)
        .map(move |commit| {
            let storage = storage.clone();
            async move { scan_commit(&storage, commit, wanted).await }
        })
        .buffered(AT_ONCE)
}

/// Reads one commit: a short one as a whole, a long one piece by piece, on several threads.
///
/// Of a long one no statistics are taken along, unless it says so: whoever needs them reads it again.
async fn scan_commit(storage: &Storage, mut commit: LogCommit, wanted: Wanted) -> Result<ReadCommit> {
    let version = commit.file.to;
    let bytes = match &commit.kept {
        Kept::Files(scan) if wanted != Wanted::Removes => {
            let scan = CommitScan::clone(scan);
            return Ok(ReadCommit { scan, commit });
        }
        Kept::Nothing | Kept::Files(_) if wanted == Wanted::Removes && commit.is_long() => {
            let scan = scan_pieces(storage, &commit, wanted).await?;
            return Ok(ReadCommit { scan, commit });
        }
        Kept::Nothing if commit.is_long() => {
            let wanted = match commit.statistics {
                Statistics::Later => Wanted::EverythingButStats,
                Statistics::AtOnce => Wanted::Everything,
            };
            let scan = scan_pieces(storage, &commit, wanted).await?;
            commit.kept = Kept::Files(Arc::new(scan.clone()));
            return Ok(ReadCommit { scan, commit });
        }
        Kept::Nothing | Kept::Files(_) => get(storage, &commit.file).await?,
        Kept::Bytes(bytes) => bytes.clone(),
    };
    let mut scanner = CommitScanner::new(version, wanted);
    scanner.scan(&bytes).on(storage.url())?;
    let scan = CommitScan::whole(version, [scanner.finish().on(storage.url())?]).on(storage.url())?;
    commit.kept = Kept::Bytes(bytes);
    Ok(ReadCommit { scan, commit })
}

async fn get(storage: &Storage, file: &CommitFile) -> Result<Bytes> {
    let found = storage.get_optional(&log_path(&file.name())).await?;
    found.ok_or(ProtocolError::LogGap { wanted: file.to, missing: file.from }).on(storage.url())
}

/// All pieces of a long commit, read with this.
async fn scan_pieces(storage: &Storage, commit: &LogCommit, wanted: Wanted) -> Result<CommitScan> {
    let version = commit.file.to;
    let scanned = scanned_pieces(storage, commit, move || CommitScanner::new(version, wanted));
    let done: Vec<CommitScan> = scanned.try_collect().await?;
    CommitScan::whole(version, done).on(storage.url())
}

/// The pieces of a commit in their order, several read at once, each by a scanner of its own.
///
/// **Cost**: memory is bounded by the pieces that are on their way. A scan with statistics holds the piece that has them.
pub(crate) fn scanned_pieces<S: Fn() -> CommitScanner + Send + 'static>(
    storage: &Storage,
    commit: &LogCommit,
    scanner: S,
) -> impl futures::Stream<Item = Result<CommitScan>> + Send + use<S> {
    let mut lines = 0;
    let url: Arc<str> = storage.url().into();
    let scanned = pieces(storage, commit).map_ok(move |piece| {
        let mut scanner = scanner().after_lines(lines);
        lines += memchr::memchr_iter(b'\n', &piece).count() as u64;
        let url = Arc::clone(&url);
        async move {
            let scanned = tokio::task::spawn_blocking(move || {
                scanner.scan_shared(&piece)?;
                scanner.finish()
            });
            scanned.await.map_err(|source| DeltaError::Task { url: url.to_string(), source })?.on(&url)
        }
    });
    scanned.try_buffered(PIECES_AT_ONCE)
}

/// The bytes of a long commit in pieces of whole lines, the next one already on its way.
fn pieces(storage: &Storage, commit: &LogCommit) -> impl futures::Stream<Item = Result<Bytes>> + use<> {
    let storage = storage.clone();
    let path = log_path(&commit.file.name());
    let size = commit.size_bytes;
    let ranges = (0..size.div_ceil(PIECE_BYTES)).map(move |at| at * PIECE_BYTES..((at + 1) * PIECE_BYTES).min(size));
    let last = size.div_ceil(PIECE_BYTES).saturating_sub(1);
    let fetched = futures::stream::iter(ranges)
        .map(move |range| {
            let (storage, path) = (storage.clone(), path.clone());
            async move { Ok((range.start / PIECE_BYTES, storage.get_range(&path, range).await?)) }
        })
        .buffered(2);
    // A line that lies in two pieces becomes a piece of its own: the others are not copied.
    let cut = fetched.scan(Vec::new(), move |rest: &mut Vec<u8>, piece: Result<(u64, Bytes)>| {
        let whole = piece.map(|(at, bytes)| {
            let first = if rest.is_empty() { 0 } else { memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1) };
            rest.extend_from_slice(&bytes[..first]);
            let end = if at == last { bytes.len() } else { memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1) };
            let ended = end > 0 || at == last;
            let line = if ended { Bytes::from(std::mem::take(rest)) } else { Bytes::new() };
            let end = end.max(first);
            rest.extend_from_slice(&bytes[end..]);
            [line, bytes.slice(first..end)]
        });
        futures::future::ready(Some(whole))
    });
    cut.map_ok(|pieces| futures::stream::iter(pieces.into_iter().filter(|piece| !piece.is_empty()).map(Ok))).try_flatten()
}
