//! What can go wrong with a table.

mod alter;
mod clone;
mod clustering;
mod convert;
mod feature;
mod manifest;
mod transaction;

use std::sync::Arc;

use arrow_schema::{ArrowError, DataType};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::conflict::Conflict;
use boathouse_delta_protocol::features::DropProblem;
use boathouse_delta_protocol::schema::SchemaMismatch;
use boathouse_storage::{StorageError, kind_of};
use parquet::errors::ParquetError;

pub use alter::AlterProblem;
pub use clone::CloneProblem;
pub use clustering::ClusteringProblem;
pub use convert::ConvertProblem;
pub use feature::FeatureProblem;
pub use manifest::ManifestProblem;
pub use transaction::TransactionProblem;

use crate::committer::CommitterError;

/// A result whose error is [`DeltaError`].
pub type Result<T, E = DeltaError> = std::result::Result<T, E>;

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A stream in update mode gives rows that replace earlier ones, and a sink that adds knows no key to find them by.
    #[error(
        "write an epoch of updates to {table}: its rows replace earlier ones, and this sink only adds; use the append or the complete \
         mode, or merge each epoch by its key"
    )]
    UpdatesWithoutKey {
        /// The URL of the table.
        table: String,
    },
    /// Nothing is at the location.
    #[error("open the table {url}: there is no Delta table; create it first, or look for a typing error in the location")]
    NoTable {
        /// The table.
        url: String,
    },
    /// Something is at the location, but no table.
    #[error("open the table {url}: the folder holds `{found}` but no commit in `_delta_log`, so it is not a Delta table")]
    NotATable {
        /// The folder.
        url: String,
        /// A file in it.
        found: String,
    },
    /// A table was to be created where there is one.
    #[error("create the table {url}: it exists already, at version {version}; open it, or create it `if_not_exists`")]
    TableExists {
        /// The table.
        url: String,
        /// Its newest version.
        version: u64,
    },
    /// Two writers created the table at once.
    #[error("create the table {url}: another writer created it in the meantime; write again, to the table that is there now")]
    CreatedMeanwhile {
        /// The table.
        url: String,
    },
    /// The log, or what it asks of us.
    #[error("table {url}: {source}")]
    Protocol {
        /// The table.
        url: String,
        /// What is wrong.
        source: ProtocolError,
    },
    /// Data does not fit the table.
    #[error("write to the table {url}: {source}")]
    Schema {
        /// The table.
        url: String,
        /// What does not fit.
        source: SchemaMismatch,
    },
    /// The schema was to be overwritten by a write that keeps rows.
    #[error(
        "write to the table {url}: the schema can only be overwritten when all rows are; overwrite the table, or merge the schema"
    )]
    SchemaOverwriteKeepsRows {
        /// The table.
        url: String,
    },
    /// The data has other partition columns than the table.
    #[error("write to the table {url}: it is partitioned by [{table}], not by [{asked}]")]
    PartitionColumnsDiffer {
        /// The table.
        url: String,
        /// Its partition columns.
        table: String,
        /// Those that were asked for.
        asked: String,
    },
    /// A null in a column that allows none.
    #[error("write to the table {url}: column `{column}` is NOT NULL, and has a null in the row {values}")]
    NullInRequiredColumn {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The first such row of the batch, from 0.
        row: usize,
        /// The row, as far as it fits a message; of a field within a column, that column.
        values: Box<str>,
    },
    /// A table cannot be clustered by these columns.
    #[error("cluster the table {url}: {problem}")]
    Clustering {
        /// The table.
        url: String,
        /// What is wrong.
        problem: ClusteringProblem,
    },
    /// The table cannot be changed in this way.
    #[error("alter the table {url}: {problem}")]
    CannotAlter {
        /// The table.
        url: String,
        /// Why not.
        problem: AlterProblem,
    },
    /// The table cannot be cloned to this place.
    #[error("clone to the table {url}: {problem}")]
    CannotClone {
        /// The clone.
        url: String,
        /// Why not.
        problem: CloneProblem,
    },
    /// A feature must stay.
    #[error("drop the feature `{feature}` of the table {url}: {problem}")]
    CannotDropFeature {
        /// The table.
        url: String,
        /// The feature.
        feature: String,
        /// Why.
        problem: FeatureProblem,
    },
    /// The folder cannot become a table.
    #[error("convert the folder {url} to a Delta table: {problem}")]
    CannotConvert {
        /// The folder.
        url: String,
        /// Why not.
        problem: ConvertProblem,
    },
    /// Readers of Parquet alone would not understand the table.
    #[error("write manifests of the table {url}: {problem}")]
    CannotList {
        /// The table.
        url: String,
        /// Why not.
        problem: ManifestProblem,
    },
    /// The table has rules in SQL, and nobody is there who understands them.
    #[error(
        "write to the table {url}: {user} uses the table feature `{feature}`, whose SQL nobody here understands; hand in an engine with `DeltaTable::with_expressions`"
    )]
    NeedsExpressions {
        /// The table.
        url: String,
        /// The feature.
        feature: &'static str,
        /// The column or property that uses it.
        user: String,
    },
    /// The SQL of a rule cannot be understood or evaluated.
    #[error("write to the table {url}: {attempted} the {subject}, `{expression}`: {source}")]
    Expression {
        /// The table.
        url: String,
        /// What was attempted: `understand`, `evaluate`.
        attempted: &'static str,
        /// The rule.
        subject: String,
        /// Its text.
        expression: String,
        /// What is wrong.
        source: Box<boathouse_base::Error>,
    },
    /// A condition of the table is neither true nor false.
    #[error("write to the table {url}: the CHECK constraint `{constraint}`, `{expression}`, is of type {found}, not a boolean")]
    CheckNotBoolean {
        /// The table.
        url: String,
        /// The constraint.
        constraint: String,
        /// Its text.
        expression: String,
        /// Its type.
        found: Box<DataType>,
    },
    /// A row does not satisfy a condition of the table.
    #[error(
        "{attempted} the table {url}: the CHECK constraint `{constraint}`, `{expression}`, does not hold for the row {values}"
    )]
    CheckViolated {
        /// What was attempted: `write to`, `add a constraint to`.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The constraint, or the column whose invariant it is.
        constraint: String,
        /// Its text.
        expression: String,
        /// The first such row of the batch, from 0.
        row: usize,
        /// The row, as far as it fits a message.
        values: Box<str>,
    },
    /// A generated column was given another value than the one that it must have.
    #[error(
        "write to the table {url}: column `{column}` is generated as `{expression}`, which gives {right}, but row {row} of a batch has {given}; leave the column out"
    )]
    GeneratedDiffers {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// How it is generated.
        expression: String,
        /// The first such row of the batch, from 0.
        row: usize,
        /// The value that was given.
        given: Box<str>,
        /// The value that it must have.
        right: Box<str>,
    },
    /// A value was given for a column that the table numbers itself.
    #[error(
        "write to the table {url}: the table numbers column `{column}` itself, but row {row} of a batch has a value; leave it out"
    )]
    IdentityGiven {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The first such row of the batch, from 0.
        row: usize,
    },
    /// A value does not fit the type of its column.
    #[error("{attempted} column `{column}`: cast {from} to {to}: {source}")]
    Cast {
        /// What was done: `write`, `read`.
        attempted: &'static str,
        /// The column.
        column: String,
        /// The type of the data.
        from: Box<DataType>,
        /// The type that it should have.
        to: Box<DataType>,
        /// What did not fit.
        source: ArrowError,
    },
    /// A row outside of what is replaced.
    #[error(
        "replace the rows where {predicate} in the table {url}: row {row} of a batch does not match; remove it from the data, or widen the condition"
    )]
    ReplacedRowOutside {
        /// The table.
        url: String,
        /// The condition.
        predicate: String,
        /// The first such row of the batch, from 0.
        row: usize,
    },
    /// A column that is not there was asked for.
    #[error("look for column `{column}` in the table {url}: there is none; it has {available}")]
    UnknownColumn {
        /// The table.
        url: String,
        /// The column.
        column: String,
        /// The columns that there are.
        available: String,
    },
    /// A time before the first version that can be loaded.
    #[error(
        "load the table {url} as of {}: the oldest version that can be loaded, {oldest_version}, is of {}",
        moment(*asked_us), moment(*oldest_us)
    )]
    BeforeOldestVersion {
        /// The table.
        url: String,
        /// The time that was asked for.
        asked_us: i64,
        /// The oldest version.
        oldest_version: u64,
        /// Its time.
        oldest_us: i64,
    },
    /// A time after the newest version.
    #[error(
        "find what the table {url} was at {}: its newest version, {newest_version}, is of {}, and others may come until then; ask for that \
         time or an earlier one, or for the newest version",
        moment(*asked_us), moment(*newest_us)
    )]
    AfterNewestVersion {
        /// The table.
        url: String,
        /// The time that was asked for.
        asked_us: i64,
        /// The newest version.
        newest_version: u64,
        /// Its time.
        newest_us: i64,
    },
    /// Changes are asked for of a version in which the table did not keep them.
    #[error(
        "read changes of the table {url}: at version {version} the property `delta.enableChangeDataFeed` is not true; read from a version since which it is"
    )]
    ChangesOff {
        /// The table.
        url: String,
        /// The version.
        version: u64,
    },
    /// A range of versions ends before it starts.
    #[error("read changes of the table {url}: the range starts at version {from} and ends at version {to}, which is earlier")]
    ChangesBackwards {
        /// The table.
        url: String,
        /// The first version.
        from: u64,
        /// The last version.
        to: u64,
    },
    /// Changes are asked for of a commit that is gone.
    #[error("read changes of the table {url}: commit {version} was cleaned from the log; read from a later version")]
    ChangesCleaned {
        /// The table.
        url: String,
        /// The version.
        version: u64,
    },
    /// A data file is gone.
    #[error(
        "read {path} of the table {url} at version {version}: the file is gone; it was probably vacuumed: read a newer version"
    )]
    DataFileMissing {
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
        /// The version that needs it.
        version: u64,
    },
    /// A data file, deletion vector or checkpoint cannot be decoded.
    #[error("read {path} of the table {url}: {source}")]
    CorruptFile {
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
        /// What the decoder found.
        source: ParquetError,
    },
    /// The deletion vector of a data file cannot be used.
    #[error("read {path} of the table {url} at version {version}: {source}")]
    DeletionVector {
        /// The table.
        url: String,
        /// The data file, relative to the table.
        path: String,
        /// The version that was read.
        version: u64,
        /// What is wrong.
        source: Box<ProtocolError>,
    },
    /// A data file without field ids, in a table that finds its columns by them.
    #[error(
        "read {path} of the table {url}: it has no Parquet field ids, and the table finds columns by them \
         (`delta.columnMapping.mode` = `id`); write the file again with field ids"
    )]
    NoFieldIds {
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
    },
    /// A file has columns that do not fit the table.
    #[error("read {path} of the table {url}: {source}")]
    UnfitFile {
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
        /// What does not fit.
        source: ArrowError,
    },
    /// A file lies in a store that the table does not reach.
    #[error("read `{path}` of the table {url}: it lies in another store, which is not supported")]
    ForeignFile {
        /// The table.
        url: String,
        /// The path as it stands in the log.
        path: String,
    },
    /// The store failed below a stored object's name.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store failed while a data file was moved.
    #[error("{attempted} {path} of the table {url}: {source}")]
    Store {
        /// What was attempted: `read`, `write`.
        attempted: &'static str,
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// Rows could not be encoded.
    #[error("write {path} of the table {url}: {source}")]
    Encode {
        /// The table.
        url: String,
        /// The file, relative to the table.
        path: String,
        /// What the encoder said.
        source: ParquetError,
    },
    /// A computation on rows failed.
    #[error("{attempted} rows of the table {url}: {source}")]
    Compute {
        /// What was attempted.
        attempted: &'static str,
        /// The table.
        url: String,
        /// What Arrow said.
        source: ArrowError,
    },
    /// The rows to be written could not be read.
    #[error("write to the table {url}: the data ended with an error: {source}")]
    Input {
        /// The table.
        url: String,
        /// The error of the stream.
        source: boathouse_base::Error,
    },
    /// A task of ours ended early.
    #[error("work on the table {url}: a background task ended early: {source}")]
    Task {
        /// The table.
        url: String,
        /// Why.
        source: tokio::task::JoinError,
    },
    /// Another writer was faster.
    #[error("write to the table {url}: {source}")]
    Conflict {
        /// The table.
        url: String,
        /// What it did.
        source: Box<Conflict>,
    },
    /// Too many other writers were faster.
    #[error(
        "write to the table {url}: other writers were faster {attempts} times, the last time at version {version}; retry later"
    )]
    TooManyAttempts {
        /// The table.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// The last version that was tried.
        version: u64,
    },
    /// Rows of a table that tracks them were to be written again without saying which they are.
    #[error(
        "write rows of the table {url} again: the table tracks its rows (`delta.enableRowTracking`), and {found}; read them with \
         `FileRead::row_tracking`, and hand in where they come from"
    )]
    RowsWithoutOrigin {
        /// The table.
        url: String,
        /// What was found.
        found: String,
    },
    /// Row ids of a table that has none.
    #[error(
        "{attempted} row ids of the table {url}: the table does not track its rows; set `delta.enableRowTracking` = true first"
    )]
    RowTrackingOff {
        /// The table.
        url: String,
        /// What was attempted.
        attempted: &'static str,
    },
    /// A file without row ids in a table that tracks its rows.
    #[error("read row ids of the table {url}: the log gives the file `{path}` no `baseRowId` or `defaultRowCommitVersion`")]
    NoRowId {
        /// The table.
        url: String,
        /// The file.
        path: String,
    },
    /// It is not known whether a commit happened.
    #[error(
        "write to the table {url}: version {version} may or may not have been committed (transaction {txn_id}): {source}; look it up in the history before you retry"
    )]
    CommitUnknown {
        /// The table.
        url: String,
        /// The version.
        version: u64,
        /// The id in its commit info, if it was.
        txn_id: String,
        /// Why it is not known: what the store said, or that the work ended early.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Whoever decides about commits did not decide for this one.
    #[error("write to the table {url}: {source}")]
    Committer {
        /// The table.
        url: String,
        /// The version.
        version: u64,
        /// What it said.
        source: Box<CommitterError>,
    },
    /// It cannot be found out what was decided.
    #[error("find out which commits of the table {url} were decided: {source}")]
    Decided {
        /// The table.
        url: String,
        /// What the committer said.
        source: Box<CommitterError>,
    },
    /// Commits that were decided could not be brought into the log.
    #[error("publish the commits of the table {url}: {source}")]
    Publish {
        /// The table.
        url: String,
        /// Why.
        source: Box<CommitterError>,
    },
    /// The commits behind the version that was read were cleaned up.
    #[error(
        "write to the table {url}: version {version}, which was read, is so old that the commits after it were cleaned up, up to version {newest};          read the table again and retry"
    )]
    BaseCleaned {
        /// The table.
        url: String,
        /// The version that was read.
        version: u64,
        /// The newest version, or one near it.
        newest: u64,
    },
    /// An application's own version is beyond what the log can hold.
    #[error("write to the table {url}: version {version} of application `{app_id}` is beyond 2^63 - 1")]
    AppVersionTooLarge {
        /// The table.
        url: String,
        /// The application.
        app_id: String,
        /// Its version.
        version: u64,
    },
    /// Files would be deleted that old versions still need.
    #[error(
        "vacuum the table {url}: {} are below the table's retention of {} (`delta.deletedFileRetentionDuration`); readers and time travel may \
         need those files. Leave RETAIN out, or make the property shorter with ALTER TABLE … SET TBLPROPERTIES \
         ('delta.deletedFileRetentionDuration' = 'interval … hours'); in code there is `Retention::Unsafe`",
        hours(*asked_us), hours(*required_us)
    )]
    RetentionTooShort {
        /// The table.
        url: String,
        /// The retention that was asked for.
        asked_us: u64,
        /// The table's.
        required_us: u64,
    },
    /// A table whose versions a catalog decides, without it.
    #[error(
        "open the table {url}: a catalog manages it (`{feature}`) and decides what its versions are; give the table that catalog's \
         committer (`DeltaTable::with_committer`)"
    )]
    NeedsCatalog {
        /// The table.
        url: String,
        /// The feature of the table.
        feature: &'static str,
    },
    /// A table whose catalog decides about maintenance.
    #[error("{operation} the table {url}: a catalog manages it (`{feature}`), and decides about maintenance; ask the catalog")]
    MaintenanceByCatalog {
        /// The table.
        url: String,
        /// What was attempted.
        operation: &'static str,
        /// The feature of the table.
        feature: &'static str,
    },
    /// A lite vacuum reads the log since the last one, and parts of it are gone.
    #[error(
        "vacuum the table {url} by its log: commits from version {needed} on are needed, the log starts at {first}; run a full \
         vacuum once"
    )]
    LiteVacuumNeedsCommits {
        /// The table.
        url: String,
        /// The first version that is needed.
        needed: u64,
        /// The first version that is there.
        first: u64,
    },
    /// A checkpoint holds something else than it should.
    #[error(
        "write a checkpoint of version {version} of the table {url}: it was read back with {found} {what} in place of {written}, and \
         deleted; the table is as it was"
    )]
    CheckpointUnsound {
        /// The table.
        url: String,
        /// The version.
        version: u64,
        /// What was counted.
        what: &'static str,
        /// How many were written.
        written: u64,
        /// How many were found.
        found: u64,
    },
    /// A checkpoint in a form that the table does not allow.
    #[error(
        "write a checkpoint of the table {url} as `{form}`: the table does not have the feature `v2Checkpoint`; use `Classic`"
    )]
    CheckpointNeedsFeature {
        /// The table.
        url: String,
        /// The form that was asked for.
        form: &'static str,
    },
    /// Two actions of a transaction speak of the same file.
    #[error("commit to the table {url}: the transaction {problem}")]
    InvalidTransaction {
        /// The table.
        url: String,
        /// What is wrong with it.
        problem: TransactionProblem,
    },
}

