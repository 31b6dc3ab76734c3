//! Removed files that the log still speaks of.

use std::collections::BTreeMap;

use crate::action::{Action, FileKey, Remove};
use crate::files::FileIndex;

/// Collects the files that were removed and did not come back: what a checkpoint must keep, and what vacuum spares.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::{commit, files::FileIndex, replay::Tombstones};
///
/// let mut tombstones = Tombstones::default();
/// tombstones.apply(commit::parse(4, br#"{"remove":{"path":"a.parquet","deletionTimestamp":9,"dataChange":true}}"#)?);
/// let gone = tombstones.finish(&FileIndex::default());
/// assert_eq!(gone[0].path, "a.parquet");
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tombstones(BTreeMap<FileKey, Remove>);

impl Tombstones {
    /// The actions of the checkpoint, or of the next commit: oldest first.
    pub fn apply(&mut self, actions: impl IntoIterator<Item = Action>) {
        let mut adds = Vec::new();
        for action in actions {
            match action {
                Action::Remove(remove) => {
                    self.0.insert(remove.key(), remove);
                }
                Action::Add(add) => adds.push(add.key()),
                _ => {}
            }
        }
        for key in adds {
            self.0.remove(&key);
        }
    }

    /// Those that are not in the table, by path.
    pub fn finish(self, files: &FileIndex) -> Vec<Remove> {
        self.0.into_iter().filter(|(key, _)| !files.contains(key)).map(|(_, remove)| remove).collect()
    }
}
