//! The work itself, version by version.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_delta_protocol::checksum::VersionChecksum;
use boathouse_delta_protocol::commit;
use boathouse_delta_protocol::compaction::Compaction;
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::log_path::compacted_name;
use boathouse_delta_protocol::properties::CheckpointPolicy;
use tokio::sync::Notify;

use super::checksum;
use super::settings::{UpkeepSettings, UpkeepTime};
use crate::checkpoint::{self, CheckpointForm};
use crate::error::{OnTable, Result};
use crate::log::commit::read_commit;
use crate::log::list::{last_checkpoint, log_path};
use crate::log_cleanup;
use crate::table::DeltaTable;

/// Commits that wait at most for their checksum: older ones do without.
const MOST_WAITING: usize = 256;

/// The upkeep of one handle.
pub(crate) struct Upkeep {
    pub(crate) settings: UpkeepSettings,
    state: Mutex<State>,
    idle: Notify,
}

#[derive(Default)]
struct State {
    /// Commits that wait, oldest first.
    waiting: VecDeque<Done>,
    /// The last checksum that this handle knows.
    known: Option<Arc<VersionChecksum>>,
    /// The last checkpoint that this handle knows of; nothing before it looked.
    last_checkpoint: Option<u64>,
    /// Up to where this handle cleaned the log last.
    cleaned_to_ms: Option<i64>,
    running: bool,
}

/// A commit of this handle.
#[derive(Debug, Clone, Copy)]
struct Done {
    version: u64,
    checkpoint_interval: u64,
}

