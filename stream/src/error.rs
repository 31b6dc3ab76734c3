//! What can go wrong with a streaming query.

use boathouse_base::{DomainError, Error, ErrorKind};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;

use crate::crash::CrashPoint;
use crate::evolution::QueryChange;
use crate::spark::SparkCheckpointError;
use crate::stateful::StateError;

/// Why a streaming query could not be opened, or an epoch not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The builder was not told something that it needs.
    #[error("open the query `{query}`: it has no {part}; give it one with `.{method}(…)`")]
    Incomplete {
        /// The query.
        query: String,
        /// What is missing.
        part: &'static str,
        /// The method of the builder that gives it.
        method: &'static str,
    },
    /// A window cannot be computed as it is declared.
    #[error("open the query `{query}`: {problem}")]
    Window {
        /// The query.
        query: String,
        /// What is wrong with it.
        problem: WindowProblem,
    },
    /// The checkpoint was made by a query that differs in a part that must not change.
    #[error(
        "open the query `{query}` over the checkpoint {checkpoint}: its {part} is `{found}`, and the checkpoint was made with \
         `{recorded}`; use a new checkpoint for a new query"
    )]
    CheckpointOfAnother {
        /// The query.
        query: String,
        /// Where the checkpoint lies.
        checkpoint: String,
        /// What differs: `source`, `sink`, `output mode`.
        part: &'static str,
        /// What the checkpoint says.
        recorded: String,
        /// What the query says.
        found: String,
    },
    /// The sink does not hold an epoch that the checkpoint knows to be committed.
    #[error(
        "resume the query `{query}`: its checkpoint saw epoch {seen} committed, and the sink {sink} {}; the target was \
         replaced or restored: use a new checkpoint to read the source again from its beginning", holds(.found)
    )]
    SinkBehind {
        /// The query.
        query: String,
        /// The sink.
        sink: String,
        /// The epoch that the checkpoint saw.
        seen: u64,
        /// The last epoch that the sink holds.
        found: Option<u64>,
    },
    /// The sink holds an epoch without its position, and the checkpoint has no copy.
    #[error(
        "resume the query `{query}`: the sink {sink} holds epoch {epoch} but not its position (its log was cleaned), and the \
         checkpoint {}; going on could lose or repeat rows", remembers(.seen)
    )]
    PositionLost {
        /// The query.
        query: String,
        /// The sink.
        sink: String,
        /// The last epoch of the sink.
        epoch: u64,
        /// The last epoch that the checkpoint has the position of.
        seen: Option<u64>,
    },
    /// Text that should be a position, or the description of a query, is not.
    #[error("read {what} of the query `{query}`: {source}")]
    Unreadable {
        /// The query.
        query: String,
        /// What was read: `the position of epoch 7 in delta[…]`.
        what: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A file of the state contradicts the position that names it.
    #[error("load the state of the query `{query}` from {file}: {problem}")]
    State {
        /// The query.
        query: String,
        /// The URL of the file.
        file: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The query has changed in a way that what it remembers cannot follow. Found before anything is read.
    ///
    /// **Source**: Spark's `STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA` and `STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE`.
    #[error("resume `{operator}` of the query `{query}`, which has changed: {change}")]
    Changed {
        /// The query.
        query: String,
        /// The operator.
        operator: String,
        /// What has changed.
        change: Box<QueryChange>,
    },
    /// The query cannot go on where one of Spark was.
    #[error("open the query `{query}`: {source}")]
    Spark {
        /// The query.
        query: String,
        /// Why.
        source: Box<SparkCheckpointError>,
    },
    /// Two operators were given one name.
    #[error("plan the query `{query}`: two of its operators are named `{name}`; give each its own with `.named(…)`")]
    SameOperator {
        /// The query.
        query: String,
        /// The name.
        name: String,
    },
    /// Another run of the same query has committed this epoch.
    #[error(
        "commit epoch {epoch} of the query `{query}`: another run over the same checkpoint has committed it; stop one of them, \
         the next step takes up where the other is"
    )]
    ConcurrentRun {
        /// The query.
        query: String,
        /// The epoch.
        epoch: u64,
    },
    /// The transformation names a column that its input does not have.
    #[error("plan the query `{query}`: there is no column `{column}`; there are {available:?}")]
    MissingColumn {
        /// The query.
        query: String,
        /// The column that was named.
        column: String,
        /// The columns that could have been named.
        available: Vec<String>,
    },
    /// A `WATERMARK` clause of the statement cannot be read.
    #[error("plan the query `{query}`: line {line}, column {column}: {problem}")]
    Clause {
        /// The query.
        query: String,
        /// The line of the statement, from 1.
        line: u64,
        /// The character of the line, from 1.
        column: u64,
        /// What was found, and what was expected.
        problem: String,
    },
    /// The transformation cannot be planned or computed.
    #[error("plan the query `{query}`: {source}")]
    Plan {
        /// The query.
        query: String,
        /// What the engine said.
        source: Box<DataFusionError>,
    },
    /// The query holds an operator whose result over one epoch is not its result over the stream.
    #[error("plan the query `{query}`: a stream cannot do this: {refusal}")]
    NotStreamable {
        /// The query.
        query: String,
        /// What it holds, and what to do instead.
        refusal: Refusal,
    },
    /// A processor declares state that makes no sense.
    #[error("plan the query `{query}`: {source}")]
    Processor {
        /// The query.
        query: String,
        /// What is wrong with it.
        source: Box<StateError>,
    },
    /// The query reads no source.
    #[error("plan the query `{query}`: it reads none of its sources")]
    ReadsNoSource {
        /// The query.
        query: String,
    },
    /// A source has no rows yet, and does not say which columns it will have.
    #[error("plan the query `{query}`: the columns of the source `{source_name}` are not known before it has rows")]
    ColumnsUnknown {
        /// The query.
        query: String,
        /// The name of the source.
        source_name: String,
    },
    /// Two sources have one name.
    #[error("open the query `{query}`: two of its sources are named `{name}`; give each its own with `.source_named(…)`")]
    SameName {
        /// The query.
        query: String,
        /// The name.
        name: String,
    },
    /// The event time is not a timestamp.
    #[error(
        "plan the query `{query}`: the event time `{column}` has the type {found}; cast it to a timestamp in the transformation"
    )]
    EventTimeType {
        /// The query.
        query: String,
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// The source failed.
    #[error("{attempt} of the query `{query}`: {source}")]
    Source {
        /// What was attempted: `plan epoch 7`, `read epoch 7`.
        attempt: String,
        /// The query.
        query: String,
        /// What the source said.
        source: Error,
    },
    /// The sink failed, or the rows on their way to it.
    #[error("{attempt} of the query `{query}`: {source}")]
    Sink {
        /// What was attempted: `commit epoch 7`, `find the last epoch`.
        attempt: String,
        /// The query.
        query: String,
        /// What the sink said.
        source: Error,
    },
    /// The rows of an epoch could not be computed.
    #[error("compute epoch {epoch} of the query `{query}`: {source}")]
    Compute {
        /// The epoch.
        epoch: u64,
        /// The query.
        query: String,
        /// What failed.
        source: Error,
    },
    /// The checkpoint's store failed.
    #[error("{attempt} of the query `{query}`: {source}")]
    Checkpoint {
        /// What was attempted.
        attempt: &'static str,
        /// The query.
        query: String,
        /// What the store said.
        source: Error,
    },
    /// A test asked for a crash here.
    #[error("crash as asked: {point:?} of epoch {epoch}")]
    Crashed {
        /// Where.
        point: CrashPoint,
        /// In which epoch.
        epoch: u64,
    },
}

