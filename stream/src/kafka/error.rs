//! What can go wrong with topics.

use boathouse_base::{DomainError, ErrorKind};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

/// Why a topic could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// An option has a value that it cannot have, or is missing, or is not one.
    #[error("open a Kafka source or sink: option `{option}` is `{value}`: {problem}")]
    Option {
        /// Its name, as Spark has it.
        option: String,
        /// What was given.
        value: String,
        /// What is wrong, and what would help.
        problem: String,
    },
    /// Text that should be a position is not one of this source.
    #[error("read Kafka topics: `{offset}` is no position: {problem}; a position looks like {{\"topic\":{{\"0\":23}}}}")]
    Offset {
        /// The text.
        offset: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A range that ends before it begins.
    #[error("read Kafka topics: partition {partition} of `{topic}` ends at {end}, before its start {start}")]
    Backwards {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The start of the range.
        start: i64,
        /// Its end.
        end: i64,
    },
    /// Rows that were to be read are gone.
    ///
    /// **Source**: Spark's `KAFKA_DATA_LOSS`.
    #[error(
        "read partition {partition} of `{topic}` from offset {offset}: {reason}; rows may be lost. Set `failOnDataLoss` to false to go on with what is there"
    )]
    DataLoss {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that was to be read.
        offset: i64,
        /// What was found.
        reason: DataLossReason,
    },
    /// A topic that is subscribed to does not exist.
    #[error("{attempt}: the brokers {servers} have no topic `{topic}`; create it, or correct its name")]
    NoTopic {
        /// What was attempted.
        attempt: String,
        /// The brokers.
        servers: String,
        /// The topic.
        topic: String,
    },
    /// No offset of a partition is as late as the starting time.
    #[error(
        "start at {timestamp_ms} ms: partition {partition} of `{topic}` has no row as late as that; set `startingOffsetsByTimestampStrategy` to latest to begin at its end"
    )]
    NoRowAtTime {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Milliseconds since the Unix epoch.
        timestamp_ms: i64,
    },
    /// A broker sends nothing for too long.
    #[error(
        "read partition {partition} of `{topic}`: nothing came from {servers} for {waited_ms} ms at offset {offset}, before the end {end}{last}; see whether the brokers are up"
    )]
    Silent {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The brokers.
        servers: String,
        /// The next offset to read.
        offset: i64,
        /// The end of the range.
        end: i64,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What the client said meanwhile, with a separator before it; may be empty.
        last: String,
    },
    /// The client or a broker refused.
    #[error("{attempt}, brokers {servers}: {source}")]
    Client {
        /// What was attempted.
        attempt: String,
        /// The brokers.
        servers: String,
        /// What it said.
        source: Box<ClientError>,
    },
    /// Rows could not be put together.
    #[error("make rows of Kafka messages: {source}")]
    Rows {
        /// What Arrow said.
        source: ArrowError,
    },
    /// A column of rows for Kafka is missing, or of another type.
    #[error("write rows to Kafka: the column `{column}` is {found}, and it should be {expected}")]
    Column {
        /// Its name.
        column: String,
        /// Its type; null when it is missing.
        found: DataType,
        /// What it should be.
        expected: String,
    },
    /// A row names no topic, and the sink has none for all.
    #[error("write rows to Kafka: row {row} of a batch has no topic; set the option `topic`, or filter such rows")]
    RowWithoutTopic {
        /// Its number in the batch.
        row: usize,
    },
    /// Rows that should replace all others.
    #[error("write to Kafka: a topic cannot be replaced by the whole result of an epoch; use the append or the update mode")]
    Complete,
    /// Another run of the query writes.
    #[error("{attempt} of the query `{query}`: another run has taken the transactions of this query over; stop one of them")]
    Fenced {
        /// What was attempted.
        attempt: String,
        /// The query.
        query: String,
    },
    /// The mark of an epoch is not one.
    #[error("read or write the mark of an epoch of the query `{query}`: {source}; give the sink an `epochsTopic` of its own")]
    Mark {
        /// The query.
        query: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The thread that talked to the brokers ended early.
    #[error("{attempt}: the thread that talks to the brokers ended before it was done; the runtime may be shutting down")]
    Stopped {
        /// What was attempted.
        attempt: String,
    },
}

/// How rows were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataLossReason {
    /// The partition is no longer there.
    #[error("the partition is gone: its topic was deleted, or made again with fewer partitions")]
    PartitionGone,
    /// The offset lies before the first that is kept.
    #[error("the first offset that is kept is {earliest}: the rows before it have aged out")]
    AgedOut {
        /// The first offset that is kept.
        earliest: i64,
    },
    /// The offset lies behind the end.
    #[error("the partition ends at {latest}: it was cut, or its topic was made again")]
    BeyondEnd {
        /// Where it ends.
        latest: i64,
    },
    /// The broker says that the offset is out of range.
    #[error("the broker says that the offset is out of range")]
    OutOfRange,
}

impl DomainError for KafkaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Option { .. }
            | Self::Offset { .. }
            | Self::Backwards { .. }
            | Self::Column { .. }
            | Self::RowWithoutTopic { .. } => ErrorKind::Invalid,
            Self::Complete => ErrorKind::Unsupported,
            Self::Fenced { .. } => ErrorKind::Conflict,
            Self::Mark { .. } => ErrorKind::Corrupt,
            Self::DataLoss { .. } | Self::NoTopic { .. } | Self::NoRowAtTime { .. } => ErrorKind::NotFound,
            Self::Silent { .. } => ErrorKind::Unavailable,
            Self::Client { source, .. } => kind_of(source),
            Self::Rows { .. } => ErrorKind::Internal,
            Self::Stopped { .. } => ErrorKind::Cancelled,
        }
    }
}

fn kind_of(error: &ClientError) -> ErrorKind {
    if matches!(error, ClientError::ClientConfig(..) | ClientError::ClientCreation(_) | ClientError::Nul(_)) {
        return ErrorKind::Invalid;
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
            ErrorKind::NotFound
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::Authentication,
        ) => ErrorKind::Denied,
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch) => {
            ErrorKind::Conflict
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}
