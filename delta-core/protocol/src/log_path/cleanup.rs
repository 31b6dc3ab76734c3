//! Which files of the log nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use super::name::{LogFile, STAGED_FOLDER};
use super::segment::{Checkpoint, plan_segment};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// A file below the log's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEntry {
    /// Relative to the log's folder.
    pub name: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// What can be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupPlan {
    /// The checkpoint that stands in for everything that is deleted. It must be readable.
    pub checkpoint: Checkpoint,
    /// The files to delete, relative to the log's folder, in the order in which they should go: commits before
    /// checkpoints, older ones first.
    pub files: Vec<String>,
}

/// The last midnight (UTC) at or before a time in milliseconds since the Unix epoch.
pub fn midnight_before(ms: i64) -> i64 {
    ms - ms.rem_euclid(DAY_MS)
}

/// Chooses what can be deleted so that every version which was current at the cutoff, or came later, can still be
/// loaded. `None` when there is nothing to delete.
///
/// The newest commit that is not younger than the cutoff was current then. The newest complete checkpoint at or before
/// it stays, with its commit and everything after it; what is before it goes. `rejected` are checkpoints that turned
/// out to be damaged.
///
/// The time of a commit is that of its file, but later than the one before it.
///
/// **Source**: Delta protocol, "Metadata Cleanup".
///
/// # Example
/// ```
/// use boathouse_delta_protocol::log_path::{LogEntry, checkpoint_name, commit_name, plan_cleanup};
///
/// let at = |name: String, modified_ms| LogEntry { name, modified_ms };
/// let mut log: Vec<LogEntry> = (0..6).map(|v| at(commit_name(v), 1_000 * v as i64)).collect();
/// log.push(at(checkpoint_name(2), 2_000));
/// let plan = plan_cleanup(&log, 4_500, &[]).expect("there is a checkpoint");
/// assert_eq!((plan.checkpoint.version, plan.files), (2, vec![commit_name(0), commit_name(1)]));
/// ```
pub fn plan_cleanup(log: &[LogEntry], cutoff_ms: i64, rejected: &[Checkpoint]) -> Option<CleanupPlan> {
    let files: Vec<(&LogEntry, LogFile)> = log.iter().filter_map(|e| Some((e, LogFile::parse(&e.name)?))).collect();
    let commits: BTreeMap<u64, i64> = files
        .iter()
        .filter_map(
            |(entry, file)| if let LogFile::Commit { version } = file { Some((*version, entry.modified_ms)) } else { None },
        )
        .collect();
    let mut last = None;
    let mut current = None;
    for (version, modified_ms) in commits {
        let at = last.map_or(modified_ms, |last: i64| modified_ms.max(last.saturating_add(1)));
        last = Some(at);
        if at > cutoff_ms {
            break;
        }
        current = Some(version);
    }
    // A gap or a missing start is an error for readers; here it means hands off.
    let segment = plan_segment(files.iter().map(|(entry, _)| &entry.name), Some(current?), rejected).ok()?;
    let checkpoint = segment.checkpoint?;
    let keep = checkpoint.version;
    let goes = |file: &LogFile| match file {
        LogFile::Compacted { from, .. } => *from <= keep,
        LogFile::LastCheckpoint => false,
        other => other.version().is_some_and(|version| version < keep),
    };
    let mut expired: Vec<(u8, u64, &str)> = files
        .iter()
        .filter(|(_, file)| goes(file))
        .map(|(entry, file)| {
            let order = match file {
                LogFile::Commit { .. } => 0,
                LogFile::Checksum { .. } | LogFile::Compacted { .. } => 1,
                _ => 2,
            };
            (order, file.version().unwrap_or_default(), entry.name.as_str())
        })
        .collect();
    let staged = log.iter().filter_map(|entry| Some((1, staged_version(&entry.name)?, entry.name.as_str())));
    expired.extend(staged.filter(|(_, version, _)| *version <= keep));
    expired.sort_unstable();
    let files: Vec<String> = expired.into_iter().map(|(_, _, name)| name.to_owned()).collect();
    (!files.is_empty()).then_some(CleanupPlan { checkpoint, files })
}

/// The version of a commit that a catalog keeps: `_staged_commits/VERSION.UUID.json`.
fn staged_version(name: &str) -> Option<u64> {
    let name = name.strip_prefix(STAGED_FOLDER)?.strip_prefix('/')?;
    let (version, rest) = name.split_once('.')?;
    let plain = version.len() == 20 && version.bytes().all(|b| b.is_ascii_digit()) && rest.ends_with(".json");
    plain.then(|| version.parse().ok()).flatten()
}

/// Sidecars that no checkpoint names, and that are older than a day as of midnight: younger ones may belong to a
/// checkpoint that is being written.
///
/// `sidecars` are the files of the folder; `named` are the names, without folder, that the remaining checkpoints hold.
pub fn expired_sidecars<'a>(
    sidecars: impl IntoIterator<Item = &'a LogEntry>,
    named: &BTreeSet<String>,
    now_ms: i64,
) -> Vec<String> {
    let before = midnight_before(now_ms) - DAY_MS;
    let unnamed = |entry: &&LogEntry| !named.contains(entry.name.rsplit('/').next().unwrap_or_default());
    let old = sidecars.into_iter().filter(|entry| entry.modified_ms < before && entry.name.ends_with(".parquet"));
    let mut names: Vec<String> = old.filter(unnamed).map(|entry| entry.name.clone()).collect();
    names.sort();
    names
}
