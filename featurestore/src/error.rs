//! What can go wrong with features.

use arrow_schema::{ArrowError, DataType};
use boathouse_base::{DomainError, Error, ErrorKind};
use boathouse_storage::StorageError;

/// Why a feature table could not be made, written, joined, published or looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A name that cannot be one.
    #[error(
        "name a feature table `{name}`: a name has letters, digits, `_`, `-` and `.`, and begins with a letter, digit or `_`"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// No feature table has that name.
    #[error("open the feature table `{table}`: there is none; make it with `create_table`, known are {known:?}")]
    NoTable {
        /// The name.
        table: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No feature table of that name is online.
    #[error("look features up in `{table}`: it is not online; publish it first, known are {known:?}")]
    NotOnline {
        /// The name.
        table: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// There is a feature table of that name.
    #[error("create the feature table `{table}`: it exists; open it with `table`, or create it with `or_open`")]
    TableExists {
        /// The name.
        table: String,
    },
    /// There is a feature table of that name, and it is another.
    #[error("open the feature table `{table}`: its {what} is {found}, and {wanted} was asked for; use another name")]
    OtherDefinition {
        /// The name.
        table: String,
        /// What differs: `primary key`, `timestamp key`, `schema`.
        what: &'static str,
        /// What it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A table without keys.
    #[error("create the feature table `{table}`: it has no primary key; name the columns that find a row with `primary_keys`")]
    NoPrimaryKey {
        /// The name.
        table: String,
    },
    /// A column is named that is not there.
    #[error("{attempt}: there is no column `{column}`; there are {found:?}")]
    NoColumn {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column is named twice.
    #[error("{attempt}: the column `{column}` would be there twice; {hint}")]
    DuplicateColumn {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// What would help.
        hint: &'static str,
    },
    /// Values of this type cannot find a row.
    #[error("create the feature table `{table}`: values of type {data_type} (column `{column}`) are no keys; {hint}")]
    KeyType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
        /// What would help.
        hint: &'static str,
    },
    /// Values of this type are no time.
    #[error("{attempt}: the column `{column}` has type {data_type}, which is no time; make it a timestamp or a date")]
    TimestampType {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// An instant was to be compared with the reading of an unnamed clock.
    #[error(
        "{attempt}: `{label}` has type {label_type} and `{feature}` has type {feature_type}: an instant and a time without \
         zone have no common order; cast one of them"
    )]
    TimestampZones {
        /// What was attempted, on what.
        attempt: String,
        /// The label's column.
        label: String,
        /// Its type.
        label_type: DataType,
        /// The feature table's column.
        feature: String,
        /// Its type.
        feature_type: DataType,
    },
    /// A time does not fit into the finer unit of the other side.
    #[error(
        "{attempt}: the time {value} of column `{column}` does not fit into 64 bits of {unit}; cast the other side to a coarser unit"
    )]
    TimestampOverflow {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// The value as it stands in the column.
        value: i64,
        /// The unit that both sides are brought to.
        unit: &'static str,
    },
    /// The labels have no time, and the features do.
    #[error("join the features of `{table}`: they have a time; say which label column is the time of a label with `timestamp`")]
    NoLabelTimestamp {
        /// The feature table.
        table: String,
    },
    /// A column has another type.
    #[error("{attempt}: the column `{column}` has type {found} where {expected} is wanted; cast it")]
    ColumnType {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// The type wanted.
        expected: DataType,
        /// The type found.
        found: DataType,
    },
    /// The data has a column that the table has not.
    #[error(
        "write to the feature table `{table}`: the data has the column `{column}` of type {data_type}, the table has not; \
         leave it out, or add it with `merge_schema`"
    )]
    UnknownColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type in the data.
        data_type: DataType,
    },
    /// The values do not fit the columns of the table: a null where there may be none.
    #[error("{attempt}: {source}")]
    Refused {
        /// What was attempted, on what.
        attempt: String,
        /// What is wrong.
        source: ArrowError,
    },
    /// A key or a time is null.
    #[error("write to the feature table `{table}`: the key column `{column}` is null in row {row}; drop such rows first")]
    NullKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The first such row, counted from 0.
        row: u64,
    },
    /// Two rows of one write have the same keys and time.
    #[error("write to the feature table `{table}`: rows {first} and {second} both are the row of {key}; keep one")]
    DuplicateRow {
        /// The table.
        table: String,
        /// The keys and the time.
        key: String,
        /// A row, counted from 0.
        first: u64,
        /// The other row.
        second: u64,
    },
    /// An upsert numbers its own writes.
    #[error(
        "upsert into the feature table `{table}`: an upsert is idempotent by itself and takes no transaction; leave it out, or append"
    )]
    UpsertTransaction {
        /// The table.
        table: String,
    },
    /// A training set that looks nothing up.
    #[error("build a training set: no features are asked for; add them with `lookup`")]
    NoLookups,
    /// More rows than row numbers.
    #[error("{attempt}: more than {} rows; split the work", u32::MAX)]
    TooManyRows {
        /// What was attempted, on what.
        attempt: String,
    },
    /// Other writers were faster, again and again.
    #[error("{attempt}: other writers were faster {attempts} times in a row; try again")]
    Contention {
        /// What was attempted, on what.
        attempt: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Stored bytes are not what was stored.
    #[error("{attempt}: {url} is damaged: {reason}; publish the table again")]
    Corrupt {
        /// What was attempted, on what.
        attempt: String,
        /// The object.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A table failed.
    #[error("{attempt}: {source}")]
    Table {
        /// What was attempted, on what.
        attempt: String,
        /// What the table said.
        source: Error,
    },
    /// The store failed.
    #[error("{attempt}: {source}")]
    Storage {
        /// What was attempted, on what.
        attempt: String,
        /// What the store said.
        source: Box<StorageError>,
    },
    /// A definition could not be written as JSON.
    #[error("{attempt}: {source}")]
    Json {
        /// What was attempted, on what.
        attempt: String,
        /// What the writer said.
        source: serde_json::Error,
    },
    /// Arrow refused.
    #[error("{attempt}: {source}")]
    Arrow {
        /// What was attempted, on what.
        attempt: String,
        /// What Arrow said.
        source: ArrowError,
    },
}

impl DomainError for FeatureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTable { .. } | Self::NotOnline { .. } => ErrorKind::NotFound,
            Self::TableExists { .. } => ErrorKind::AlreadyExists,
            Self::InvalidName { .. }
            | Self::OtherDefinition { .. }
            | Self::NoPrimaryKey { .. }
            | Self::NoColumn { .. }
            | Self::DuplicateColumn { .. }
            | Self::KeyType { .. }
            | Self::TimestampType { .. }
            | Self::TimestampZones { .. }
            | Self::TimestampOverflow { .. }
            | Self::NoLabelTimestamp { .. }
            | Self::ColumnType { .. }
            | Self::UnknownColumn { .. }
            | Self::Refused { .. }
            | Self::NullKey { .. }
            | Self::DuplicateRow { .. }
            | Self::UpsertTransaction { .. }
            | Self::NoLookups => ErrorKind::Invalid,
            Self::TooManyRows { .. } => ErrorKind::Exhausted,
            Self::Contention { .. } => ErrorKind::Conflict,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Table { source, .. } => source.kind(),
            Self::Storage { source, .. } => source.kind(),
            Self::Arrow { .. } | Self::Json { .. } => ErrorKind::Internal,
        }
    }
}

/// A result whose error is [`FeatureError`].
pub type Result<T, E = FeatureError> = std::result::Result<T, E>;

/// Says what was attempted when something below failed.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for Result<T, Error> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| FeatureError::Table { attempt: what(), source })
    }
}

impl<T> Attempt<T> for Result<T, StorageError> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| FeatureError::Storage { attempt: what(), source: Box::new(source) })
    }
}

impl<T> Attempt<T> for Result<T, ArrowError> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| FeatureError::Arrow { attempt: what(), source })
    }
}

/// The names of a schema, for messages.
pub(crate) fn names(schema: &arrow_schema::Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}
