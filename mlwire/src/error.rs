//! What can go wrong on the wire and in the database.

use boathouse_base::{DomainError, ErrorKind};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request lacks a parameter.
    #[error("Missing value for required parameter '{parameter}'.")]
    MissingParameter {
        /// The parameter, with its path: `metrics[2].key`.
        parameter: String,
    },
    /// A parameter has a value that its type or range does not allow.
    #[error("Invalid value {value} for parameter '{parameter}' supplied: {expected}")]
    InvalidParameter {
        /// The parameter, with its path: `metrics[2].key`.
        parameter: String,
        /// The value as JSON.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The body of a request is not a JSON object.
    #[error("read the request body: expected a JSON object: {reason}")]
    Body {
        /// What the JSON reader or the connection said.
        reason: String,
    },
    /// A filter that does not follow the grammar.
    #[error("Invalid filter `{filter}`: at character {position}: found {found}, expected {expected}")]
    Filter {
        /// The whole filter.
        filter: String,
        /// Where, counted in characters from 1.
        position: usize,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// A filter or sort key that these things do not have.
    #[error("Invalid key `{key}` to search {searched}: expected {expected}")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// What is searched: `runs`.
        searched: &'static str,
        /// The keys that there are.
        expected: String,
    },
    /// A comparison that this key cannot take part in.
    #[error("Invalid comparison `{key} {operator}` to search {searched}: expected {expected}")]
    Comparison {
        /// The key as it was written.
        key: String,
        /// The operator.
        operator: &'static str,
        /// What is searched.
        searched: &'static str,
        /// The operators or the type of value that fit.
        expected: String,
    },
    /// A sort clause that is not `KEY [ASC|DESC]`.
    #[error("Invalid order_by clause `{clause}`: expected {expected}")]
    OrderBy {
        /// The clause.
        clause: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A page token that this server did not hand out.
    #[error("Invalid page token `{token}`: pass `next_page_token` of the page before, unchanged")]
    PageToken {
        /// The token.
        token: String,
    },
    /// A database URL that names no database we know.
    #[error(
        "open the database `{url}`: {reason}; expected a file path, `sqlite://PATH`, `sqlite::memory:` or `postgres://USER@HOST/NAME`"
    )]
    DatabaseUrl {
        /// The URL, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder of a database file could not be made.
    #[error("open the database `{url}`: create its folder `{folder}`")]
    DatabaseFolder {
        /// The database.
        url: String,
        /// The folder.
        folder: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("{action} in the database `{url}`")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// The database, without a password.
        url: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The database was made by a newer version of this software.
    #[error(
        "open the database `{url}`: the schema of `{component}` is at version {found}, this build knows up to {known}: use a newer build"
    )]
    NewerSchema {
        /// The database.
        url: String,
        /// Whose tables.
        component: String,
        /// The version found.
        found: i64,
        /// The newest version this build can make.
        known: i64,
    },
    /// A column holds what it never should.
    #[error("read column `{column}`: expected {expected}, found {found}")]
    Column {
        /// The column.
        column: String,
        /// The type that was asked for.
        expected: &'static str,
        /// The value found.
        found: String,
    },
}

impl Error {
    /// Whether a unique key was there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.as_database_error().is_some_and(|e| e.is_unique_violation()))
    }
}

impl DomainError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingParameter { .. }
            | Self::InvalidParameter { .. }
            | Self::Body { .. }
            | Self::Filter { .. }
            | Self::UnknownKey { .. }
            | Self::Comparison { .. }
            | Self::OrderBy { .. }
            | Self::PageToken { .. }
            | Self::DatabaseUrl { .. } => ErrorKind::Invalid,
            Self::NewerSchema { .. } => ErrorKind::Unsupported,
            Self::Column { .. } => ErrorKind::Corrupt,
            Self::DatabaseFolder { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                std::io::ErrorKind::StorageFull => ErrorKind::Exhausted,
                _ => ErrorKind::Unavailable,
            },
            Self::Database { source, .. } => database_kind(source),
        }
    }
}

/// **Source**: SQLite result codes (primary code = extended code mod 256); PostgreSQL appendix A, SQLSTATE classes.
fn database_kind(error: &sqlx::Error) -> ErrorKind {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
            sqlx::Error::Configuration(_) => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
    };
    if database.is_unique_violation() {
        return ErrorKind::AlreadyExists;
    }
    let code = database.code().unwrap_or_default();
    if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return match code.parse::<u32>().unwrap_or(0) % 256 {
            3 | 8 | 23 => ErrorKind::Denied,           // PERM, READONLY, AUTH
            5 | 6 | 10 | 14 => ErrorKind::Unavailable, // BUSY, LOCKED, IOERR, CANTOPEN
            7 | 13 => ErrorKind::Exhausted,            // NOMEM, FULL
            11 | 26 => ErrorKind::Corrupt,             // CORRUPT, NOTADB
            18 => ErrorKind::Invalid,                  // TOOBIG
            _ => ErrorKind::Internal,
        };
    }
    match code.get(..2).unwrap_or_default() {
        "08" | "57" | "58" => ErrorKind::Unavailable,
        "28" => ErrorKind::Denied,
        "3D" => ErrorKind::NotFound,
        "22" | "54" => ErrorKind::Invalid,
        "40" => ErrorKind::Conflict,
        "53" => ErrorKind::Exhausted,
        "55" => ErrorKind::Conflict,
        "XX" => ErrorKind::Corrupt,
        "42" if code == "42501" => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    }
}
