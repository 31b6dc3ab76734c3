//! Who changed the table, when and how.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{Action, CommitInfo};
use boathouse_delta_protocol::features;
use boathouse_storage::Storage;
use futures::TryStreamExt;
use serde_json::Value;

use crate::commit_metadata;
use crate::error::{DeltaError, Result};
use crate::log::commit::{info, read_commit, read_commits};
use crate::log::list::{list_log, no_table};
use crate::log::load::{marks, monotonic};
use crate::provenance::Provenance;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::{GroupMember, members};

/// One commit, as the history shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitSummary {
    /// The version that it made.
    pub version: u64,
    /// When, in microseconds since the Unix epoch (UTC); never less than that of the version before.
    pub timestamp_us: i64,
    /// `WRITE`, `DELETE`, `MERGE`, `RESTORE`, …; `None` when the writer did not say.
    pub operation: Option<String>,
    /// What it was asked to do.
    pub parameters: BTreeMap<String, String>,
    /// What it did.
    pub metrics: BTreeMap<String, String>,
    /// Free text of the user.
    pub user_metadata: Option<String>,
    /// Free facts of the writer ([`WriteRequest::commit_metadata`](boathouse_base::WriteRequest)).
    pub commit_metadata: BTreeMap<String, String>,
    /// Whether it only added rows, without reading the table.
    pub is_blind_append: Option<bool>,
    /// The version that it read.
    pub read_version: Option<u64>,
    /// How strictly it was ordered against other writers.
    pub isolation_level: Option<String>,
    /// Which program wrote it.
    pub engine: Option<String>,
    /// Who wrote it.
    pub provenance: Provenance,
    /// The transactions that share the commit; empty when it is that of a single one.
    pub group: Vec<GroupMember>,
    /// Data files added.
    pub files_added: u64,
    /// Data files removed.
    pub files_removed: u64,
}

pub(crate) async fn history(table: &DeltaTable, limit: usize) -> Result<Vec<CommitSummary>> {
    table.ask_committer().await?;
    let storage = table.log();
    let times = commit_times(storage).await?;
    if times.is_empty() {
        return Err(no_table(storage).await);
    }
    let wanted: Vec<u64> = times.keys().rev().copied().take(limit).collect();
    let mut commits = std::pin::pin!(read_commits(storage, wanted));
    let mut summaries = Vec::new();
    while let Some((version, actions)) = commits.try_next().await? {
        // Cleaned up since it was listed: so are all before it.
        let Some(actions) = actions else { break };
        let time_ms = times.get(&version).copied().unwrap_or_default();
        summaries.push(summary(version, time_ms, &actions));
    }
    Ok(summaries)
}

/// The last version at or before a time, which is not after the newest one: what is read as of a time that is to come would be something else
/// tomorrow.
///
/// Versions count by the time in their commit where the table holds it, and by the time of their file before that.
///
/// **Cost**: a LIST of the log; for tables with in-commit timestamps a few GETs more.
///
/// **Source**: Delta protocol, "Recommendations for Readers of Tables with In-Commit Timestamps"; the reference implementation,
/// `DELTA_TIMESTAMP_GREATER_THAN_COMMIT`.
pub(crate) async fn version_at(newest: &Snapshot, at_us: i64) -> Result<u64> {
    let found = last_until(newest, at_us).await?;
    if found.is_newest && at_us.div_euclid(1000) > found.time_ms {
        return Err(found.too_late(newest, at_us));
    }
    Ok(found.version)
}

/// The first version at or after a time, to the millisecond; it must be there.
///
/// **Cost**: as [`version_at`].
pub(crate) async fn version_since(newest: &Snapshot, at_us: i64) -> Result<u64> {
    let before_us = at_us.div_euclid(1000).saturating_mul(1000).saturating_sub(1);
    match last_until(newest, before_us).await {
        Ok(before) if before.is_newest => Err(before.too_late(newest, at_us)),
        Ok(before) => Ok(before.version + 1),
        Err(DeltaError::BeforeOldestVersion { oldest_version, .. }) => Ok(oldest_version),
        Err(error) => Err(error),
    }
}

/// A version that was found by a time.
struct Found {
    version: u64,
    time_ms: i64,
    /// Whether no version comes after it.
    is_newest: bool,
}

impl Found {
    fn too_late(&self, newest: &Snapshot, asked_us: i64) -> DeltaError {
        DeltaError::AfterNewestVersion {
            url: newest.url().to_owned(),
            asked_us,
            newest_version: self.version,
            newest_us: self.time_ms.saturating_mul(1000),
        }
    }
}

