//! What can go wrong while a lakehouse is wired together.

use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_core::DeltaError;
use boathouse_storage::StorageError;

/// Why a lakehouse could not be opened, or not give a table.
#[derive(Debug, thiserror::Error)]
pub enum LakehouseError {
    /// A name that no table can have.
    #[error("name the table `{name}`: a name is made of letters, digits, `_` and `-`, and begins with a letter")]
    TableName {
        /// The name that was given.
        name: String,
    },
    /// Tracking and registry need a database, and the lakehouse lies in an object store.
    #[error(
        "open the lakehouse at {location}: runs and models are kept in a database, and a SQLite file cannot lie there; name one with `database`"
    )]
    NoDatabase {
        /// The lakehouse.
        location: String,
    },
    /// The folder of the lakehouse could not be made.
    #[error("make the folder {path} of the lakehouse: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The location could not be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The tracker could not be opened.
    #[error(transparent)]
    Tracker(#[from] boathouse_mltrack::Error),
    /// The registry could not be opened.
    #[error(transparent)]
    Registry(#[from] boathouse_registry::Error),
    /// A table could not be opened.
    #[error(transparent)]
    Table(#[from] DeltaError),
    /// A table could not be made known to a session.
    #[error("make the table `{name}` known to a session: {source}")]
    Session {
        /// The table.
        name: String,
        /// What the engine said.
        source: Box<datafusion::error::DataFusionError>,
    },
}

impl DomainError for LakehouseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TableName { .. } | Self::NoDatabase { .. } | Self::Session { .. } => ErrorKind::Invalid,
            Self::Folder { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
                std::io::ErrorKind::StorageFull => ErrorKind::Exhausted,
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Storage(source) => source.kind(),
            Self::Tracker(source) => source.kind(),
            Self::Registry(source) => source.kind(),
            Self::Table(source) => source.kind(),
        }
    }
}
