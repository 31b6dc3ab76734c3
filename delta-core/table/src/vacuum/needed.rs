//! Files that must stay.

use std::collections::HashSet;

use boathouse_delta_protocol::action::decode_path;
use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, VectorLocation};
use boathouse_storage::Storage;

use crate::error::{OnTable, Result};
use crate::scan::below_table;
use crate::snapshot::Snapshot;

/// Paths below the table, as the store has them.
pub(crate) struct Needed {
    storage: Storage,
    paths: HashSet<String>,
}

impl Needed {
    /// What the snapshot needs, and versions that were current at the cutoff or later: active files, and files that were
    /// removed after it; with their deletion vectors.
    pub(crate) async fn of(snapshot: &Snapshot, cutoff_us: i64) -> Result<Self> {
        let mut needed = Self { storage: snapshot.table().storage().clone(), paths: HashSet::new() };
        for file in snapshot.index().await?.iter_without_stats() {
            needed.extend(file.path(), file.deletion_vector())?;
        }
        for remove in snapshot.tombstones().await? {
            // One without a time may be young.
            let removed_us = remove.deletion_timestamp.map(|ms| ms.saturating_mul(1000));
            if removed_us.is_none_or(|at| at >= cutoff_us) {
                needed.extend(&remove.path, remove.deletion_vector.as_deref())?;
            }
        }
        Ok(needed)
    }

    fn extend(&mut self, path: &str, vector: Option<&DeletionVectorDescriptor>) -> Result<()> {
        self.paths.extend(files_of(&self.storage, path, vector)?);
        Ok(())
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// A data file and the file of its deletion vector, where they lie below the table.
pub(super) fn files_of(storage: &Storage, path: &str, vector: Option<&DeletionVectorDescriptor>) -> Result<Vec<String>> {
    let url = storage.url();
    let mut files = Vec::new();
    files.extend(below_table(storage, &decode_path(path).on(url)?));
    match vector.map(DeletionVectorDescriptor::location).transpose().on(url)? {
        Some(VectorLocation::InTable(path) | VectorLocation::Absolute(path)) => files.extend(below_table(storage, &path)),
        Some(VectorLocation::Inline) | None => {}
    }
    Ok(files)
}
