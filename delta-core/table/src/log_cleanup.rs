//! Deleting what of the log no retained version needs.

use std::collections::BTreeSet;
use std::time::Duration;

use boathouse_delta_protocol::action::Action;
use boathouse_delta_protocol::features::{self, CHECKPOINT_PROTECTION, PROTECTED_BEFORE};
use boathouse_delta_protocol::log_path::{
    Checkpoint, CleanupPlan, LOG_FOLDER, LogEntry, LogFile, SIDECAR_FOLDER, expired_sidecars, midnight_before, plan_cleanup,
};
use boathouse_storage::{ObjectEntry, Storage};
use futures::{StreamExt, TryStreamExt};

use crate::deletion::delete_all;
use crate::error::{DeltaError, OnTable, Result};
use crate::log::checkpoint_read::{self, CheckpointFiles, Columns};
use crate::log::list::log_path;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;

/// Checkpoints whose sidecars are looked up at once.
const AT_ONCE: usize = 4;

/// Deletes commits, checkpoints and what belongs to them. Made by [`DeltaTable::clean_log`].
#[derive(Debug)]
#[must_use = "nothing is deleted before `run`"]
pub struct LogCleanupBuilder {
    table: DeltaTable,
    retention: Option<Duration>,
}

/// What was, or would be, deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogCleanupReport {
    /// The files, relative to the table, in the order in which they go.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest version that can be loaded afterwards; `None` when nothing is to be deleted.
    pub oldest_version: Option<u64>,
    /// Whether they are gone. False for a dry run.
    pub deleted: bool,
}

impl LogCleanupBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, retention: None }
    }

    /// Keeps versions so long, in place of the table's `delta.logRetentionDuration`. A shorter time is a decision about
    /// other readers: time travel and streams that are further back lose their versions.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Says what would be deleted, and deletes nothing.
    ///
    /// **Errors**: as [`run`](Self::run).
    pub async fn dry_run(self) -> Result<LogCleanupReport> {
        self.table.publish().await?;
        let snapshot = self.table.snapshot().await?;
        find(&snapshot, self.retention).await
    }

    /// Deletes what no version needs that was current within the retention, or came later. The cutoff is the midnight
    /// (UTC) before the retention begins, so that this has something to do once a day.
    ///
    /// The newest checkpoint at or before the cutoff is read in full first: it must stand in for all that goes. Sidecars
    /// go when no checkpoint that stays names them, and they are older than a day.
    ///
    /// It does nothing on a table whose property `delta.requireCheckpointProtectionBeforeVersion` protects what would go
    /// only in part. Whether the table wants cleaning (`delta.enableExpiredLogCleanup`) is for writers that clean by
    /// themselves; here the caller wants it.
    ///
    /// **Errors**: `Unsupported` when the table needs something of writers that is not supported, or when a catalog
    /// manages it.
    ///
    /// **Cost**: a LIST of the log; with something to delete, reading a checkpoint, and a delete for each file.
    pub async fn run(self) -> Result<LogCleanupReport> {
        self.table.publish().await?;
        let snapshot = self.table.snapshot().await?;
        clean(&snapshot, self.retention).await
    }
}

/// Deletes what [`find`] finds.
pub(crate) async fn clean(snapshot: &Snapshot, retention: Option<Duration>) -> Result<LogCleanupReport> {
    let report = find(snapshot, retention).await?;
    let storage = snapshot.table().storage();
    // Commits before checkpoints: a log that is cleaned half way still has what its oldest version needs.
    let is_checkpoint = |path: &&String| path.contains(".checkpoint.") || path.contains(SIDECAR_FOLDER);
    let (checkpoints, commits): (Vec<String>, Vec<String>) = report.files.iter().cloned().partition(|path| is_checkpoint(&path));
    delete_all(storage, &commits).await?;
    delete_all(storage, &checkpoints).await?;
    Ok(LogCleanupReport { deleted: true, ..report })
}

async fn find(snapshot: &Snapshot, retention: Option<Duration>) -> Result<LogCleanupReport> {
    let (storage, url) = (snapshot.table().storage(), snapshot.url());
    features::check_write(snapshot.protocol(), snapshot.metadata()).on(url)?;
    refuse_managed(snapshot, "clean the log of")?;
    let now_ms = snapshot.table().env().now_ms();
    let cutoff_ms = cutoff_ms(snapshot, retention);
    let listing = storage.list(LOG_FOLDER).await?;
    let log: Vec<LogEntry> = listing.iter().filter_map(entry).collect();
    let Some(plan) = plan(storage, &listing, &log, cutoff_ms).await? else { return Ok(LogCleanupReport::default()) };
    if protected_before(snapshot).is_some_and(|version| plan.checkpoint.version < version) {
        tracing::info!(table = url, "the log is not cleaned: `{PROTECTED_BEFORE}` protects versions beyond the retention");
        return Ok(LogCleanupReport::default());
    }
    let gone: BTreeSet<&str> = plan.files.iter().map(String::as_str).collect();
    let mut names = plan.files.clone();
    let any_checkpoint = plan.files.iter().any(|name| name.contains(".checkpoint."));
    let left: Vec<LogEntry> = log.iter().filter(|entry| !gone.contains(entry.name.as_str())).cloned().collect();
    if any_checkpoint && let Some(named) = named_sidecars(storage, &listing, &left).await {
        let sidecars = left.iter().filter(|entry| entry.name.starts_with(SIDECAR_FOLDER));
        names.extend(expired_sidecars(sidecars, &named, now_ms));
    }
    let files: Vec<String> = names.iter().map(|name| log_path(name)).collect();
    let wanted: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let bytes = listing.iter().filter(|entry| wanted.contains(entry.path.as_str())).map(|entry| entry.size_bytes).sum();
    Ok(LogCleanupReport { files, bytes, oldest_version: Some(plan.checkpoint.version), deleted: false })
}