impl Upkeep {
    pub(crate) fn new(settings: UpkeepSettings) -> Self {
        Self { settings, state: Mutex::default(), idle: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_work(&self) -> bool {
        let settings = &self.settings;
        settings.checksums || settings.checkpoints || settings.compact_every.is_some()
    }

    /// Waits until nothing is under way.
    pub(crate) async fn settle(&self) {
        loop {
            let idle = self.idle.notified();
            if !self.state().running {
                return;
            }
            idle.await;
        }
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A commit happened.
pub(crate) async fn after_commit(table: &DeltaTable, version: u64, checkpoint_interval: u64) {
    let upkeep = table.upkeep();
    if !upkeep.has_work() {
        return;
    }
    let start = {
        let mut state = upkeep.state();
        state.waiting.push_back(Done { version, checkpoint_interval });
        if state.waiting.len() > MOST_WAITING {
            state.waiting.pop_front();
        }
        !std::mem::replace(&mut state.running, true)
    };
    match upkeep.settings.when {
        // Dropping the runtime ends it at its next step: nothing is half done by that.
        UpkeepTime::Background if start => drop(tokio::spawn(work(table.clone()))),
        UpkeepTime::Background => {}
        UpkeepTime::BeforeReturn if start => work(table.clone()).await,
        UpkeepTime::BeforeReturn => upkeep.settle().await,
    }
}

/// Says that nothing is under way any more, however the work ended.
struct Running(DeltaTable);

impl Drop for Running {
    fn drop(&mut self) {
        let upkeep = self.0.upkeep();
        upkeep.state().running = false;
        upkeep.idle.notify_waiters();
    }
}

async fn work(table: DeltaTable) {
    let running = Running(table.clone());
    loop {
        // With a catalog, what comes after a commit reads the published log.
        if let Err(error) = table.publish().await {
            tracing::warn!(table = table.url(), %error, "commits are not published yet");
        }
        let next = {
            let mut state = table.upkeep().state();
            let next = state.waiting.pop_front();
            if next.is_none() {
                // Under the lock, so that a commit which comes now starts the work anew.
                state.running = false;
            }
            next
        };
        let Some(done) = next else { break };
        for (step, result) in [
            ("its checksum", after(&table, done, Step::Checksum).await),
            ("its compacted file", after(&table, done, Step::Compaction).await),
            ("its checkpoint", after(&table, done, Step::Checkpoint).await),
        ] {
            if let Err(error) = result {
                tracing::warn!(table = table.url(), version = done.version, %error, "the commit succeeded, {step} did not");
            }
        }
    }
    drop(running);
}

#[derive(Clone, Copy)]
enum Step {
    Checksum,
    Compaction,
    Checkpoint,
}

async fn after(table: &DeltaTable, done: Done, step: Step) -> Result<()> {
    let settings = &table.upkeep().settings;
    match step {
        Step::Checksum if settings.checksums => write_checksum(table, done.version).await,
        Step::Compaction => match settings.compact_every {
            Some(every) if every > 1 && (done.version + 1).is_multiple_of(every) => {
                compact(table, done.version + 1 - every, done.version).await
            }
            _ => Ok(()),
        },
        Step::Checkpoint if settings.checkpoints => checkpoint_if_due(table, done).await,
        Step::Checksum | Step::Checkpoint => Ok(()),
    }
}

async fn write_checksum(table: &DeltaTable, version: u64) -> Result<()> {
    let known = table.upkeep().state().known.clone();
    // A table that was made anew at this place has another id: nothing is known of it.
    let id = table.known_id();
    let known = known.filter(|known| id.is_none_or(|id| id == known.metadata.id));
    if known.as_ref().is_some_and(|known| known.version >= version) {
        return Ok(());
    }
    let Some(checksum) = checksum::follow(table.storage(), known.as_deref(), version).await? else { return Ok(()) };
    checksum::write(table.storage(), &checksum).await?;
    table.upkeep().state().known = Some(Arc::new(checksum));
    Ok(())
}

/// Puts commits together in one file.
async fn compact(table: &DeltaTable, from: u64, to: u64) -> Result<()> {
    let storage = table.storage();
    let mut compaction = Compaction::default();
    for version in from..=to {
        // Cleaned up meanwhile: then nobody needs it.
        let Some(actions) = read_commit(storage, version).await? else { return Ok(()) };
        compaction.add(actions);
    }
    let bytes = commit::to_json(&compaction.finish()).on(storage.url())?;
    // A file without lines would look like one that was cut off.
    if !bytes.is_empty() {
        storage.put(&log_path(&compacted_name(from, to)), bytes).await?;
    }
    Ok(())
}

/// Writes a checkpoint when so many commits came since the last one, by whomever.
async fn checkpoint_if_due(table: &DeltaTable, done: Done) -> Result<()> {
    let Done { version, checkpoint_interval: interval } = done;
    if version == 0 || interval == 0 {
        return Ok(());
    }
    let last = table.upkeep().state().last_checkpoint;
    let due = |last: Option<u64>| version.is_multiple_of(interval) || last.is_some_and(|last| version >= last + interval);
    if last.is_some() && !due(last) {
        return Ok(());
    }
    // The first time, and before each checkpoint: another writer may have been faster.
    let found = last_checkpoint(table.storage()).await?.map_or(0, |last| last.version);
    table.upkeep().state().last_checkpoint = Some(found.max(last.unwrap_or(0)));
    if found >= version || !due(Some(found)) {
        return Ok(());
    }
    let snapshot = table.snapshot().await?;
    let written = checkpoint::write(&snapshot, CheckpointForm::Table).await?;
    table.upkeep().state().last_checkpoint = Some(written.version);
    let settings = &table.upkeep().settings;
    if settings.checksums {
        // The whole log was read: what is known is checked, and what was unknown is known now.
        let counted = checksum::replayed(&snapshot).await?;
        let known = table.upkeep().state().known.clone();
        if let Some(known) = known.filter(|known| known.version == counted.version) {
            let differences = known.differences(&counted);
            if !differences.is_empty() {
                let differences = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                tracing::warn!(
                    table = table.url(),
                    version,
                    differences,
                    "the version checksum was wrong, and is not carried on"
                );
            }
        } else {
            checksum::write(table.storage(), &counted).await?;
        }
        let mut state = table.upkeep().state();
        if state.known.as_ref().is_none_or(|known| known.version <= counted.version) {
            state.known = Some(Arc::new(counted));
        }
    }
    let managed = features::catalog_feature(snapshot.protocol()).is_some();
    // A cleaning lists the whole log: once for each cutoff, which moves once a day.
    let cutoff_ms = log_cleanup::cutoff_ms(&snapshot, None);
    let is_clean = table.upkeep().state().cleaned_to_ms == Some(cutoff_ms);
    if settings.log_cleanup && !managed && snapshot.properties().enable_expired_log_cleanup && !is_clean {
        let cleaned = log_cleanup::clean(&snapshot, None).await?;
        table.upkeep().state().cleaned_to_ms = Some(cutoff_ms);
        // Clients that know no V2 checkpoint find a file that tells them why.
        let hidden = snapshot.properties().checkpoint_policy == CheckpointPolicy::V2 && written.sidecars > 0;
        if hidden && !cleaned.files.is_empty() {
            checkpoint::write(&snapshot, CheckpointForm::ClassicV2).await?;
        }
    }
    Ok(())
}
