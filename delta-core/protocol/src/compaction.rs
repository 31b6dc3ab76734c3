//! Several commits as one file.

use std::collections::BTreeMap;

use crate::action::{Action, DomainMetadata, FileKey, Metadata, Protocol, Txn};

/// Commits that become one file, reconciled: what a later one cancels is left out, what older versions need to know
/// (removed files, removed domains) stays.
///
/// **Source**: Delta protocol, "Log Compaction Files", "Action Reconciliation".
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{commit, compaction::Compaction};
///
/// let mut compaction = Compaction::default();
/// compaction.add(commit::parse(5, br#"{"add":{"path":"f3","size":1,"modificationTime":1,"dataChange":true}}"#)?);
/// compaction.add(commit::parse(6, br#"{"remove":{"path":"f3","dataChange":true}}"#)?);
/// let actions = compaction.finish();
/// assert_eq!(actions.iter().map(|a| a.name()).collect::<Vec<_>>(), ["remove"]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Compaction {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    txns: BTreeMap<String, Txn>,
    domains: BTreeMap<String, DomainMetadata>,
    files: BTreeMap<FileKey, Action>,
}

impl Compaction {
    /// The next commit.
    pub fn add(&mut self, actions: impl IntoIterator<Item = Action>) {
        let mut added = Vec::new();
        for action in actions {
            match action {
                Action::Protocol(protocol) => self.protocol = Some(protocol),
                Action::Metadata(metadata) => self.metadata = Some(metadata),
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id.clone(), txn);
                }
                Action::DomainMetadata(domain) => {
                    self.domains.insert(domain.domain.clone(), domain);
                }
                Action::Remove(remove) => {
                    self.files.insert(remove.key(), Action::Remove(remove));
                }
                // Within a commit removals come before additions, in whatever order its lines stand.
                Action::Add(add) => added.push(add),
                Action::CommitInfo(_) | Action::Cdc(_) | Action::CheckpointMetadata(_) | Action::Sidecar(_) => {}
            }
        }
        for add in added {
            self.files.insert(add.key(), Action::Add(add));
        }
    }

    /// The actions of the file, sorted: protocol, metadata, txns, domains, files by path.
    pub fn finish(self) -> Vec<Action> {
        let head = self.protocol.map(Action::Protocol).into_iter().chain(self.metadata.map(Action::Metadata));
        let txns = self.txns.into_values().map(Action::Txn);
        let domains = self.domains.into_values().map(Action::DomainMetadata);
        head.chain(txns).chain(domains).chain(self.files.into_values()).collect()
    }
}
