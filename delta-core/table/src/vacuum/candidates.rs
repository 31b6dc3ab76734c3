//! Files that may go.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::Action;
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::needed::files_of;
use crate::error::{DeltaError, Result};
use crate::log::commit::read_commits;
use crate::log::list::{list_log, log_path};
use crate::log::load::{marks, monotonic};

/// Where vacuum looks for files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VacuumScope {
    /// In the whole folder of the table. Finds what failed writers left behind, too.
    #[default]
    Full,
    /// In the log: files that commits removed, and change data. No LIST of the table.
    ///
    /// It goes on where the last one ended, and needs the commits since then: the log must not have been cleaned of
    /// them.
    Lite,
    /// In a list that the caller has, such as an inventory report of the bucket.
    Inventory(Vec<InventoryFile>),
}

/// A file of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryFile {
    /// Relative to the table, as the store has it.
    pub path: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was written, in microseconds since the Unix epoch.
    pub modified_us: i64,
}

/// A file that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) size_bytes: u64,
    /// `None`: its age is that of the commit that removed it, which is old enough.
    pub(super) modified_us: Option<i64>,
}

/// Candidates by path, and the last version that a lite vacuum looked at.
pub(super) struct Candidates {
    pub(super) files: BTreeMap<String, Candidate>,
    pub(super) looked_up_to: Option<u64>,
}

pub(super) async fn candidates(storage: &Storage, scope: &VacuumScope, cutoff_us: i64) -> Result<Candidates> {
    let files = match scope {
        VacuumScope::Lite => return from_log(storage, cutoff_us).await,
        VacuumScope::Full => {
            let entries = storage.list("").await?.into_iter();
            entries.map(|e| (e.path, Candidate { size_bytes: e.size_bytes, modified_us: Some(e.modified_us) })).collect()
        }
        VacuumScope::Inventory(files) => {
            let mut newest: BTreeMap<String, Candidate> = BTreeMap::new();
            for file in files {
                let found = Candidate { size_bytes: file.size_bytes, modified_us: Some(file.modified_us) };
                // Of two entries for one file the younger one counts.
                let known = newest.entry(file.path.clone()).or_insert_with(|| found.clone());
                if known.modified_us < found.modified_us {
                    *known = found;
                }
            }
            newest
        }
    };
    Ok(Candidates { files, looked_up_to: None })
}

/// Where the last lite vacuum ended: the name and the field are those of the reference implementation.
const LAST_VACUUM: &str = "_last_vacuum_info";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastVacuum {
    #[serde(default)]
    latest_commit_version_outside_of_retention_window: Option<u64>,
}

/// Files that commits up to the cutoff removed, since the last time.
async fn from_log(storage: &Storage, cutoff_us: i64) -> Result<Candidates> {
    let listing = list_log(storage, None).await?;
    let commits = marks(&listing);
    let (mut last, mut end) = (None, None);
    for (version, mark) in &commits {
        let at = monotonic(last, mark.modified_ms);
        last = Some(at);
        if at.saturating_mul(1000) > cutoff_us {
            break;
        }
        end = Some(*version);
    }
    let nothing = Candidates { files: BTreeMap::new(), looked_up_to: None };
    let (Some(end), Some(first)) = (end, commits.keys().next().copied()) else { return Ok(nothing) };
    let looked = last_vacuum(storage).await?;
    if first > 0 && looked.is_none_or(|looked| looked + 1 < first) {
        return Err(DeltaError::LiteVacuumNeedsCommits {
            url: storage.url().to_owned(),
            needed: looked.map_or(0, |looked| looked + 1),
            first,
        });
    }
    let start = looked.map_or(first, |looked| looked + 1);
    let mut files = BTreeMap::new();
    let mut read = std::pin::pin!(read_commits(storage, start..=end));
    while let Some((version, actions)) = read.try_next().await? {
        let Some(actions) = actions else {
            return Err(DeltaError::LiteVacuumNeedsCommits {
                url: storage.url().to_owned(),
                needed: version,
                first: version + 1,
            });
        };
        for action in actions {
            let (paths, size) = match &action {
                Action::Remove(remove) => {
                    (files_of(storage, &remove.path, remove.deletion_vector.as_deref())?, remove.size.unwrap_or_default())
                }
                Action::Cdc(cdc) => (files_of(storage, &cdc.path, None)?, cdc.size),
                _ => continue,
            };
            for (nth, path) in paths.into_iter().enumerate() {
                // The second one is the deletion vector, whose file may hold others.
                let size_bytes = if nth == 0 { size } else { 0 };
                files.insert(path, Candidate { size_bytes, modified_us: None });
            }
        }
    }
    Ok(Candidates { files, looked_up_to: Some(end) })
}

async fn last_vacuum(storage: &Storage) -> Result<Option<u64>> {
    let Some(bytes) = storage.get_optional(&log_path(LAST_VACUUM)).await? else { return Ok(None) };
    let parsed: Result<LastVacuum, _> = serde_json::from_slice(&bytes);
    Ok(parsed.ok().and_then(|last| last.latest_commit_version_outside_of_retention_window))
}

/// Notes how far a vacuum looked.
pub(super) async fn note(storage: &Storage, looked_up_to: u64) -> Result<()> {
    let last = LastVacuum { latest_commit_version_outside_of_retention_window: Some(looked_up_to) };
    let bytes: Bytes = serde_json::to_vec(&last).unwrap_or_default().into();
    storage.put(&log_path(LAST_VACUUM), bytes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use boathouse_delta_protocol::log_path::LogFile;

    use super::*;

    #[test]
    fn the_note_of_a_vacuum_is_no_file_of_the_log() {
        assert_eq!(LogFile::parse(LAST_VACUUM), None);
    }
}
