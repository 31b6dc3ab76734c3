//! What can go wrong in memory.

use arrow_schema::{ArrowError, DataType};

use crate::error::{DomainError, ErrorKind};
use crate::table::TableVersion;

/// What can go wrong with things in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The table was never written to.
    #[error("open the table {location}: it does not exist; write to it with `IfAbsent::Create` first")]
    NoTable {
        /// The table.
        location: String,
    },
    /// The table has no such version.
    #[error(
        "open the table {location} at {wanted:?}: it has the versions 0 to {latest}, the first of {first_us} us since the epoch, the last of {latest_us} us"
    )]
    NoVersion {
        /// The table.
        location: String,
        /// What was asked for.
        wanted: TableVersion,
        /// The newest version.
        latest: u64,
        /// When version 0 was committed.
        first_us: i64,
        /// When the newest version was committed.
        latest_us: i64,
    },
    /// A column is named that is not there.
    #[error("{attempt}: there is no column `{column}`; there are {found:?}")]
    NoColumn {
        /// What was attempted, on what.
        attempt: String,
        /// The column named.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// The data has a column that the table has not.
    #[error(
        "write to the table {location}: the data has the column `{column}` of type {data_type}, the table has not; \
         leave it out, or add it with `SchemaMode::Merge`"
    )]
    UnknownColumn {
        /// The table.
        location: String,
        /// The column.
        column: String,
        /// Its type in the data.
        data_type: DataType,
    },
    /// The table would be partitioned by a column that is not there.
    #[error("partition the table {location} by `{column}`: there is no such column; there are {found:?}")]
    UnknownPartition {
        /// The table.
        location: String,
        /// The column named.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column must have values, and the data has not the column.
    #[error("write to the table {location}: the column `{column}` may not be null, and the data does not have it")]
    MissingColumn {
        /// The table.
        location: String,
        /// The column.
        column: String,
    },
    /// An input column is not there.
    #[error("{attempt}: the column `{column}` of type {expected} is missing")]
    MissingInput {
        /// What was attempted, on what.
        attempt: String,
        /// The column.
        column: String,
        /// Its type.
        expected: DataType,
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
    /// A column may not be null.
    #[error("write to the table {location}: the column `{column}` may not be null, and {nulls} of its values are")]
    NullValue {
        /// The table.
        location: String,
        /// The column.
        column: String,
        /// How many values are null.
        nulls: usize,
    },
    /// A name stands for two columns.
    #[error("write to the table {location}: the data has two columns named `{column}`; rename one")]
    DuplicateColumn {
        /// The table.
        location: String,
        /// The name.
        column: String,
    },
    /// The schema of a table is replaced only together with its rows.
    #[error("write to the table {location}: `SchemaMode::Overwrite` needs `WriteMode::Overwrite`, which replaces the rows too")]
    SchemaOverwrite {
        /// The table.
        location: String,
    },
    /// A row lies outside of the part that is replaced.
    #[error("replace the rows of {location} where {predicate}: row {row} of the data does not match; filter it out")]
    OutsideOfPredicate {
        /// The table.
        location: String,
        /// Which rows are replaced.
        predicate: String,
        /// The first row that does not match, counted from 0.
        row: usize,
    },
    /// Values of this type are not compared in memory.
    #[error("compare the column `{column}` with a literal: values of type {data_type} are not compared in memory")]
    ValueType {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// Not a position of this source.
    #[error("read the memory source: `{offset}` is no offset of it; offsets are row counts from 0 to {rows}")]
    Offset {
        /// What was given.
        offset: String,
        /// How many rows there are.
        rows: u64,
    },
    /// A range that ends before it starts.
    #[error("read the memory source from row {start} to row {end}: the range ends before it starts")]
    Range {
        /// The start.
        start: u64,
        /// The end.
        end: u64,
    },
    /// A name that cannot be one.
    #[error("find `{name}`: a name may not be empty")]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such model version.
    #[error("resolve `{reference}`: no version answers to it")]
    NoModel {
        /// What was asked for.
        reference: String,
    },
    /// There is no such stage.
    #[error("resolve the stage `{stage}` of a model: there are None, Staging, Production and Archived")]
    NoStage {
        /// What was asked for.
        stage: String,
    },
    /// There is no such feature table.
    #[error("look features up in `{table}`: there is no such table")]
    NoFeatures {
        /// What was asked for.
        table: String,
    },
    /// A failure that a test asked for.
    #[error("commit epoch {epoch} of `{query_id}`: the fault that was asked for ({fault})")]
    Fault {
        /// The query.
        query_id: String,
        /// The epoch.
        epoch: u64,
        /// Which fault.
        fault: &'static str,
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

impl DomainError for MemoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTable { .. }
            | Self::NoVersion { .. }
            | Self::NoColumn { .. }
            | Self::NoModel { .. }
            | Self::NoFeatures { .. } => ErrorKind::NotFound,
            Self::UnknownColumn { .. }
            | Self::UnknownPartition { .. }
            | Self::MissingColumn { .. }
            | Self::MissingInput { .. }
            | Self::ColumnType { .. }
            | Self::NullValue { .. }
            | Self::DuplicateColumn { .. }
            | Self::SchemaOverwrite { .. }
            | Self::OutsideOfPredicate { .. }
            | Self::Offset { .. }
            | Self::Range { .. }
            | Self::Name { .. }
            | Self::NoStage { .. }
            | Self::Arrow { .. } => ErrorKind::Invalid,
            Self::ValueType { .. } => ErrorKind::Unsupported,
            Self::Fault { .. } => ErrorKind::Unavailable,
        }
    }
}
