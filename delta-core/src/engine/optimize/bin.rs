//! Files that are written again together, and how they become a version.

use boathouse_delta_protocol::features::RowChange;
use boathouse_delta_table::{DataFile, DeltaError, Snapshot, Transaction, WrittenFiles};

use crate::engine::error::Result;
use crate::engine::output::Written;
use crate::engine::rewrite;

/// Files of one partition that are written again together, in the order of the log.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    pub(super) files: Vec<DataFile>,
}

/// What became of a bin.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) sources: Vec<DataFile>,
    pub(super) written: WrittenFiles,
    pub(super) kind: Kind,
}

/// How the rows of new files lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As in the old files, one after the other.
    Concatenated,
    /// In another order.
    Ordered,
}

/// Whether other bins are worth their work.
#[derive(Debug, Default)]
pub(super) struct Stop(std::sync::atomic::AtomicBool);

impl Stop {
    pub(super) fn set(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The changes of the log: the old files leave, the new ones come, and no row changes.
///
/// Where rows follow each other as before, the commit says so: then a row that another writer deletes meanwhile is
/// deleted in its new place.
pub(super) fn stage(snapshot: &Snapshot, bins: &[Rewritten]) -> Result<Transaction> {
    let mut transaction = Transaction::begin(snapshot).row_change(RowChange::Rearrange);
    let now_ms = snapshot.table().env().now_ms();
    for Rewritten { sources, written, kind } in bins {
        match written.adds.as_slice() {
            [add] if *kind == Kind::Concatenated && followable(sources, written) => {
                transaction = transaction.concatenate(sources, add.clone())?;
            }
            adds => {
                for file in sources {
                    transaction = transaction.remove_action(file.add().to_remove(now_ms, false));
                }
                transaction = transaction.add_all(adds.iter().cloned());
            }
        }
    }
    // Rows that were deleted take no ids along.
    let keeps = bins.iter().all(|bin| bin.written.keeps_row_ids || bin.written.adds.is_empty());
    Ok(if keeps { transaction.keeps_row_ids() } else { transaction })
}

/// Whether it is known of each source how many rows it gave.
fn followable(sources: &[DataFile], written: &WrittenFiles) -> bool {
    DataFile::total_rows(sources) == Some(written.rows)
}

/// Deletes the new files of a version that was not made. Best effort.
pub(super) async fn discard(snapshot: &Snapshot, bins: Vec<Rewritten>) {
    for Rewritten { written, .. } in bins {
        rewrite::discard(snapshot, &Written { files: written, ..Written::default() }).await;
    }
}

/// Whether nobody knows if the version was made: then its files must stay.
pub(super) fn may_have_happened(error: &DeltaError) -> bool {
    matches!(error, DeltaError::CommitUnknown { .. })
}
