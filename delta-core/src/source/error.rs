//! What can go wrong when a table is read as a stream.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_table::DeltaError;

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
    /// The version at which the stream is to begin is not there yet.
    #[error(
        "stream the table {url} from version {version} on: its newest version is {latest}; begin at that one or before, or with \
         `StreamStart::Later` at whatever comes next"
    )]
    StartTooLate {
        /// The table.
        url: String,
        /// The version that was asked for.
        version: u64,
        /// The newest one.
        latest: u64,
    },
    /// A commit changed rows that were there.
    #[error(
        "stream the table {url}: version {version} ({operation}) removed {files} files with their rows, and a stream of \
         new rows cannot take them back; stream the changes, or say in `OnChange` what becomes of such commits"
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
    /// Columns were renamed or dropped, or got another type.
    #[error(
        "stream the table {url}: version {version} renames or drops columns, or gives them another type, and rows of both kinds do not \
         go into one stream; start anew after that version, or let the stream follow with `OnNewColumns::Follow`"
    )]
    ColumnsChanged {
        /// The table.
        url: String,
        /// The version.
        version: u64,
    },
    /// There is no order by event time.
    #[error(
        "stream the table {url} in the order of `{column}`: that takes a timestamp or date at the top of the table, and a stream of new \
         rows that begins with those that are there"
    )]
    EventTime {
        /// The table.
        url: String,
        /// The column.
        column: String,
    },
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
            Self::Offset { .. }
            | Self::OtherTable { .. }
            | Self::Backwards { .. }
            | Self::StartTooLate { .. }
            | Self::EventTime { .. } => ErrorKind::Invalid,
            Self::NotAppendOnly { .. } | Self::ColumnsChanged { .. } => ErrorKind::Unsupported,
            Self::CommitGone { .. } => ErrorKind::NotFound,
            Self::Protocol(source) => source.kind(),
            Self::Table(source) => source.kind(),
        }
    }
}
