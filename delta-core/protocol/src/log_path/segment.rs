//! Which files of the log make a version.

use std::collections::{BTreeMap, BTreeSet};

use super::name::{CheckpointFormat, LogFile, commit_name, compacted_name};
use crate::error::{ProtocolError, Result};

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// Its version.
    pub version: u64,
    /// Its files, in order: one, or all parts.
    pub files: Vec<LogFile>,
}

/// The files that make a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSegment {
    /// The version.
    pub version: u64,
    /// Where to start; `None`: before commit 0.
    pub checkpoint: Option<Checkpoint>,
    /// The commits after it, without gap, up to the version.
    pub commits: Vec<CommitFile>,
    /// Versions above that of the checkpoint whose own checkpoint lacks parts, and so saves nothing.
    pub incomplete: Vec<u64>,
}

/// A file with one commit, or with several that were compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitFile {
    /// Its first version.
    pub from: u64,
    /// Its last version; the same for one commit.
    pub to: u64,
}

impl CommitFile {
    /// The file of one commit.
    pub fn of(version: u64) -> Self {
        Self { from: version, to: version }
    }

    /// Whether it holds several commits.
    pub fn is_compacted(&self) -> bool {
        self.from != self.to
    }

    /// Its name in the log's folder.
    pub fn name(&self) -> String {
        if self.from == self.to { commit_name(self.from) } else { compacted_name(self.from, self.to) }
    }
}

/// Chooses the files for a version (`None`: the newest) from the names in the log's folder, in any order.
///
/// It starts at the newest complete checkpoint that is not above the version, and takes compacted commits where they
/// save a file. `rejected` are those that turned
/// out to be damaged: then it takes another one, an older one, or the commits from 0.
///
/// Names that are no files of the log are ignored, so a listing may begin anywhere: at the hint of
/// `_last_checkpoint` for speed, at the start after that failed.
///
/// **Errors**: `NotFound` without any log, for a version above the newest, and for one whose commits were cleaned
/// up; `Corrupt` when commits are missing in between, or before the first one without a checkpoint.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::log_path::{checkpoint_name, commit_name, plan_segment};
///
/// let names: Vec<String> = (0..=12).map(commit_name).chain([checkpoint_name(10)]).collect();
/// let segment = plan_segment(&names, None, &[])?;
/// assert_eq!(segment.checkpoint.map(|c| c.version), Some(10));
/// assert_eq!(segment.commits.iter().map(|c| c.name()).collect::<Vec<_>>(), [commit_name(11), commit_name(12)]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
pub fn plan_segment<S: AsRef<str>>(
    names: impl IntoIterator<Item = S>,
    version: Option<u64>,
    rejected: &[Checkpoint],
) -> Result<LogSegment> {
    let mut commits = BTreeSet::new();
    let mut compacted: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut whole = Vec::new();
    let mut parts: BTreeMap<(u64, u32), BTreeSet<u32>> = BTreeMap::new();
    for file in names.into_iter().filter_map(|name| LogFile::parse(name.as_ref())) {
        match file {
            LogFile::Commit { version } => {
                commits.insert(version);
            }
            LogFile::Checkpoint { version } | LogFile::UuidCheckpoint { version, .. } => {
                whole.push(Checkpoint { version, files: vec![file] });
            }
            LogFile::CheckpointPart { version, part, parts: of } => {
                parts.entry((version, of)).or_default().insert(part);
            }
            LogFile::Compacted { from, to } => {
                compacted.entry(from).or_default().insert(to);
            }
            LogFile::Checksum { .. } | LogFile::LastCheckpoint => {}
        }
    }
    let lacking: Vec<u64> =
        parts.iter().filter(|((_, of), found)| found.len() < *of as usize).map(|((version, _), _)| *version).collect();
    let complete = parts.into_iter().filter(|((_, of), found)| found.len() == *of as usize).map(|((version, of), found)| {
        let files = found.into_iter().map(|part| LogFile::CheckpointPart { version, part, parts: of }).collect();
        Checkpoint { version, files }
    });
    let mut checkpoints: Vec<Checkpoint> = whole.into_iter().chain(complete).filter(|c| !rejected.contains(c)).collect();
    checkpoints.sort_by(|a, b| (a.version, preference(a)).cmp(&(b.version, preference(b))).then_with(|| b.cmp(a)));

    let newest = commits.last().copied().into_iter().chain(checkpoints.last().map(|c| c.version)).max();
    let newest = newest.ok_or(ProtocolError::NoLog)?;
    let wanted = version.unwrap_or(newest);
    if wanted > newest {
        return Err(ProtocolError::VersionNotFound { wanted, latest: newest });
    }
    let checkpoint = checkpoints.iter().rev().find(|c| c.version <= wanted).cloned();
    let start = checkpoint.as_ref().map_or(0, |c| c.version + 1);
    let mut found = Vec::new();
    let mut next = start;
    while next <= wanted {
        let longest = compacted.get(&next).and_then(|ends| ends.range(..=wanted).next_back());
        let file = match longest {
            Some(to) => CommitFile { from: next, to: *to },
            None if commits.contains(&next) => CommitFile::of(next),
            None => break,
        };
        found.push(file);
        next = file.to + 1;
    }
    if next > wanted {
        let incomplete = lacking.into_iter().filter(|version| (start..=wanted).contains(version)).collect();
        return Ok(LogSegment { version: wanted, checkpoint, commits: found, incomplete });
    }
    let missing = next;
    let have = commits.range(next..=wanted.max(next)).next().copied().filter(|v| *v <= wanted);
    if checkpoint.is_some() || missing > start {
        return Err(ProtocolError::LogGap { wanted, missing });
    }
    // No checkpoint at or below it, and the log does not start at 0: a later one tells what can be loaded still.
    let first = have.or_else(|| commits.first().copied()).unwrap_or(wanted);
    match checkpoints.iter().find(|c| c.version > wanted) {
        Some(oldest) => Err(ProtocolError::VersionCleaned { wanted, oldest: oldest.version }),
        None => Err(ProtocolError::NoStart { wanted, first }),
    }
}

/// One file rather than many, and Parquet rather than JSON. Higher is better.
fn preference(checkpoint: &Checkpoint) -> u8 {
    match checkpoint.files.first() {
        Some(LogFile::Checkpoint { .. }) => 3,
        Some(LogFile::UuidCheckpoint { format: CheckpointFormat::Parquet, .. }) => 2,
        Some(LogFile::UuidCheckpoint { .. }) => 1,
        _ => 0,
    }
}
