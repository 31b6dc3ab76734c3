//! What can go wrong with a table.

use std::sync::Arc;

use arrow_schema::{ArrowError, DataType};
use boathouse_base::{DomainError, ErrorKind};
use boathouse_delta_protocol::ProtocolError;
use boathouse_delta_protocol::conflict::Conflict;
use boathouse_delta_protocol::features::DropProblem;
use boathouse_delta_protocol::schema::ReplaceProblem;
use boathouse_delta_protocol::schema::{ColumnMappingMode, SchemaMismatch};
use boathouse_storage::{StorageError, kind_of};
use parquet::errors::ParquetError;

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

/// Why a table cannot be clustered by some columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusteringProblem {
    /// Clustering is instead of partitions.
    #[error("it is partitioned by {columns}, and a clustered table has no partitions; leave one of them out")]
    Partitioned {
        /// The partition columns.
        columns: String,
    },
    /// Similar values cannot be kept together.
    #[error("column `{column}` is of type {found}, of which values have no order; name another, or a part of it")]
    NoOrder {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column is named twice.
    #[error("column `{column}` is named twice; name it once")]
    Twice {
        /// The column.
        column: String,
    },
    /// The protocol wants statistics of each file that is there.
    #[error(
        "the file {file} has no statistics of column `{column}`; name the column in `delta.dataSkippingStatsColumns`, and write the file again"
    )]
    NoStatistics {
        /// The column.
        column: String,
        /// The file.
        file: String,
    },
}

/// Why a table cannot be changed in some way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlterProblem {
    /// Files know columns by the names that users see.
    #[error(
        "column `{column}` cannot be renamed or dropped while files know it by this name; set `delta.columnMapping.mode` = `name` first"
    )]
    NeedsMapping {
        /// The column.
        column: String,
    },
    /// The table is partitioned by the column.
    #[error("column `{column}` is a partition column, which cannot be dropped or get another type")]
    PartitionColumn {
        /// The column.
        column: String,
    },
    /// The table is clustered by the column.
    #[error("column `{column}` is a clustering column, which cannot be dropped")]
    ClusteringColumn {
        /// The column.
        column: String,
    },
    /// Nothing would be left.
    #[error("column `{column}` is the last one of its table or struct, which cannot be dropped")]
    LastColumn {
        /// The column.
        column: String,
    },
    /// The columns that were asked for cannot take the place of those that are there.
    #[error(transparent)]
    Replaces(#[from] ReplaceProblem),
    /// The numbers of an identity column would begin anew.
    #[error(
        "column `{column}` is an identity column, and columns of such a table are not replaced as a whole; add, drop and alter them one by one"
    )]
    ReplacesIdentity {
        /// The column.
        column: String,
    },
    /// There is such a column.
    #[error("there is a column `{column}` already")]
    NameTaken {
        /// The name.
        column: String,
    },
    /// Rows that are there have no value for it.
    #[error("column `{column}` is NOT NULL, and rows that are there have no value for it; make it nullable")]
    RequiredColumn {
        /// The column.
        column: String,
    },
    /// The property does not allow it.
    #[error("the type of column `{column}` can only be changed while `delta.enableTypeWidening` is true; set it first")]
    WideningOff {
        /// The column.
        column: String,
    },
    /// The protocol does not allow it.
    #[error("column `{column}` of type {from} cannot become {to}: the protocol does not count that as wider")]
    NotWider {
        /// The column.
        column: String,
        /// Its type.
        from: String,
        /// The type that was asked for.
        to: String,
    },
    /// Files that are there would not be understood any more.
    #[error("the column mapping mode cannot change from `{from}` to `{to}`: only from `none` to `name`")]
    MappingMode {
        /// The mode.
        from: String,
        /// The mode that was asked for.
        to: String,
    },
    /// Files that are there would have to be written again.
    #[error("`{key}` cannot be set while there are data files that were written without it; create a new table with it")]
    NeedsRewrite {
        /// The property.
        key: String,
    },
    /// Writers keep it, users do not.
    #[error("`{key}` is kept by writers and cannot be set")]
    InternalProperty {
        /// The property.
        key: String,
    },
    /// There is such a constraint.
    #[error("there is a CHECK constraint `{name}` already; drop it first")]
    ConstraintExists {
        /// Its name.
        name: String,
    },
    /// There is no such constraint.
    #[error("there is no CHECK constraint `{name}`")]
    NoConstraint {
        /// Its name.
        name: String,
    },
    /// Writers do not number it.
    #[error("column `{column}` is no identity column, and has no numbers to go on with; look at the columns with DESCRIBE")]
    NotIdentity {
        /// The column.
        column: String,
    },
    /// A rule needs the column as it was.
    #[error("column `{column}` is used by the {subject}, `{expression}`; drop or change that first")]
    UsedByRule {
        /// The column.
        column: String,
        /// The rule.
        subject: String,
        /// Its text.
        expression: String,
    },
    /// There is no such property.
    #[error("there is no property `{key}`; look at what is there with SHOW TBLPROPERTIES")]
    NoProperty {
        /// Its name.
        key: String,
    },
    /// A column was to be put behind one that is not there.
    #[error(
        "column `{column}` cannot stand after `{after}`: beside it are {siblings}; name one of them, without the struct that holds it"
    )]
    NoSibling {
        /// The column.
        column: String,
        /// The one that is missing.
        after: String,
        /// The columns beside it.
        siblings: String,
    },
    /// Rows that are there have no value.
    #[error(
        "column `{column}` cannot be NOT NULL: a row of the file `{path}` has a null in it; update or delete such rows first"
    )]
    HasNulls {
        /// The column.
        column: String,
        /// The data file.
        path: String,
    },
    /// Rows are read as the columns are, and not as they will be.
    #[error(
        "a CHECK constraint, or NOT NULL, is added, or an identity column synced, in one step with changes of columns; add it in a step of its own"
    )]
    ConstraintWithColumns,
    /// Nothing was asked for.
    #[error("no change was asked for")]
    Nothing,
}

