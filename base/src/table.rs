//! Versioned tables: what every crate above the table format may rely on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::BoxFuture;
use crate::batch_stream::BatchStream;
use crate::error::Result;
use crate::predicate::Predicate;
use crate::progress::Progress;

/// Which state of a table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableVersion {
    /// The newest committed state.
    #[default]
    Latest,
    /// The state after this commit.
    Number(u64),
    /// The last state committed at or before this instant, in microseconds since the Unix epoch (UTC). It is not after the newest
    /// commit: what a table is then is not known yet.
    AtUs(i64),
}

/// A table at a location: many snapshots over time, changed by atomic writes.
///
/// # Contract
/// - A handle is cheap, holds no state of the table, and may be shared between tasks.
/// - [`write`](Self::write) is atomic: readers see all of its rows or none, and a failed write leaves
///   every earlier version as it was.
/// - Two writes at once both take effect one after the other, or one fails with
///   [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
/// - Dropping the future of a write before it resolves leaves the table at the old version or at the
///   new one, never between.
///
/// The suite that checks this is `contract::table` (feature `contract`).
pub trait Table: Send + Sync + fmt::Debug {
    /// The location as a URL.
    fn location(&self) -> &str;

    /// Opens one version.
    ///
    /// **Errors**: `NotFound` when there is no table, no such version, or none that early or that late; `Unsupported`
    /// when it needs a feature that this build does not have; `Corrupt` when its log contradicts itself.
    fn snapshot(&self, version: TableVersion) -> BoxFuture<'_, Result<Arc<dyn TableSnapshot>>>;

    /// Writes `data` as one commit, and creates the table if `request` allows it.
    ///
    /// **Errors**: `Invalid` when the schema does not fit (the message names the column and both types);
    /// `Conflict` when a concurrent change cannot be reconciled; `NotFound` without a table to write to.
    fn write(&self, request: WriteRequest, data: BatchStream) -> BoxFuture<'_, Result<WriteReport>>;
}

/// Gives tables their names: what a pipeline or a feature store needs to know of a lakehouse.
///
/// A resolved table need not exist yet: writing may create it.
pub trait TableResolver: Send + Sync + fmt::Debug {
    /// The table of that name.
    ///
    /// **Errors**: `Invalid` when the name cannot be one.
    fn table(&self, name: &str) -> Result<Arc<dyn Table>>;
}

/// One committed state of a table. Immutable, and cheap to share.
pub trait TableSnapshot: Send + Sync + fmt::Debug {
    /// The version number: 0 for the first commit.
    fn version(&self) -> u64;

    /// When it was committed, in microseconds since the Unix epoch (UTC).
    fn timestamp_us(&self) -> i64;

    /// The columns, partition columns included.
    fn schema(&self) -> SchemaRef;

    /// The partition columns, in order; empty when the table is not partitioned.
    fn partition_columns(&self) -> &[String];

    /// Reads rows.
    ///
    /// **Shape**: the columns of `request.projection` in that order, or all of them.
    ///
    /// **Cost**: only files and row groups that can hold a matching row are opened.
    ///
    /// **Errors**: `NotFound` names a projected column that is not there, or a data file that was vacuumed.
    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<BatchStream>>;

    /// The last version that `app_id` committed, by [`AppTransaction`]. `None`: it never wrote here.
    fn app_transaction(&self, app_id: &str) -> BoxFuture<'_, Result<Option<CommittedAppTransaction>>>;
}

/// What to read from a [`TableSnapshot`].
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Column names, in the order wanted; `None` for all columns in table order.
    pub projection: Option<Vec<String>>,
    /// Rows that are wanted. **A hint for skipping**: every matching row is returned, and rows that
    /// do not match may be returned as well. The caller filters if it needs exactness.
    pub predicate: Option<Predicate>,
    /// Stop after about this many rows: at least that many if there are that many. Only used without a predicate.
    pub limit_rows: Option<usize>,
}

