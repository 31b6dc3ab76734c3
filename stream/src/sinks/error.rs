//! What can go wrong in a sink of this crate.

use std::error::Error as StdError;

use boathouse_base::{DomainError, ErrorKind, OutputMode};
use boathouse_storage::StorageError;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::errors::ParquetError;

/// Why an epoch could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The function of `foreach_batch` has failed.
    #[error("give epoch {epoch} to the function of foreach_batch: {source}")]
    Function {
        /// The epoch; it comes again.
        epoch: u64,
        /// What the function says.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Rows could not be printed.
    #[error("print rows to the console: {source}")]
    Print {
        /// What was found.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A record of an epoch could not be read or written.
    #[error("{attempt} {file}: {source}")]
    Journal {
        /// What was to be done with it.
        attempt: &'static str,
        /// The file, or the folder.
        file: String,
        /// What the store says.
        source: Box<StorageError>,
    },
    /// A record of an epoch is no record.
    #[error(
        "read {file}, which says what an epoch was: {source}; it was not written by this engine, or was damaged: use another checkpoint or folder"
    )]
    Entry {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Another run has begun the epoch, over other rows.
    #[error(
        "begin epoch {epoch}: {journal} says that another run has begun it over other rows; only one run of a query can be open, so stop one of them"
    )]
    BegunOtherwise {
        /// The epoch.
        epoch: u64,
        /// The journal.
        journal: String,
    },
    /// The sink cannot do what the query's mode needs.
    #[error("write {mode:?} output to {sink}: rows of files stay as they are; use the append mode, or a Delta table")]
    Mode {
        /// The mode of the query.
        mode: OutputMode,
        /// The sink.
        sink: String,
    },
    /// A file of rows could not be encoded or written.
    #[error("write {file}: {source}")]
    Encode {
        /// The file.
        file: String,
        /// What is wrong.
        source: Box<FileError>,
    },
}

/// What an encoder of files says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Of Parquet, or of the store.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// Of JSON.
    #[error(transparent)]
    Json(#[from] ArrowError),
    /// Of the path.
    #[error(transparent)]
    Path(#[from] StorageError),
}

impl DomainError for SinkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Function { .. } | Self::Print { .. } => ErrorKind::Unavailable,
            Self::Journal { source, .. } => source.kind(),
            Self::Entry { .. } => ErrorKind::Corrupt,
            Self::BegunOtherwise { .. } => ErrorKind::Conflict,
            Self::Mode { .. } => ErrorKind::Invalid,
            Self::Encode { source, .. } => match &**source {
                FileError::Json(_) => ErrorKind::Invalid,
                FileError::Path(error) => error.kind(),
                FileError::Parquet(ParquetError::ArrowError(_) | ParquetError::NYI(_)) => ErrorKind::Unsupported,
                FileError::Parquet(_) => ErrorKind::Unavailable,
            },
        }
    }
}
