//! What a transaction loses to.

use boathouse_base::{DomainError, ErrorKind};

/// Another transaction was faster, and what it did cannot be reconciled with this one. Read again, and retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The winner changed the protocol.
    #[error("commit: version {version} ({operation}) changed the protocol of the table; read the table again and retry")]
    ProtocolChanged {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
    },
    /// The winner changed schema, partitioning or properties.
    #[error("commit: version {version} ({operation}) changed the {change} of the table; read the table again and retry")]
    MetadataChanged {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// What it changed.
        change: String,
    },
    /// The winner added rows that this transaction should have read.
    #[error("commit: version {version} ({operation}) added file `{path}`, which {read}; read the table again and retry")]
    ConcurrentAppend {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
        /// How it touches what was read.
        read: ReadScope,
    },
    /// The winner removed rows that this transaction has read.
    #[error("commit: version {version} ({operation}) removed file `{path}`, which {read}; read the table again and retry")]
    ConcurrentDeleteRead {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
        /// How it touches what was read.
        read: ReadScope,
    },
    /// The winner removed a file that this transaction removes or changes as well.
    #[error(
        "commit: version {version} ({operation}) removed file `{path}`, which this transaction removes or changes as well; read the table again and retry"
    )]
    ConcurrentDeleteDelete {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
    },
    /// The winner deleted a row that this transaction deletes, changes or has read.
    #[error(
        "commit: version {version} ({operation}) deleted row {row} of file `{path}`, which this transaction deletes, changes or has read; read the table again and retry"
    )]
    ConcurrentRow {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
        /// The first such row, by its place in the file, from 0.
        row: u64,
    },
    /// The winner moved rows that this transaction deletes, and it cannot be told whereto.
    #[error(
        "commit: version {version} ({operation}) moved the rows of file `{path}` to other files and does not say in which order, while this transaction deletes some of them; read the table again and retry"
    )]
    RowsMoved {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The file.
        path: String,
    },
    /// The winner wrote for the same application.
    #[error(
        "commit: version {version} ({operation}) committed transaction {txn_version} of application `{app_id}`, which this transaction read or writes; read it again"
    )]
    ConcurrentTransaction {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The application.
        app_id: String,
        /// The number that the winner wrote.
        txn_version: i64,
    },
    /// The winner wrote the same metadata domain.
    #[error(
        "commit: version {version} ({operation}) wrote the metadata domain `{domain}`, which this transaction read or writes; read it again"
    )]
    ConcurrentDomain {
        /// The winner's version.
        version: u64,
        /// The winner's operation.
        operation: String,
        /// The domain.
        domain: String,
    },
}

/// How a file touches what a transaction has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadScope {
    /// The whole table was read.
    WholeTable,
    /// A predicate was read that rows of the file may match.
    Predicate,
    /// The file itself was read.
    File,
}

impl std::fmt::Display for ReadScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WholeTable => "is part of the table, all of which this transaction read",
            Self::Predicate => "may hold rows that this transaction looked for",
            Self::File => "this transaction read",
        })
    }
}

impl Conflict {
    /// The winner's version.
    pub fn version(&self) -> u64 {
        match self {
            Self::ProtocolChanged { version, .. }
            | Self::MetadataChanged { version, .. }
            | Self::ConcurrentAppend { version, .. }
            | Self::ConcurrentDeleteRead { version, .. }
            | Self::ConcurrentDeleteDelete { version, .. }
            | Self::ConcurrentRow { version, .. }
            | Self::RowsMoved { version, .. }
            | Self::ConcurrentTransaction { version, .. }
            | Self::ConcurrentDomain { version, .. } => *version,
        }
    }

    /// The winner's operation.
    pub fn operation(&self) -> &str {
        match self {
            Self::ProtocolChanged { operation, .. }
            | Self::MetadataChanged { operation, .. }
            | Self::ConcurrentAppend { operation, .. }
            | Self::ConcurrentDeleteRead { operation, .. }
            | Self::ConcurrentDeleteDelete { operation, .. }
            | Self::ConcurrentRow { operation, .. }
            | Self::RowsMoved { operation, .. }
            | Self::ConcurrentTransaction { operation, .. }
            | Self::ConcurrentDomain { operation, .. } => operation,
        }
    }
}

impl DomainError for Conflict {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }
}
