//! The fold over the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::FileSet;
use super::state::{AppTxn, TableState};
use crate::action::{Action, Add, CommitInfo, DomainMetadata, Metadata, Protocol, Remove};
use crate::error::{ProtocolError, Result};

/// The state of a table while its log is read.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{commit, replay::Replay};
///
/// let mut replay = Replay::new();
/// replay.apply_commit(0, commit::parse(0, br#"
/// {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
/// {"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}
/// {"add":{"path":"a.parquet","partitionValues":{},"size":10,"modificationTime":1,"dataChange":true}}
/// {"add":{"path":"b.parquet","partitionValues":{},"size":20,"modificationTime":1,"dataChange":true}}
/// "#)?)?;
/// replay.apply_commit(1, commit::parse(1, br#"{"remove":{"path":"a.parquet","dataChange":true}}"#)?)?;
/// let state = replay.finish()?;
/// assert_eq!(state.version, 1);
/// assert_eq!(state.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b.parquet"]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Replay {
    pub(super) version: Option<u64>,
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) app_txns: BTreeMap<String, AppTxn>,
    pub(super) domains: BTreeMap<String, DomainMetadata>,
    pub(super) files: FileSet,
    pub(super) commit_info: Option<Arc<CommitInfo>>,
}

impl Replay {
    /// Starts before commit 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a checkpoint of this version, whose actions follow by [`apply_checkpoint`](Self::apply_checkpoint).
    pub fn from_checkpoint(version: u64) -> Self {
        Self { version: Some(version), ..Self::default() }
    }

    /// The last version applied; `None` before commit 0.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Applies actions of the checkpoint, in any order, in one call or in many.
    ///
    /// **Errors**: `Corrupt` when a file is added twice.
    pub fn apply_checkpoint(&mut self, actions: impl IntoIterator<Item = Action>) -> Result<()> {
        let version = self.version.unwrap_or_default();
        for action in actions {
            match action {
                // A V1 checkpoint keeps tombstones of the very files it has; they cannot be both, so order is free.
                Action::Add(add) => self.add(version, add)?,
                Action::Remove(remove) => self.remove(version, remove),
                other => self.apply(None, other),
            }
        }
        Ok(())
    }

    /// Applies the next commit.
    ///
    /// **Errors**: `Internal` when it is not the next one; `Corrupt` when it adds a file twice, or adds one that is
    /// there with another deletion vector. After an error the replay is half applied: drop it.
    pub fn apply_commit(&mut self, version: u64, actions: impl IntoIterator<Item = Action>) -> Result<()> {
        match self.version {
            Some(previous) if version != previous + 1 => {
                return Err(ProtocolError::CommitOutOfOrder { previous, found: version });
            }
            _ => {}
        }
        self.version = Some(version);
        self.commit_info = None;
        let mut adds = Vec::new();
        for action in actions {
            match action {
                Action::Add(add) => adds.push(add),
                Action::Remove(remove) => self.remove(version, remove),
                other => self.apply(Some(version), other),
            }
        }
        adds.into_iter().try_for_each(|add| self.add(version, add))
    }

    /// The state after the last commit.
    ///
    /// **Errors**: `Corrupt` when the log has no `protocol` or no `metaData` action; `NotFound` when nothing was applied.
    pub fn finish(self) -> Result<TableState> {
        let version = self.version.ok_or(ProtocolError::NoLog)?;
        let missing = |action| ProtocolError::MissingAction { version, action };
        Ok(TableState {
            version,
            protocol: self.protocol.ok_or_else(|| missing("protocol"))?,
            metadata: self.metadata.ok_or_else(|| missing("metaData"))?,
            app_txns: self.app_txns,
            domain_metadata: self.domains,
            files: self.files,
            commit_info: self.commit_info,
        })
    }

    fn add(&mut self, version: u64, add: Add) -> Result<()> {
        let add = Arc::new(add);
        if self.files.add(Arc::clone(&add), version) {
            return Ok(());
        }
        Err(ProtocolError::DuplicateAction { version, action: "add", subject: add.key().to_string() })
    }

    fn remove(&mut self, version: u64, remove: Remove) {
        self.files.remove(remove, version);
    }

    /// `commit` is `None` for a checkpoint.
    fn apply(&mut self, commit: Option<u64>, action: Action) {
        match action {
            Action::Protocol(protocol) => self.protocol = Some(protocol),
            Action::Metadata(metadata) => self.metadata = Some(Arc::new(metadata)),
            Action::Txn(txn) => {
                self.app_txns.insert(txn.app_id.clone(), AppTxn { txn, committed_at: commit });
            }
            Action::DomainMetadata(domain) if domain.removed => {
                self.domains.remove(&domain.domain);
            }
            Action::DomainMetadata(domain) => {
                self.domains.insert(domain.domain.clone(), domain);
            }
            Action::CommitInfo(info) => {
                if commit.is_some() {
                    self.commit_info = Some(Arc::new(info));
                }
            }
            Action::Add(_) | Action::Remove(_) | Action::Cdc(_) | Action::CheckpointMetadata(_) | Action::Sidecar(_) => {}
        }
    }
}