/// What a stream cannot do, and what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Spark's class of the error: `STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION`.
    pub class: &'static str,
    /// The operator.
    pub operator: &'static str,
    /// What to do instead.
    pub advice: &'static str,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]; {}", self.operator, self.class, self.advice)
    }
}

/// What is wrong with a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowProblem {
    /// In append mode a window ends only when the watermark has passed it.
    #[error("a window in append mode needs a watermark; say how late rows may come with `.watermark(\"{event_time}\", …)`")]
    NoWatermark {
        /// The event time of the window.
        event_time: String,
    },
    /// The watermark follows another column.
    #[error("the window is over `{window}` and the watermark follows `{watermark}`; both must be the same column")]
    OtherColumn {
        /// The event time of the window.
        window: String,
        /// The column of the watermark.
        watermark: String,
    },
    /// Zero, or more microseconds than a timestamp counts.
    #[error("a window must be between one microsecond and 292,000 years wide, not {width:?}")]
    Width {
        /// The width.
        width: std::time::Duration,
    },
    /// Nothing is aggregated.
    #[error("a window needs at least one aggregate: `.count(\"rows\")`")]
    NoAggregate,
    /// Two columns of the result would have one name.
    #[error("two columns of the result are named `{column}`; the result always has `window_start` and `window_end`")]
    Duplicate {
        /// The name.
        column: String,
    },
    /// The engine plans the aggregates in more than one step.
    #[error(
        "the engine plans these aggregates in more than one step, and their state cannot be kept between epochs; compute them in queries of their own"
    )]
    NotIncremental,
}

impl DomainError for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Incomplete { .. }
            | Self::Window { .. }
            | Self::CheckpointOfAnother { .. }
            | Self::Changed { .. }
            | Self::SameOperator { .. }
            | Self::Clause { .. }
            | Self::MissingColumn { .. }
            | Self::ReadsNoSource { .. }
            | Self::ColumnsUnknown { .. }
            | Self::SameName { .. }
            | Self::EventTimeType { .. } => ErrorKind::Invalid,
            Self::NotStreamable { .. } => ErrorKind::Unsupported,
            Self::Processor { source, .. } => source.kind(),
            Self::Spark { source, .. } => source.kind(),
            Self::SinkBehind { .. } | Self::PositionLost { .. } | Self::Unreadable { .. } | Self::State { .. } => {
                ErrorKind::Corrupt
            }
            Self::ConcurrentRun { .. } => ErrorKind::Conflict,
            Self::Plan { source, .. } => boathouse_frames::kind_of(source),
            Self::Source { source, .. }
            | Self::Sink { source, .. }
            | Self::Compute { source, .. }
            | Self::Checkpoint { source, .. } => source.kind(),
            Self::Crashed { .. } => ErrorKind::Cancelled,
        }
    }
}

fn holds(found: &Option<u64>) -> String {
    found.map_or_else(|| "holds none of its epochs".to_owned(), |epoch| format!("holds only epoch {epoch}"))
}

fn remembers(seen: &Option<u64>) -> String {
    seen.map_or_else(|| "has no copy of it".to_owned(), |epoch| format!("only has that of epoch {epoch}"))
}