/// The last version at or before a time, which may be after the newest one.
async fn last_until(newest: &Snapshot, at_us: i64) -> Result<Found> {
    let storage = newest.table().log();
    let times = commit_times(storage).await?;
    let at_ms = at_us.div_euclid(1000);
    let Some((first, first_ms)) = times.first_key_value() else { return Err(no_table(storage).await) };
    let too_early = |oldest_version: u64, oldest_ms: i64| DeltaError::BeforeOldestVersion {
        url: storage.url().to_owned(),
        asked_us: at_us,
        oldest_version,
        oldest_us: oldest_ms.saturating_mul(1000),
    };
    let found = |version: u64, time_ms: i64| {
        // Of commits that came too fast the newest version may know another time than their files.
        let known_ms = if version == newest.version() { newest.timestamp_us().div_euclid(1000) } else { time_ms };
        Found { version, time_ms: time_ms.max(known_ms), is_newest: times.range(version + 1..).next().is_none() }
    };
    let by_file = |before: u64| {
        let last = times.range(..before).rev().find(|(_, time)| **time <= at_ms);
        last.map(|(version, time_ms)| found(*version, *time_ms)).ok_or_else(|| too_early(*first, *first_ms))
    };
    if !features::has_in_commit_timestamps(newest.protocol(), &newest.metadata().configuration) {
        return by_file(u64::MAX);
    }
    let properties = newest.properties();
    let since = properties.in_commit_timestamp_enablement_version.unwrap_or_default();
    if properties.in_commit_timestamp_enablement_ms.is_some_and(|since_ms| at_ms < since_ms) {
        return by_file(since);
    }
    // Times grow with versions: halve the range.
    let versions: Vec<u64> = times.range(since..).map(|(version, _)| *version).collect();
    let (mut low, mut high) = (0, versions.len());
    let (mut oldest_ms, mut last_ms) = (*first_ms, *first_ms);
    while low < high {
        let middle = low + (high - low) / 2;
        let version = versions[middle];
        let time = in_commit_time(storage, version).await?.unwrap_or_else(|| times[&version]);
        if middle == 0 {
            oldest_ms = time;
        }
        if time <= at_ms {
            (low, last_ms) = (middle + 1, time);
        } else {
            high = middle;
        }
    }
    let oldest = versions.first().copied().unwrap_or(*first);
    low.checked_sub(1).map(|at| found(versions[at], last_ms)).ok_or_else(|| too_early(oldest, oldest_ms))
}

/// Times of the commits that are there, by their files, in milliseconds: each at least one after the one before.
pub(crate) async fn commit_times(storage: &Storage) -> Result<BTreeMap<u64, i64>> {
    let mut last = None;
    let marks = marks(&list_log(storage, None).await?);
    Ok(marks
        .into_iter()
        .map(|(version, mark)| {
            let time = monotonic(last, mark.modified_ms);
            last = Some(time);
            (version, time)
        })
        .collect())
}

async fn in_commit_time(storage: &Storage, version: u64) -> Result<Option<i64>> {
    let actions = read_commit(storage, version).await?;
    Ok(actions.as_deref().and_then(info).and_then(|info| info.in_commit_timestamp))
}

fn summary(version: u64, time_ms: i64, actions: &[Action]) -> CommitSummary {
    let unknown = CommitInfo::default();
    let info = info(actions).unwrap_or(&unknown);
    let count = |test: fn(&Action) -> bool| actions.iter().filter(|a| test(a)).count() as u64;
    CommitSummary {
        version,
        timestamp_us: info.in_commit_timestamp.unwrap_or(time_ms).saturating_mul(1000),
        operation: info.operation.clone(),
        parameters: texts(info.operation_parameters.as_ref()),
        metrics: texts(info.operation_metrics.as_ref()),
        user_metadata: info.user_metadata.clone(),
        commit_metadata: commit_metadata::kept(info),
        is_blind_append: info.is_blind_append,
        read_version: info.read_version,
        isolation_level: info.isolation_level.clone(),
        engine: info.engine_info.clone(),
        provenance: Provenance::of(info),
        group: members(info),
        files_added: count(|a| matches!(a, Action::Add(_))),
        files_removed: count(|a| matches!(a, Action::Remove(_))),
    }
}

fn texts(map: Option<&BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}
