//! How much upkeep a handle does.

use serde::{Deserialize, Serialize};

/// When upkeep is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpkeepTime {
    /// In a task of the tokio runtime, after the commit has returned.
    /// [`DeltaTable::settle`](crate::DeltaTable::settle) waits for it.
    #[default]
    Background,
    /// Before the commit returns. For processes that make one commit and end, and for tests.
    BeforeReturn,
}

/// What a handle does after its commits, for later readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpkeepSettings {
    /// When.
    pub when: UpkeepTime,
    /// Write `VERSION.crc` after each commit: a GET of the commit and a PUT. Readers then open the table without
    /// reading a checkpoint.
    pub checksums: bool,
    /// Write a checkpoint every `delta.checkpointInterval` commits.
    pub checkpoints: bool,
    /// Clean the log after a checkpoint, as `delta.logRetentionDuration` and `delta.enableExpiredLogCleanup` say.
    pub log_cleanup: bool,
    /// Put so many commits together in a file of their own, besides. `None`: never, since checkpoints at the usual
    /// interval leave few commits to read, and not every reader looks for such files.
    pub compact_every: Option<u64>,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self { when: UpkeepTime::Background, checksums: true, checkpoints: true, log_cleanup: true, compact_every: None }
    }
}

impl UpkeepSettings {
    /// No upkeep: another process does it.
    pub fn none() -> Self {
        Self { checksums: false, checkpoints: false, log_cleanup: false, ..Self::default() }
    }
}
