//! Transactions that cannot be.

/// What can be wrong with a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionProblem {
    /// A file is added twice.
    #[error("adds the file `{path}` twice")]
    AddedTwice {
        /// The file.
        path: String,
    },
    /// A file is removed that the table does not have.
    #[error("removes the file `{path}`, which version {version} does not have")]
    RemovesUnknown {
        /// The file.
        path: String,
        /// The version that was read.
        version: u64,
    },
    /// A new table without metadata.
    #[error("creates the table without metadata")]
    NoMetadata,
    /// Metadata or protocol are set more than once.
    #[error("sets `{action}` more than once")]
    SetTwice {
        /// The action's name in the log.
        action: &'static str,
    },
    /// A file is changed in two ways at once.
    #[error("changes the file `{path}` in two ways; delete its rows, or remove it, or put it together with others")]
    ChangedTwice {
        /// The file.
        path: String,
    },
    /// Rows are deleted in a table without deletion vectors.
    #[error(
        "deletes single rows, for which the property `delta.enableDeletionVectors` must be true; set it, or write the file again"
    )]
    VectorsOff,
    /// A table with a change feed is not told what changes.
    #[error(
        "changes rows, and the property `delta.enableChangeDataFeed` is true: write with a `ChangeWriter` what changes, and record it"
    )]
    ChangesNotRecorded,
    /// It is not known how many rows a file has.
    #[error("needs the number of rows of the file `{path}`, which its statistics do not have; write the file again")]
    RowsUnknown {
        /// The file.
        path: String,
    },
    /// A row that a file does not have.
    #[error("deletes row {row} of the file `{path}`, which has {rows} rows, counted from 0")]
    RowBeyondFile {
        /// The file.
        path: String,
        /// The row.
        row: u64,
        /// How many it has.
        rows: u64,
    },
    /// A file does not hold the rows of those that it was put together from.
    #[error("puts files with {expected} rows together into the file `{path}`, which has {found}")]
    RowsDiffer {
        /// The new file.
        path: String,
        /// The rows of its sources.
        expected: u64,
        /// Its own.
        found: u64,
    },
    /// Rows of a table that tracks them are in new files, and nobody says that they kept their ids.
    #[error(
        "puts rows that were in the table before into the file `{path}`, and the table tracks its rows (`delta.enableRowTracking`); \
         write them with a `DataWriter` of this version and stage what it wrote, or say `keeps_row_ids`"
    )]
    RowIdsUnknown {
        /// The file.
        path: String,
    },
    /// Two transactions that do not stand on the same version are to be one.
    #[error("is to be joined with one that stands on another version, or on the table {url}")]
    AnotherBase {
        /// The other's table.
        url: String,
    },
}
