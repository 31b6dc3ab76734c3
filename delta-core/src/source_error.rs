//! What can go wrong when a table is read as a stream.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_table::DeltaError;
use boathouse_storage::StorageError;

/// Why the changes of a table could not be streamed.
#[derive(Debug, thiserror::Error)]
pub enum DeltaSourceError {
    /// The text is not an offset of this source.
    #[error("stream the table {url}: `{offset}` is not an offset of a Delta source; a checkpoint belongs to one source")]
    Offset {
        /// The table.
        url: String,
        /// The text that was given.
        offset: String,
    },
    /// The offset was made by another table, which stood at this location before.
    #[error(
        "stream the table {url}: the offset is of the table with id {expected}, and the one that is there now has id {found}; \
         start the query anew with an empty checkpoint"
    )]
    OtherTable {
        /// The location.
        url: String,
        /// The id in the offset.
        expected: String,
        /// The id of the table.
        found: String,
    },
    /// The end of a range lies before its start.
    #[error("stream the table {url}: a range from version {start} back to version {end} has no rows; swap its offsets")]
    Backwards {
        /// The table.
        url: String,
        /// The version after which the range starts.
        start: u64,
        /// The version with which it ends.
        end: u64,
    },
    /// A commit changed rows that were there.
    #[error(
        "stream the table {url}: version {version} ({operation}) removed {files} files with their rows, and a stream can only \
         follow a table that grows; read it as a whole, or start anew after that version"
    )]
    NotAppendOnly {
        /// The table.
        url: String,
        /// The commit.
        version: u64,
        /// What it did.
        operation: String,
        /// Files that it removed.
        files: usize,
    },
    /// A commit of the range is no longer in the log.
    #[error(
        "stream the table {url}: the commit of version {version} is gone from the log; its rows can no longer be told from others"
    )]
    CommitGone {
        /// The table.
        url: String,
        /// The commit.
        version: u64,
    },
    /// A file of the range is no longer part of the table.
    #[error(
        "stream the table {url}: the file `{path}`, added in version {version}, is no longer part of the table at version {end}"
    )]
    FileGone {
        /// The table.
        url: String,
        /// The file.
        path: String,
        /// The version that added it.
        version: u64,
        /// The version that was read.
        end: u64,
    },
    /// A commit could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A commit is damaged.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The table could not be opened or read.
    #[error(transparent)]
    Table(#[from] DeltaError),
}

impl DomainError for DeltaSourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Offset { .. } | Self::OtherTable { .. } | Self::Backwards { .. } => ErrorKind::Invalid,
            Self::NotAppendOnly { .. } => ErrorKind::Unsupported,
            Self::CommitGone { .. } | Self::FileGone { .. } => ErrorKind::NotFound,
            Self::Storage(source) => source.kind(),
            Self::Protocol(source) => source.kind(),
            Self::Table(source) => source.kind(),
        }
    }
}
