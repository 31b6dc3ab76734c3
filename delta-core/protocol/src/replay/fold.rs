//! The fold over the log: everything but files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{AppTxn, TableState};
use crate::action::{Action, CommitInfo, DomainMetadata, Metadata, Protocol};
use crate::error::{ProtocolError, Result};

/// What a table is, while its log is read. File actions are passed over: [`files`](crate::files) is for them.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{commit, replay::Replay};
///
/// let mut replay = Replay::new();
/// replay.apply_commit(0, commit::parse(0, br#"
/// {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
/// {"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}
/// "#)?)?;
/// replay.apply_commit(1, commit::parse(1, br#"{"txn":{"appId":"stream","version":7}}"#)?)?;
/// let state = replay.finish()?;
/// assert_eq!(state.version, 1);
/// assert_eq!(state.app_txns["stream"].txn.version, 7);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Replay {
    pub(super) version: Option<u64>,
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) app_txns: BTreeMap<String, AppTxn>,
    pub(super) domains: BTreeMap<String, DomainMetadata>,
    pub(super) commit_info: Option<Arc<CommitInfo>>,
}

impl Replay {
    /// Starts before commit 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a checkpoint of this version (or with what stands in for it), whose actions follow by
    /// [`apply_checkpoint`](Self::apply_checkpoint).
    pub fn from_checkpoint(version: u64) -> Self {
        Self { version: Some(version), ..Self::default() }
    }

    /// The last version applied; `None` before commit 0.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Whether there is all that a table must have.
    pub fn is_complete(&self) -> bool {
        self.protocol.is_some() && self.metadata.is_some()
    }

    /// Applies actions of the checkpoint, in any order, in one call or in many.
    pub fn apply_checkpoint(&mut self, actions: impl IntoIterator<Item = Action>) {
        actions.into_iter().for_each(|action| self.apply(None, action));
    }

    /// Applies the next commit.
    ///
    /// **Errors**: `Internal` when it is not the next one.
    pub fn apply_commit(&mut self, version: u64, actions: impl IntoIterator<Item = Action>) -> Result<()> {
        self.apply_commits(version, version, actions)
    }

    /// Applies the next commits, reconciled in one compacted file.
    ///
    /// **Errors**: `Internal` when they are not the next ones.
    pub fn apply_commits(&mut self, from: u64, to: u64, actions: impl IntoIterator<Item = Action>) -> Result<()> {
        match self.version {
            Some(previous) if from != previous + 1 => {
                return Err(ProtocolError::CommitOutOfOrder { previous, found: from });
            }
            _ => {}
        }
        self.version = Some(to);
        self.commit_info = None;
        let commit = (from == to).then_some(to);
        actions.into_iter().for_each(|action| self.apply(commit, action));
        Ok(())
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
            commit_info: self.commit_info,
        })
    }

    /// `commit` is `None` where it is not known which commit an action came with.
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
