//! What can go wrong with state of one's own.

use std::time::Duration;

use boathouse_base::{DomainError, Error, ErrorKind};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;

use super::processor::TimeMode;

/// Why a processor's state could not be declared, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No such variable was declared.
    #[error("use the {kind} state `{name}`: the processor declares [{declared}]; declare it in `init`")]
    Unknown {
        /// What was asked for: `value`, `list`, `map`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What there is.
        declared: String,
    },
    /// The variable was declared as another kind.
    #[error("use `{name}` as a {asked} state: it was declared as a {declared} state")]
    Kind {
        /// Its name.
        name: String,
        /// What was asked for.
        asked: &'static str,
        /// What it is.
        declared: &'static str,
    },
    /// A row has more or fewer values than there are columns.
    #[error("write to {target}: it has the columns [{columns}], and the row has {found} values")]
    Width {
        /// What was written to: `the state "count"`, `the result`.
        target: String,
        /// Its columns.
        columns: String,
        /// Values of the row.
        found: usize,
    },
    /// A value has another type than its column.
    #[error(
        "write to {target}: its column `{column}` has the type {expected}, and the value {value} has the type {found}; cast it first"
    )]
    Type {
        /// What was written to.
        target: String,
        /// The column.
        column: String,
        /// Its type.
        expected: DataType,
        /// The value.
        value: String,
        /// The type of the value.
        found: DataType,
    },
    /// A null for a column that has none.
    #[error("write to {target}: its column `{column}` was declared without nulls, and the value is null")]
    Null {
        /// What was written to.
        target: String,
        /// The column.
        column: String,
    },
    /// A batch with other columns than the result has.
    #[error("emit a batch: the result has the columns [{expected}], and the batch [{found}]")]
    Columns {
        /// Of the result.
        expected: String,
        /// Of the batch.
        found: String,
    },
    /// A value is not of the type that was asked for.
    #[error("read {target} as {wanted}: it holds {found}")]
    Read {
        /// What was read.
        target: String,
        /// The type that was asked for.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// The key has no such column.
    #[error("read the key's column `{column}`: the key has the columns [{columns}]")]
    KeyColumn {
        /// The column.
        column: String,
        /// Those that there are.
        columns: String,
    },
    /// Timers without a time mode.
    ///
    /// **Source**: Spark's class of the same name.
    #[error(
        "{attempt}: the time mode is {mode:?} [STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_TIME_MODE]; give the \
         transformation the event time or the processing time"
    )]
    InvalidTimeMode {
        /// What was attempted: `register a timer`.
        attempt: &'static str,
        /// The mode.
        mode: TimeMode,
    },
    /// Two variables have one name.
    #[error(
        "declare the state `{name}`: there is another one of that name [STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED]"
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that begins as our own do.
    #[error(
        "declare the state `{name}`: a name must not be empty, and not begin with `_` or `$` \
         [STATE_STORE_CANNOT_CREATE_COLUMN_FAMILY_WITH_RESERVED_CHARS]"
    )]
    ReservedName {
        /// The name.
        name: String,
    },
    /// A variable without columns, or with two of one name.
    #[error("declare the state `{name}`: it needs at least one column, each with its own name, and has [{columns}]")]
    DeclaredColumns {
        /// The variable.
        name: String,
        /// Its columns.
        columns: String,
    },
    /// A time to live where time does not pass.
    #[error(
        "declare the state `{name}`: a time to live needs the processing time, and the time mode is {mode:?} \
         [STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL]"
    )]
    TtlTimeMode {
        /// The variable.
        name: String,
        /// The mode.
        mode: TimeMode,
    },
    /// No time to live, or one that a timestamp cannot count.
    #[error(
        "declare the state `{name}`: its time to live is {ttl:?}, and must be between one microsecond and 292,000 years \
         [STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE]"
    )]
    Ttl {
        /// The variable.
        name: String,
        /// The time to live.
        ttl: Duration,
    },
    /// The processor failed.
    #[error("{attempt} of the key {key}: {source}")]
    Processor {
        /// What it did: `handle the rows`, `handle the timer at 7 us`.
        attempt: String,
        /// The key.
        key: String,
        /// What it said.
        source: Error,
    },
    /// Arrow could not do it.
    #[error("{attempt} {target}: {source}")]
    Arrow {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        target: String,
        /// What Arrow said.
        source: ArrowError,
    },
}

impl DomainError for StateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Processor { source, .. } => source.kind(),
            Self::Arrow { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }
}