impl ScanRequest {
    /// Reads these columns only.
    #[must_use]
    pub fn project<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.projection = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Skips files and row groups that cannot match.
    #[must_use]
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.predicate = Some(predicate);
        self
    }
}

/// How a write treats the rows that are there.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum WriteMode {
    /// Adds rows.
    #[default]
    Append,
    /// Replaces all rows.
    Overwrite,
    /// Replaces exactly the rows that match, and requires every new row to match as well.
    ReplaceWhere(Predicate),
}

/// How a write treats columns that the table does not have or has with another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaMode {
    /// Columns must be the table's; columns missing from the data are written as null where that is allowed.
    #[default]
    Enforce,
    /// New columns are added to the table (Delta's `mergeSchema`). Types of existing columns do not change.
    Merge,
    /// The table takes the schema of the data (Delta's `overwriteSchema`). Only with [`WriteMode::Overwrite`].
    Overwrite,
}

/// What a write does when there is no table yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IfAbsent {
    /// Fails with `NotFound`.
    #[default]
    Fail,
    /// Creates the table in the same commit.
    Create {
        /// Columns to partition by, in order.
        partition_columns: Vec<String>,
        /// Table properties, such as `delta.checkpointInterval`.
        properties: BTreeMap<String, String>,
    },
}

impl IfAbsent {
    /// Creates an unpartitioned table without properties.
    pub fn create() -> Self {
        Self::Create { partition_columns: Vec::new(), properties: BTreeMap::new() }
    }
}

/// A writer's own numbering of its writes, which makes them idempotent.
///
/// A write whose `version` is not above the last one that `app_id` committed is skipped, and its
/// report says so.
///
/// **Source**: Delta protocol, "Transaction Identifiers".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppTransaction {
    /// Names the writer, for example a streaming query's id.
    pub app_id: String,
    /// Grows with every write of that writer.
    pub version: u64,
    /// Facts that are committed atomically with the rows (offsets, watermark); JSON by convention.
    pub payload: Option<String>,
}

/// An [`AppTransaction`] as found in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedAppTransaction {
    /// The writer's number.
    pub version: u64,
    /// The payload; `None` when none was given or its commit has been cleaned from the log.
    pub payload: Option<String>,
}

/// How to write.
#[derive(Debug, Clone, Default)]
pub struct WriteRequest {
    /// What happens to the rows that are there.
    pub mode: WriteMode,
    /// What happens to columns that do not fit.
    pub schema_mode: SchemaMode,
    /// What happens without a table.
    pub if_absent: IfAbsent,
    /// Makes the write idempotent.
    pub app_transaction: Option<AppTransaction>,
    /// Free facts for the history of the table (Delta's `userMetadata` and commit info).
    pub commit_metadata: BTreeMap<String, String>,
    /// Who is told how far it is.
    pub progress: Progress,
}

impl WriteRequest {
    /// Adds rows to a table that exists.
    pub fn append() -> Self {
        Self::default()
    }

    /// Replaces all rows of a table that exists.
    pub fn overwrite() -> Self {
        Self { mode: WriteMode::Overwrite, ..Self::default() }
    }

    /// Creates the table if it is absent.
    #[must_use]
    pub fn or_create(mut self) -> Self {
        self.if_absent = IfAbsent::create();
        self
    }

    /// Adds columns that the table does not have.
    #[must_use]
    pub fn merge_schema(mut self) -> Self {
        self.schema_mode = SchemaMode::Merge;
        self
    }

    /// Makes the write idempotent.
    #[must_use]
    pub fn in_transaction(mut self, transaction: AppTransaction) -> Self {
        self.app_transaction = Some(transaction);
        self
    }
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteReport {
    /// The version that holds the write. For a skipped write: the version that was found.
    pub version: u64,
    /// Whether an [`AppTransaction`] had been committed before, so that nothing was written.
    pub skipped: bool,
    /// Rows added.
    pub rows: u64,
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Bytes added.
    pub bytes_added: u64,
    /// Attempts to commit: 1 without contention.
    pub attempts: u32,
}
