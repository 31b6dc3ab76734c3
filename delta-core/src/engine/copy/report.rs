//! What a COPY INTO did, or would do.

use datafusion::arrow::array::RecordBatch;

/// What a COPY INTO did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyReport {
    /// The version that holds the rows; the version that was found when no file was new.
    pub version: u64,
    /// Whether there was anything to commit.
    pub committed: bool,
    /// Files that were loaded.
    pub files_loaded: u64,
    /// Files that were left out because they had been loaded before.
    pub files_known: u64,
    /// Files that were left out because they cannot be read: [`CorruptFiles::Skip`](crate::CorruptFiles::Skip).
    pub files_corrupt: u64,
    /// Bytes of the files that were loaded.
    pub bytes_loaded: u64,
    /// Rows that came.
    pub rows_inserted: u64,
    /// Data files added.
    pub files_added: u64,
    /// Attempts: 1 without contention, 0 without a commit.
    pub attempts: u32,
}

/// How much of the files is looked at without loading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyValidation {
    /// All rows.
    #[default]
    All,
    /// So many rows.
    Rows(usize),
}

/// What a COPY INTO would load.
#[derive(Debug, Clone, Default)]
pub struct CopyPreview {
    /// The first rows, 50 at most, as the table would get them.
    pub batches: Vec<RecordBatch>,
    /// Rows that were looked at. All of them fit.
    pub rows_checked: u64,
    /// Files that would be loaded.
    pub files: u64,
    /// Files that would be left out because they had been loaded before.
    pub files_known: u64,
    /// Files that would be left out because they cannot be read.
    pub files_corrupt: u64,
}
