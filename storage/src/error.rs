//! What can go wrong with stored objects.

use boathouse_base::{DomainError, ErrorKind};

/// Why a location could not be opened, or an object not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// A versioned object cannot count any further.
    #[error("replace {url}: its version number cannot grow any further; start a new one under another name")]
    VersionsExhausted {
        /// The versioned object.
        url: String,
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
            Self::VersionsExhausted { .. } => ErrorKind::Exhausted,
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
            // A file stands where a folder was meant, or a name is one that the file system does not take.
            Some(std::io::ErrorKind::NotADirectory | std::io::ErrorKind::IsADirectory | std::io::ErrorKind::InvalidFilename) => {
                ErrorKind::Invalid
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn error(cause: io::ErrorKind) -> StorageError {
        let source = object_store::Error::Generic { store: "test", source: Box::new(io::Error::from(cause)) };
        StorageError::Object { verb: "write", url: "file:///a/b".to_owned(), source }
    }

    #[test]
    fn a_full_disk_is_exhausted_and_the_message_names_the_object_and_the_remedy() {
        let full = error(io::ErrorKind::StorageFull);
        assert_eq!(full.kind(), ErrorKind::Exhausted);
        assert_eq!(full.to_string(), "write file:///a/b: the disk is full; free some space and try again");
    }

    #[test]
    fn reasons_of_the_file_system_have_their_kinds() {
        assert_eq!(error(io::ErrorKind::PermissionDenied).kind(), ErrorKind::Denied);
        assert_eq!(error(io::ErrorKind::NotADirectory).kind(), ErrorKind::Invalid);
        assert_eq!(error(io::ErrorKind::ConnectionReset).kind(), ErrorKind::Unavailable);
    }
}