/// Why a table cannot be cloned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloneProblem {
    /// A vacuum of the one would delete files of the other.
    #[error("it and the source, {source_url}, lie within each other; choose a folder beside the source")]
    Nested {
        /// The source.
        source_url: String,
    },
    /// The clone would name files that it does not reach.
    #[error("its store does not reach `{path}` of the source, {source_url}; make a deep clone")]
    AnotherStore {
        /// The source.
        source_url: String,
        /// A file of it.
        path: String,
    },
    /// Files know columns in one way.
    #[error(
        "the column mapping cannot change from {from:?} to {to:?}; leave `delta.columnMapping.mode` out, or choose another place"
    )]
    MappingMode {
        /// The mode of the source, or of the table that is there.
        from: ColumnMappingMode,
        /// The mode that the clone would have.
        to: ColumnMappingMode,
    },
}

/// Why a feature cannot be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureProblem {
    /// The table needs it.
    #[error(transparent)]
    Table(#[from] DropProblem),
    /// Rows are deleted by marks.
    #[error(
        "rows of the file `{path}` are deleted by a deletion vector; write such files again first, with REORG TABLE … APPLY (PURGE)"
    )]
    HasVectors {
        /// The file.
        path: String,
    },
    /// An earlier version needs it, which is too young to go.
    #[error(
        "version {version} needs it, and is younger than {hours} hours; do it again when it is older, or without TRUNCATE HISTORY, which keeps it behind protected checkpoints"
    )]
    HistoryNeeds {
        /// The version.
        version: u64,
        /// How long versions are kept in any case.
        hours: u64,
    },
}

