//! What a table must never do.

use boathouse_base::ErrorKind;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A commit file was written a second time.
    #[error("version {version}: its commit file was written twice")]
    CommitOverwritten {
        /// The version.
        version: u64,
    },
    /// A commit that no reader should have to accept.
    #[error("version {version}: {what}")]
    MalformedCommit {
        /// The version.
        version: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A file is removed that is not in the table.
    #[error("version {version}: removes the file `{path}`, which the table does not have")]
    RemovesUnknown {
        /// The version.
        version: u64,
        /// The file.
        path: String,
    },
    /// A file is added that is in the table.
    #[error("version {version}: adds the file `{path}`, which the table has already")]
    AddedTwice {
        /// The version.
        version: u64,
        /// The file.
        path: String,
    },
    /// A data file that was committed cannot be read.
    #[error("version {version}: the file `{path}` was never written, or cannot be read")]
    UnreadableFile {
        /// The version.
        version: u64,
        /// The file.
        path: String,
    },
    /// A row is not known again.
    #[error("version {version}: the row {id} {what}")]
    RowIdentity {
        /// The version.
        version: u64,
        /// The row.
        id: i64,
        /// What is wrong with its row id or its commit version.
        what: String,
    },
    /// A row is in the table twice.
    #[error("version {version}: the row {id} is there twice")]
    RowTwice {
        /// The version.
        version: u64,
        /// The row.
        id: i64,
    },
    /// An application's transaction was committed twice, or after a later one.
    #[error("version {version}: transaction {number} of `{app}` is committed after the same or a later one")]
    AppTransactionTwice {
        /// The version.
        version: u64,
        /// The application.
        app: String,
        /// The number of its transaction.
        number: i64,
    },
    /// An operation is in the history twice.
    #[error("op {op} ({what}) is in the history twice: as versions {first} and {second}")]
    CommittedTwice {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// Its first version.
        first: u64,
        /// Its second version.
        second: u64,
    },
    /// An operation was acknowledged and is not there.
    #[error("op {op} ({what}) was acknowledged as version {version}, which {found}")]
    Lost {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// The version that was reported.
        version: u64,
        /// What is at that version.
        found: String,
    },
    /// An operation was refused and is there.
    #[error("op {op} ({what}) {said}, and yet it is version {version}")]
    Ghost {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// What its actor was told.
        said: String,
        /// Its version.
        version: u64,
    },
    /// A commit that nobody asked for.
    #[error("version {version} ({operation}) was asked for by nobody")]
    Unasked {
        /// The version.
        version: u64,
        /// The operation in its commit info.
        operation: String,
    },
    /// A commit did something else than its operation means at that place in the history.
    #[error("version {version}: op {op} ({what}) read version {read_version}; at its place in the history {difference}")]
    NotSerializable {
        /// The version.
        version: u64,
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// The version that it read.
        read_version: u64,
        /// What is different.
        difference: String,
    },
    /// A snapshot says something else than the log.
    #[error("the snapshot of version {version} ({route}) is not what the log says: {difference}")]
    SnapshotDiffers {
        /// The version.
        version: u64,
        /// How it was opened.
        route: String,
        /// What is different.
        difference: String,
    },
    /// A snapshot was older than what was acknowledged before it was asked for.
    #[error("op {op} ({what}) saw version {seen}, after version {acknowledged} had been acknowledged")]
    StaleRead {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// The version that it saw.
        seen: u64,
        /// The newest version that somebody was told to be committed before.
        acknowledged: u64,
    },
    /// An operation read rows that its version does not have.
    #[error("op {op} ({what}) read version {version} wrongly: {difference}")]
    WrongRead {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// The version that it read.
        version: u64,
        /// What is different.
        difference: String,
    },
    /// An error that nothing in the schedule explains.
    #[error("op {op} ({what}) failed with {kind}: {message}")]
    Unexplained {
        /// The operation.
        op: usize,
        /// What it was to do.
        what: String,
        /// The kind of the error.
        kind: ErrorKind,
        /// The error.
        message: String,
    },
    /// A file that is needed is gone.
    #[error("version {version} needs the file `{path}`, which op {deleted_by} deleted")]
    MissingFile {
        /// The version.
        version: u64,
        /// The file.
        path: String,
        /// The operation that deleted it.
        deleted_by: String,
    },
    /// Everybody waits, and nothing will happen.
    #[error("the schedule is stuck: {waiting} actors wait for something that never comes")]
    Stuck {
        /// How many.
        waiting: usize,
    },
    /// After the storm, a new writer could not write.
    #[error("after all faults had ended, {attempted} failed: {message}")]
    NoRecovery {
        /// What was attempted.
        attempted: &'static str,
        /// The error.
        message: String,
    },
}
