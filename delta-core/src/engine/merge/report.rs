//! What a merge did.

use boathouse_delta_table::CommitReport;

use super::matches::By;
use crate::engine::output::Written;

/// What a MERGE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeReport {
    /// The version that holds it; the version that was found when nothing was to be done.
    pub version: u64,
    /// Whether there was anything to commit.
    pub committed: bool,
    /// Whether it was done before, as the number of its application says.
    pub skipped: bool,
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows inserted.
    pub rows_inserted: u64,
    /// Rows updated.
    pub rows_updated: u64,
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Rows that were written again because they lay in the same file.
    pub rows_copied: u64,
    /// Files added.
    pub files_added: u64,
    /// Their size.
    pub bytes_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Files that stay, with the rows that changed marked as deleted.
    pub files_marked: u64,
    /// Attempts to commit: 1 without contention, 0 without a commit.
    pub attempts: u32,
}

/// Files by what happened to them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileCounts {
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) marked: u64,
    pub(crate) added_bytes: u64,
    pub(crate) removed_bytes: u64,
}

/// Rows by what happened to them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) source_rows: u64,
    pub(crate) inserted: u64,
    pub(crate) copied: u64,
    matched_updated: u64,
    matched_deleted: u64,
    by_source_updated: u64,
    by_source_deleted: u64,
}

impl Counts {
    pub(crate) fn of_source(source_rows: u64) -> Self {
        Self { source_rows, ..Self::default() }
    }

    /// Rows of the table that became others.
    pub(crate) fn rows_updated(&self) -> u64 {
        self.matched_updated + self.by_source_updated
    }

    pub(crate) fn updated(&mut self, by: By) {
        match by {
            By::Source { .. } => self.by_source_updated += 1,
            _ => self.matched_updated += 1,
        }
    }

    pub(crate) fn deleted(&mut self, by: By) {
        match by {
            By::Source { .. } => self.by_source_deleted += 1,
            _ => self.matched_deleted += 1,
        }
    }

    /// The metrics under the names that Spark gives them.
    pub(crate) fn metrics(&self, files: &FileCounts, written: &Written) -> Vec<(&'static str, u64)> {
        vec![
            ("numSourceRows", self.source_rows),
            ("numOutputRows", written.files.rows),
            ("numTargetRowsInserted", self.inserted),
            ("numTargetRowsUpdated", self.rows_updated()),
            ("numTargetRowsDeleted", self.matched_deleted + self.by_source_deleted),
            ("numTargetRowsCopied", self.copied),
            ("numTargetRowsMatchedUpdated", self.matched_updated),
            ("numTargetRowsMatchedDeleted", self.matched_deleted),
            ("numTargetRowsNotMatchedBySourceUpdated", self.by_source_updated),
            ("numTargetRowsNotMatchedBySourceDeleted", self.by_source_deleted),
            ("numTargetFilesAdded", files.added),
            ("numTargetFilesRemoved", files.removed),
            ("numTargetBytesAdded", written.files.bytes),
            ("numTargetBytesRemoved", files.removed_bytes),
            ("numTargetDeletionVectorsAdded", files.marked),
            ("numTargetChangeFilesAdded", written.changes.files.len() as u64),
        ]
    }

    pub(crate) fn report(&self, commit: CommitReport, files: &FileCounts) -> MergeReport {
        MergeReport {
            version: commit.version,
            committed: true,
            skipped: false,
            source_rows: self.source_rows,
            rows_inserted: self.inserted,
            rows_updated: self.rows_updated(),
            rows_deleted: self.matched_deleted + self.by_source_deleted,
            rows_copied: self.copied,
            files_added: files.added,
            bytes_added: files.added_bytes,
            files_removed: files.removed,
            files_marked: files.marked,
            attempts: commit.attempts,
        }
    }
}
