//! What a caller can do about a failure: the kinds that every Boathouse error reports.
//!
//! Inside a crate an error is a precise enum in the words of its domain (a path, a version, a
//! column). Across a trait of this crate it travels as [`Error`], which keeps that enum as its
//! source and shows one coarse [`ErrorKind`]. Retry loops, HTTP statuses and alerts look at the
//! kind only.

use std::error::Error as StdError;
use std::fmt;

/// What the caller can do about an error.
///
/// The list is closed on purpose: a new failure is a new variant of a domain error, not a new kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The thing named does not exist: a table, version, model, run or column.
    NotFound,
    /// The thing to be created is there already.
    AlreadyExists,
    /// Another writer was faster: read again and retry.
    Conflict,
    /// The call itself is wrong: change it. Retrying cannot help.
    Invalid,
    /// The request is meaningful but this build or version cannot do it.
    Unsupported,
    /// Stored bytes contradict their format: nothing was guessed.
    Corrupt,
    /// A store, database or peer does not answer: retry later.
    Unavailable,
    /// The caller is not allowed to do this.
    Denied,
    /// A limit was reached: disk, memory, quota or retry budget.
    Exhausted,
    /// The operation was cancelled before it finished.
    Cancelled,
    /// A bug of ours.
    Internal,
}

impl ErrorKind {
    /// The kind as one lower-case word, as it stands in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call can succeed later without being changed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A precise error of one crate that can cross a trait of this one.
///
/// Implement it on the crate's error enum; `?` then turns that enum into [`Error`].
pub trait DomainError: StdError + Send + Sync + 'static {
    /// What the caller can do about it.
    fn kind(&self) -> ErrorKind;
}

/// An error behind a trait of this crate: a kind, and the domain error that it came from.
///
/// `Display` is the message of the domain error, without additions; the domain error itself comes
/// back with [`downcast_ref`](Self::downcast_ref).
///
/// # Example
/// ```
/// use boathouse_base::{DomainError, Error, ErrorKind};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("read column `{column}`: the table has no such column")]
/// struct NoColumn { column: String }
///
/// impl DomainError for NoColumn {
///     fn kind(&self) -> ErrorKind { ErrorKind::NotFound }
/// }
///
/// let error = Error::from(NoColumn { column: "fare".into() });
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "read column `fare`: the table has no such column");
/// assert_eq!(error.downcast_ref::<NoColumn>().map(|e| e.column.as_str()), Some("fare"));
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync + 'static>,
}

impl Error {
    /// Wraps an error of a library that has no kinds of its own.
    ///
    /// Prefer a [`DomainError`] that also says what was attempted and on what.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        Self { kind, source: source.into() }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The domain error inside, if it is an `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }

    /// The wrapped error.
    pub fn get_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.source.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Error {
    // The message above is the message of `self.source` already: a chain printer continues below it.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl<E: DomainError> From<E> for Error {
    fn from(error: E) -> Self {
        Self { kind: error.kind(), source: Box::new(error) }
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
