//! The state of a table at a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fold::Replay;
use crate::action::{Action, CommitInfo, DomainMetadata, Metadata, Protocol, Txn};

/// What a writer with its own numbering committed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppTxn {
    /// Its number.
    pub txn: Txn,
    /// The version of the table that it came with. `None`: older than the checkpoint.
    pub committed_at: Option<u64>,
}

/// A table at a version, without its files.
#[derive(Debug, Clone)]
pub struct TableState {
    /// The version.
    pub version: u64,
    /// What a client must be able to do.
    pub protocol: Protocol,
    /// What the table is.
    pub metadata: Arc<Metadata>,
    /// Writers with their own numbering, by app id.
    pub app_txns: BTreeMap<String, AppTxn>,
    /// Named texts, by domain; removed ones are not here.
    pub domain_metadata: BTreeMap<String, DomainMetadata>,
    /// The commit info of this very version; `None` when it has none or came from a checkpoint.
    pub commit_info: Option<Arc<CommitInfo>>,
}

impl TableState {
    /// Goes on with the commits after this version.
    pub fn resume(&self) -> Replay {
        let Self { version, protocol, metadata, app_txns, domain_metadata, commit_info } = self.clone();
        Replay {
            version: Some(version),
            protocol: Some(protocol),
            metadata: Some(metadata),
            app_txns,
            domains: domain_metadata,
            commit_info,
        }
    }

    /// The actions of a checkpoint of this state, but for files, in order: protocol, metadata, txns, domains.
    ///
    /// Txns last updated before `txns_since_ms` have expired and are left out; one without a time is kept.
    pub fn head_actions(&self, txns_since_ms: Option<i64>) -> impl Iterator<Item = Action> {
        let txns = self.app_txns.values().map(|t| &t.txn);
        let kept = move |txn: &&Txn| match (txns_since_ms, txn.last_updated) {
            (Some(since), Some(at)) => at >= since,
            _ => true,
        };
        [Action::Protocol(self.protocol.clone()), Action::Metadata((*self.metadata).clone())]
            .into_iter()
            .chain(txns.filter(kept).cloned().map(Action::Txn))
            .chain(self.domain_metadata.values().cloned().map(Action::DomainMetadata))
    }
}
