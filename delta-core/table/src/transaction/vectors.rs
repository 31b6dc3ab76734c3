//! Deletion vectors of a transaction: those that files have, and new ones.

use std::collections::BTreeMap;

use boathouse_delta_protocol::action::{Action, Add};
use boathouse_delta_protocol::conflict::{RowTouch, Stake, TouchedVectors};
use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor, VectorFile, VectorLocation};

use super::check::rows_of;
use crate::error::{OnTable, Result};
use crate::scan::load_vector;
use crate::table::DeltaTable;

/// Bytes up to which a vector stands in the log itself. Every checkpoint carries it along, but a commit of few rows needs no
/// second object.
const INLINE_BYTES: usize = 128;

/// Vectors that were read, and files of vectors that were written, for one transaction.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    read: BTreeMap<(String, String), DeletionVector>,
    /// Actions that refer to written vectors, until the transaction has to move.
    staged: Option<Vec<Action>>,
    /// Files that no commit names yet.
    files: Vec<String>,
}

impl Vectors {
    /// The deleted rows of a file.
    pub(super) async fn of(
        &mut self,
        table: &DeltaTable,
        path: &str,
        vector: Option<&DeletionVectorDescriptor>,
        version: u64,
    ) -> Result<DeletionVector> {
        let Some(vector) = vector else { return Ok(DeletionVector::new()) };
        let key = (path.to_owned(), vector.unique_id());
        if let Some(known) = self.read.get(&key) {
            return Ok(known.clone());
        }
        let loaded = load_vector(table.storage(), version, path, vector).await?;
        self.read.insert(key, loaded.clone());
        Ok(loaded)
    }

    /// The vectors that a touched file had before and after a winner.
    pub(super) async fn of_touch(&mut self, table: &DeltaTable, touch: &RowTouch<'_>, version: u64) -> Result<TouchedVectors> {
        let path = match touch {
            RowTouch::Marked { path, .. } | RowTouch::Moved { path, .. } => *path,
        };
        let (before, after) = touch.vectors();
        Ok(TouchedVectors {
            before: self.of(table, path, before, version).await?,
            after: self.of(table, path, after, version).await?,
        })
    }

    /// What was staged refers to files as they were.
    pub(super) fn moved(&mut self) {
        self.staged = None;
    }

    /// The actions of marks and concatenations. Writes one file with all vectors that are too large for the log.
    pub(super) async fn actions(&mut self, table: &DeltaTable, stake: &Stake, version: u64, now_ms: i64) -> Result<Vec<Action>> {
        if let Some(staged) = &self.staged {
            return Ok(staged.clone());
        }
        let url = table.url();
        let mut file = None;
        let mut actions = Vec::new();
        for (path, mark) in &stake.marks {
            let before = self.of(table, path, mark.file.deletion_vector.as_deref(), version).await?;
            let mut rows = mark.rows.clone();
            rows.union_with(&before);
            if rows == before {
                continue;
            }
            actions.push(mark.to_remove(now_ms).into());
            if rows_of(&mark.file) != Some(rows.len()) {
                let vector = describe(table, &rows, &mut file).on(url)?;
                actions.push(mark.to_add(vector).on(url)?.into());
            }
        }
        for concatenation in &stake.concatenations {
            actions.extend(concatenation.sources.iter().map(|source| Action::from(source.file.to_remove(now_ms, false))));
            let deleted = &concatenation.deleted;
            if !deleted.is_empty() && rows_of(&concatenation.add) == Some(deleted.len()) {
                continue;
            }
            let vector = (!deleted.is_empty()).then(|| describe(table, deleted, &mut file)).transpose().on(url)?;
            actions.push(concatenation.to_add(vector).on(url)?.into());
        }
        if let Some(file) = file {
            let path = file.path();
            self.files.push(path.clone());
            // The name is new: writing it again after a lost reply changes nothing.
            table.storage().put(&path, file.into_bytes()).await?;
        }
        self.staged = Some(actions.clone());
        Ok(actions)
    }

    /// Deletes the files that no commit names: all of them, or those that `committed` does not name. Best effort.
    pub(super) async fn discard(self, table: &DeltaTable, committed: &[Action]) {
        let location = |action: &Action| match action {
            Action::Add(Add { deletion_vector: Some(vector), .. }) => vector.location().ok(),
            _ => None,
        };
        let named = |path: &str| {
            let here = |location| matches!(location, VectorLocation::InTable(found) if found == path);
            committed.iter().filter_map(location).any(here)
        };
        for path in self.files.iter().filter(|path| !named(path)) {
            if let Err(error) = table.storage().delete(path).await {
                tracing::warn!(table = table.url(), path, %error, "a deletion vector that no commit names could not be deleted");
            }
        }
    }
}

/// How the log refers to a vector: with its rows, or with a place in the file that is being put together.
fn describe(
    table: &DeltaTable,
    rows: &DeletionVector,
    file: &mut Option<VectorFile>,
) -> Result<DeletionVectorDescriptor, boathouse_delta_protocol::ProtocolError> {
    if rows.encoded_len() <= INLINE_BYTES {
        return DeletionVectorDescriptor::inline(rows);
    }
    file.get_or_insert_with(|| VectorFile::new(table.env().uuid_bytes())).push(rows)
}