/// A time as people read it.
fn moment(us: i64) -> String {
    match arrow_array::temporal_conversions::timestamp_us_to_datetime(us) {
        Some(time) => format!("{time} UTC"),
        None => format!("{us} µs"),
    }
}

/// A length of time in hours, as VACUUM takes it.
fn hours(us: u64) -> String {
    let (whole, rest) = (us / 3_600_000_000, us % 3_600_000_000);
    // To a thousandth of an hour.
    match rest / 3_600_000 {
        0 => format!("{whole} hours"),
        part => format!("{whole}.{part:03} hours"),
    }
}

impl DomainError for DeltaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTable { .. }
            | Self::NotATable { .. }
            | Self::UnknownColumn { .. }
            | Self::BeforeOldestVersion { .. }
            | Self::AfterNewestVersion { .. }
            | Self::ChangesCleaned { .. }
            | Self::DataFileMissing { .. } => ErrorKind::NotFound,
            Self::CannotClone { problem: CloneProblem::AnotherStore { .. }, .. } => ErrorKind::Unsupported,
            Self::CannotConvert { problem: ConvertProblem::NoFiles, .. } => ErrorKind::NotFound,
            Self::CannotDropFeature {
                problem: FeatureProblem::Table(DropProblem::Stays { .. } | DropProblem::Unknown), ..
            } => ErrorKind::Unsupported,
            Self::CannotClone { .. } | Self::CannotConvert { .. } | Self::CannotDropFeature { .. } => ErrorKind::Invalid,
            Self::UpdatesWithoutKey { .. } => ErrorKind::Unsupported,
            Self::TableExists { .. } => ErrorKind::AlreadyExists,
            Self::CreatedMeanwhile { .. } => ErrorKind::Conflict,
            Self::Protocol { source, .. } => source.kind(),
            Self::DeletionVector { source, .. } => source.kind(),
            Self::Schema { source, .. } => source.kind(),
            Self::SchemaOverwriteKeepsRows { .. }
            | Self::PartitionColumnsDiffer { .. }
            | Self::NullInRequiredColumn { .. }
            | Self::Clustering { .. }
            | Self::CannotAlter { .. }
            | Self::CannotList { .. }
            | Self::CheckNotBoolean { .. }
            | Self::CheckViolated { .. }
            | Self::GeneratedDiffers { .. }
            | Self::IdentityGiven { .. }
            | Self::ReplacedRowOutside { .. }
            | Self::AppVersionTooLarge { .. }
            | Self::RetentionTooShort { .. }
            | Self::CheckpointNeedsFeature { .. }
            | Self::LiteVacuumNeedsCommits { .. }
            | Self::RowTrackingOff { .. }
            | Self::ChangesOff { .. }
            | Self::ChangesBackwards { .. }
            | Self::InvalidTransaction { .. } => ErrorKind::Invalid,
            Self::Cast { attempted, .. } => {
                if *attempted == "read" {
                    ErrorKind::Corrupt
                } else {
                    ErrorKind::Invalid
                }
            }
            Self::NeedsExpressions { .. } | Self::RowsWithoutOrigin { .. } => ErrorKind::Unsupported,
            Self::Expression { source, .. } => source.kind(),
            Self::CorruptFile { .. } | Self::UnfitFile { .. } | Self::NoFieldIds { .. } | Self::NoRowId { .. } => {
                ErrorKind::Corrupt
            }
            Self::ForeignFile { .. } | Self::MaintenanceByCatalog { .. } | Self::NeedsCatalog { .. } => ErrorKind::Unsupported,
            Self::Storage(source) => source.kind(),
            Self::Store { source, .. } => kind_of(source),
            Self::Encode { .. } | Self::Compute { .. } | Self::CheckpointUnsound { .. } => ErrorKind::Internal,
            Self::Input { source, .. } => source.kind(),
            Self::Task { source, .. } => {
                if source.is_cancelled() {
                    ErrorKind::Cancelled
                } else {
                    ErrorKind::Internal
                }
            }
            Self::Conflict { source, .. } => source.kind(),
            Self::TooManyAttempts { .. } | Self::BaseCleaned { .. } => ErrorKind::Conflict,
            Self::Committer { source, .. } | Self::Decided { source, .. } | Self::Publish { source, .. } => source.kind(),
            Self::CommitUnknown { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Says which table a protocol error is about.
pub(crate) trait OnTable<T> {
    /// Names the table.
    fn on(self, url: &str) -> Result<T>;
}

impl<T> OnTable<T> for Result<T, ProtocolError> {
    fn on(self, url: &str) -> Result<T> {
        self.map_err(|source| DeltaError::Protocol { url: url.to_owned(), source })
    }
}

impl<T> OnTable<T> for Result<T, SchemaMismatch> {
    fn on(self, url: &str) -> Result<T> {
        self.map_err(|source| DeltaError::Schema { url: url.to_owned(), source })
    }
}