/// What was current at this time, or came later, is kept. It moves once a day.
pub(crate) fn cutoff_ms(snapshot: &Snapshot, retention: Option<Duration>) -> i64 {
    let retention_ms = match retention {
        Some(asked) => asked.as_millis().try_into().unwrap_or(i64::MAX),
        None => i64::try_from(snapshot.properties().log_retention_us / 1000).unwrap_or(i64::MAX),
    };
    midnight_before(snapshot.table().env().now_ms().saturating_sub(retention_ms))
}

/// A table whose catalog decides what may go.
pub(crate) fn refuse_managed(snapshot: &Snapshot, operation: &'static str) -> Result<()> {
    match features::catalog_feature(snapshot.protocol()) {
        None => Ok(()),
        Some(feature) => Err(DeltaError::MaintenanceByCatalog { url: snapshot.url().to_owned(), operation, feature }),
    }
}

fn protected_before(snapshot: &Snapshot) -> Option<u64> {
    let named = snapshot.metadata().configuration.iter().find(|(key, _)| key.eq_ignore_ascii_case(PROTECTED_BEFORE));
    // A number that does not parse protects everything.
    let version = named.map(|(_, value)| value.trim().parse().unwrap_or(u64::MAX));
    version.filter(|_| features::has(snapshot.protocol(), CHECKPOINT_PROTECTION))
}

fn entry(listed: &ObjectEntry) -> Option<LogEntry> {
    let name = listed.path.strip_prefix(LOG_FOLDER)?.strip_prefix('/')?.to_owned();
    Some(LogEntry { name, modified_ms: listed.modified_us.div_euclid(1000) })
}

/// A plan whose checkpoint is sound.
async fn plan(storage: &Storage, listing: &[ObjectEntry], log: &[LogEntry], cutoff_ms: i64) -> Result<Option<CleanupPlan>> {
    let mut rejected = Vec::new();
    while let Some(plan) = plan_cleanup(log, cutoff_ms, &rejected) {
        match read_whole(storage, &files_of(listing, &plan.checkpoint)).await {
            Ok(()) => return Ok(Some(plan)),
            Err(error) if crate::log::load::is_damage(&error) => {
                tracing::warn!(
                    table = storage.url(), version = plan.checkpoint.version, %error,
                    "a checkpoint is damaged: the log before it is kept"
                );
                rejected.push(plan.checkpoint);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn files_of(listing: &[ObjectEntry], checkpoint: &Checkpoint) -> CheckpointFiles {
    CheckpointFiles::new(checkpoint.clone(), |file| {
        let is_it = |entry: &&ObjectEntry| entry.path.rsplit('/').next().and_then(LogFile::parse).as_ref() == Some(file);
        listing.iter().find(is_it).map_or(0, |entry| entry.size_bytes)
    })
}

async fn read_whole(storage: &Storage, checkpoint: &CheckpointFiles) -> Result<()> {
    for file in checkpoint_read::files(storage, checkpoint).await? {
        checkpoint_read::adds(storage, &file, Columns::WithoutStats).await?;
    }
    Ok(())
}

/// The sidecars that these checkpoints name. `None` when one of them cannot be read: then all sidecars stay.
async fn named_sidecars(storage: &Storage, listing: &[ObjectEntry], left: &[LogEntry]) -> Option<BTreeSet<String>> {
    let checkpoints = left.iter().filter_map(|entry| match LogFile::parse(&entry.name)? {
        file @ (LogFile::Checkpoint { version } | LogFile::UuidCheckpoint { version, .. }) => {
            Some(files_of(listing, &Checkpoint { version, files: vec![file] }))
        }
        _ => None,
    });
    let heads: Vec<_> = checkpoints.map(|checkpoint| async move { checkpoint_read::head(storage, &checkpoint).await }).collect();
    let heads: Result<Vec<Vec<Action>>> = futures::stream::iter(heads).buffered(AT_ONCE).try_collect().await;
    match heads {
        Ok(heads) => heads
            .into_iter()
            .flatten()
            .filter_map(|action| if let Action::Sidecar(sidecar) = action { Some(sidecar) } else { None })
            .map(|sidecar| Some(sidecar.decoded_path().ok()?.rsplit('/').next().unwrap_or_default().to_owned()))
            .collect(),
        Err(error) => {
            tracing::warn!(table = storage.url(), %error, "sidecars are kept: a checkpoint that may name them cannot be read");
            None
        }
    }
}
