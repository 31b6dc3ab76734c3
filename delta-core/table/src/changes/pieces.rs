//! From the actions of a commit to pieces of files.

use std::sync::Arc;

use boathouse_delta_protocol::action::{Action, Add, Remove};
use boathouse_delta_protocol::changes::{Change, changes_of};
use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor};

use crate::error::{DeltaError, OnTable, Result};
use crate::scan::{Columns, DeletedRows, Piece, Rows, load_vector};
use crate::snapshot::Snapshot;
use crate::write::ChangeType;

/// Of which commit rows are, and what happened to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) version: u64,
    pub(super) timestamp_us: i64,
    /// Nothing: each row says it.
    pub(super) change: Option<ChangeType>,
}

/// Finds the rows of a commit.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    /// The version whose columns are shown.
    pub(super) shown: Snapshot,
    /// The columns of data files, and those of files of changes.
    pub(super) columns: Arc<Columns>,
    pub(super) recorded: Arc<Columns>,
}

impl Finder {
    /// The pieces of files that hold what a commit changes.
    ///
    /// **Errors**: `Invalid` when the commit turns the feed off.
    pub(super) async fn pieces(&self, version: u64, timestamp_us: i64, actions: &[Action]) -> Result<Vec<Piece<Of>>> {
        let url = self.shown.url();
        for action in actions {
            if let Action::Metadata(metadata) = action
                && !metadata.properties().on(url)?.enable_change_data_feed
            {
                return Err(DeltaError::ChangesOff { url: url.to_owned(), version });
            }
        }
        let of = |change| Of { version, timestamp_us, change };
        let mut pieces = Vec::new();
        for change in changes_of(actions) {
            match change {
                Change::Recorded(cdc) => {
                    let add = Add {
                        path: cdc.path.clone(),
                        partition_values: cdc.partition_values.clone(),
                        size: cdc.size,
                        ..Add::default()
                    };
                    let (file, columns, rows) = (self.shown.data_file(add)?, Arc::clone(&self.recorded), Rows::default());
                    pieces.push(Piece { file, columns, rows, tag: of(None) });
                }
                Change::Inserted(add) => {
                    pieces.push(self.piece(add.clone(), Rows::default(), of(Some(ChangeType::Insert)))?);
                }
                Change::Deleted(remove) => {
                    pieces.push(self.piece(to_add(remove), Rows::default(), of(Some(ChangeType::Delete)))?);
                }
                Change::Remarked { before, after } => {
                    let old = self.vector(version, &after.path, before.deletion_vector.as_deref()).await?;
                    let new = self.vector(version, &after.path, after.deletion_vector.as_deref()).await?;
                    for (rows, change) in [(new.minus(&old), ChangeType::Delete), (old.minus(&new), ChangeType::Insert)] {
                        if !rows.is_empty() {
                            let rows = Rows { deleted: DeletedRows::Keep, only: Some(rows), ..Rows::default() };
                            pieces.push(self.piece(after.clone(), rows, of(Some(change)))?);
                        }
                    }
                }
            }
        }
        Ok(pieces)
    }

    fn piece(&self, add: Add, rows: Rows, of: Of) -> Result<Piece<Of>> {
        Ok(Piece { file: self.shown.data_file(add)?, columns: Arc::clone(&self.columns), rows, tag: of })
    }

    async fn vector(&self, version: u64, path: &str, vector: Option<&DeletionVectorDescriptor>) -> Result<DeletionVector> {
        match vector {
            Some(vector) => load_vector(self.shown.table().storage(), version, path, vector).await,
            None => Ok(DeletionVector::new()),
        }
    }
}

/// A removed file as it was.
fn to_add(remove: &Remove) -> Add {
    Add {
        path: remove.path.clone(),
        partition_values: remove.partition_values.clone().unwrap_or_default(),
        size: remove.size.unwrap_or_default(),
        stats: remove.stats.clone(),
        deletion_vector: remove.deletion_vector.clone(),
        ..Add::default()
    }
}