/// Why a folder cannot become a table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertProblem {
    /// There is nothing to convert.
    #[error("it holds no Parquet file; look for a typing error in the location, or create a table")]
    NoFiles,
    /// A file lies in other folders than the others.
    #[error("the folders of `{path}` name the columns [{found}], those of the files before it [{expected}]; move it")]
    OtherFolders {
        /// The file.
        path: String,
        /// The columns that its folders name.
        found: String,
        /// Those of the others.
        expected: String,
    },
    /// Folders name other columns than was declared.
    #[error("it was declared to be partitioned by [{declared}], and its folders name [{found}]; declare these, or none")]
    OtherPartitions {
        /// The columns that were declared.
        declared: String,
        /// Those of the folders.
        found: String,
    },
    /// A file has columns that do not fit those of the others.
    #[error("the columns of `{path}` do not fit those of the files before it: {source}")]
    OtherSchema {
        /// The file.
        path: String,
        /// What does not fit.
        source: Box<SchemaMismatch>,
    },
    /// Files know their columns by the names that users see.
    #[error(
        "its files know no column mapping; convert without, and set `delta.columnMapping.mode` = `name` with ALTER afterwards"
    )]
    ColumnMapping,
}

/// Why manifests of a table would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestProblem {
    /// Readers of Parquet would see deleted rows.
    #[error(
        "rows of the file `{path}` are deleted by a deletion vector, which readers of Parquet do not know; rewrite it first, with REORG TABLE … APPLY (PURGE)"
    )]
    DeletionVector {
        /// The file.
        path: String,
    },
    /// Readers of Parquet would find no column.
    #[error("files know columns by other names than users (`delta.columnMapping.mode`), which readers of Parquet do not know")]
    ColumnMapping,
}

/// What can be wrong with a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionProblem {
    /// A file is added twice.
    #[error("adds the file `{path}` twice")]
    AddedTwice {
        /// The file.
        path: String,
    },
    /// A file is removed that the table does not have.
    #[error("removes the file `{path}`, which version {version} does not have")]
    RemovesUnknown {
        /// The file.
        path: String,
        /// The version that was read.
        version: u64,
    },
    /// A new table without metadata.
    #[error("creates the table without metadata")]
    NoMetadata,
    /// Metadata or protocol are set more than once.
    #[error("sets `{action}` more than once")]
    SetTwice {
        /// The action's name in the log.
        action: &'static str,
    },
    /// A file is changed in two ways at once.
    #[error("changes the file `{path}` in two ways; delete its rows, or remove it, or put it together with others")]
    ChangedTwice {
        /// The file.
        path: String,
    },
    /// Rows are deleted in a table without deletion vectors.
    #[error(
        "deletes single rows, for which the property `delta.enableDeletionVectors` must be true; set it, or write the file again"
    )]
    VectorsOff,
    /// A table with a change feed is not told what changes.
    #[error(
        "changes rows, and the property `delta.enableChangeDataFeed` is true: write with a `ChangeWriter` what changes, and record it"
    )]
    ChangesNotRecorded,
    /// It is not known how many rows a file has.
    #[error("needs the number of rows of the file `{path}`, which its statistics do not have; write the file again")]
    RowsUnknown {
        /// The file.
        path: String,
    },
    /// A row that a file does not have.
    #[error("deletes row {row} of the file `{path}`, which has {rows} rows, counted from 0")]
    RowBeyondFile {
        /// The file.
        path: String,
        /// The row.
        row: u64,
        /// How many it has.
        rows: u64,
    },
    /// A file does not hold the rows of those that it was put together from.
    #[error("puts files with {expected} rows together into the file `{path}`, which has {found}")]
    RowsDiffer {
        /// The new file.
        path: String,
        /// The rows of its sources.
        expected: u64,
        /// Its own.
        found: u64,
    },
    /// Rows of a table that tracks them are in new files, and nobody says that they kept their ids.
    #[error(
        "puts rows that were in the table before into the file `{path}`, and the table tracks its rows (`delta.enableRowTracking`); \
         write them with a `DataWriter` of this version and stage what it wrote, or say `keeps_row_ids`"
    )]
    RowIdsUnknown {
        /// The file.
        path: String,
    },
    /// Two transactions that do not stand on the same version are to be one.
    #[error("is to be joined with one that stands on another version, or on the table {url}")]
    AnotherBase {
        /// The other's table.
        url: String,
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
