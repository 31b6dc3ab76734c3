//! The state of a table at a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::FileSet;
use super::fold::Replay;
use crate::action::{Action, CommitInfo, DomainMetadata, Metadata, Protocol, Remove, Txn};

/// What a writer with its own numbering committed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppTxn {
    /// Its number.
    pub txn: Txn,
    /// The version of the table that it came with. `None`: older than the checkpoint.
    pub committed_at: Option<u64>,
}

/// A table at a version.
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
    /// Active files and tombstones.
    pub files: FileSet,
    /// The commit info of this very version; `None` when it has none or came from a checkpoint.
    pub commit_info: Option<Arc<CommitInfo>>,
}

impl TableState {
    /// Goes on with the commits after this version.
    ///
    /// **Cost**: copies the index of files, shares the actions; dropping the old state first makes
    /// [`into_replay`](Self::into_replay) free.
    pub fn resume(&self) -> Replay {
        self.clone().into_replay()
    }

    /// Goes on with the commits after this version.
    pub fn into_replay(self) -> Replay {
        Replay {
            version: Some(self.version),
            protocol: Some(self.protocol),
            metadata: Some(self.metadata),
            app_txns: self.app_txns,
            domains: self.domain_metadata,
            files: self.files,
            commit_info: self.commit_info,
        }
    }

    /// The actions of a checkpoint of this state, in order: protocol, metadata, txns, domains, files, tombstones.
    ///
    /// File actions have `dataChange` false, as the reference writer has them. Tombstones removed before
    /// `tombstones_since_ms`, and txns last updated before `txns_since_ms`, have expired and are left out; one
    /// without a time is kept when it is a txn, and left out when it is a tombstone.
    pub fn checkpoint_actions(&self, tombstones_since_ms: i64, txns_since_ms: Option<i64>) -> impl Iterator<Item = Action> {
        let txns = self.app_txns.values().map(|t| &t.txn);
        let kept = move |txn: &&Txn| match (txns_since_ms, txn.last_updated) {
            (Some(since), Some(at)) => at >= since,
            _ => true,
        };
        let removes = self.files.tombstones().filter(move |r| r.deletion_timestamp.unwrap_or(0) > tombstones_since_ms);
        [Action::Protocol(self.protocol.clone()), Action::Metadata((*self.metadata).clone())]
            .into_iter()
            .chain(txns.filter(kept).cloned().map(Action::Txn))
            .chain(self.domain_metadata.values().cloned().map(Action::DomainMetadata))
            .chain(self.files.iter().map(|add| {
                let mut add = (**add).clone();
                add.data_change = false;
                Action::Add(add)
            }))
            .chain(removes.map(|remove| Action::Remove(Remove { data_change: false, ..(**remove).clone() })))
    }
}
