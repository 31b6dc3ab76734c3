//! What can go wrong with stored objects.

use boathouse_base::{DomainError, ErrorKind};

/// Why a location could not be opened, or an object not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The text is neither a path nor a URL.
    #[error(
        "open the location `{text}`: {reason}; expected a path, or a URL such as file:///data, memory://name/ or s3://bucket/prefix"
    )]
    InvalidLocation {
        /// The text that was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL is of a store that this build does not have.
    #[error("open the location `{text}`: stores of this kind need the feature `{feature}`; enable it in Cargo.toml")]
    FeatureOff {
        /// The text that was given.
        text: String,
        /// The feature that brings the store.
        feature: &'static str,
    },
    /// A path that no store can hold.
    #[error("name the object `{path}` below {url}: {source}")]
    InvalidPath {
        /// The folder.
        url: String,
        /// The path below it.
        path: String,
        /// What is wrong with it.
        source: object_store::path::Error,
    },
    /// The store could not be set up.
    #[error("set up the store of {url}: {source}")]
    Setup {
        /// The location.
        url: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A request failed.
    #[error("{verb} {url}: {}", describe(.source))]
    Object {
        /// What was attempted: `read`, `write`, `list`, `delete`.
        verb: &'static str,
        /// The whole URL of the object.
        url: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A compare-and-set found another version than it expected.
    #[error("replace {url}: expected its version to be {}, and another writer has made version {}; read it again", version(.expected), version(.found))]
    Conflict {
        /// The versioned object.
        url: String,
        /// The version that the caller had read.
        expected: Option<u64>,
        /// The version that is there.
        found: Option<u64>,
    },
}

fn version(version: &Option<u64>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

/// The store's message, shortened to what a reader needs where we know better words.
fn describe(source: &object_store::Error) -> String {
    match source {
        object_store::Error::NotFound { .. } => "there is no such object".to_owned(),
        object_store::Error::AlreadyExists { .. } => "it exists already".to_owned(),
        other => match io_kind(other) {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                "the disk is full; free some space and try again".to_owned()
            }
            _ => other.to_string(),
        },
    }
}

impl DomainError for StorageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidLocation { .. } | Self::InvalidPath { .. } => ErrorKind::Invalid,
            Self::FeatureOff { .. } => ErrorKind::Unsupported,
            Self::Setup { .. } => ErrorKind::Invalid,
            Self::Object { source, .. } => kind_of(source),
            Self::Conflict { .. } => ErrorKind::Conflict,
        }
    }
}

/// What a caller can do about an error of an object store.
pub fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        E::Precondition { .. } => ErrorKind::Conflict,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Denied,
        E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => ErrorKind::Invalid,
        _ => match io_kind(error) {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => ErrorKind::Exhausted,
            Some(std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem) => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        },
    }
}

/// The kind of the I/O error at the bottom, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
