//! Which epoch of a query stands in Kafka: marks in a topic of their own, written in the transaction of the epoch's rows. Everything here blocks.

use std::time::Duration;

use boathouse_base::{CommittedEpoch, EpochCommit};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::error::KafkaError;

/// Marks of all queries stand in one partition, so that the last of a query is the last in order.
pub(crate) const PARTITION: i32 = 0;
const POLL: Duration = Duration::from_millis(20);

/// The value of a mark; its key is the id of the query.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    epoch: u64,
    payload: String,
}

pub(crate) fn mark(epoch: &EpochCommit) -> Result<String, KafkaError> {
    let mark = Mark { epoch: epoch.epoch, payload: epoch.payload.clone() };
    serde_json::to_string(&mark).map_err(|source| KafkaError::Mark { query: epoch.query_id.clone(), source })
}

/// The topic of the marks, and how it is read.
#[derive(Debug)]
pub(crate) struct Epochs<'a> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) servers: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) timeout: Duration,
}

impl Epochs<'_> {
    /// The last epoch of a query whose transaction was committed.
    ///
    /// Committed marks show up to the first open transaction. Whoever asks has ended those of its own query; those of others are waited for,
    /// because a mark of this query may stand behind theirs.
    ///
    /// **Cost**: reads the topic, which is compacted: about one mark a query, and those since the last compaction.
    pub(crate) fn last(&self, query: &str) -> Result<Option<CommittedEpoch>, KafkaError> {
        let (earliest, end) = self.offsets(&self.consumer("read_uncommitted")?)?;
        if earliest >= end {
            return Ok(None);
        }
        let consumer = self.consumer("read_committed")?;
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(self.topic, PARTITION, Offset::Offset(earliest)).map_err(|error| self.failed(error))?;
        consumer.assign(&start).map_err(|error| self.failed(error))?;
        let (mut last, mut is_at_end, mut waited) = (None, false, Duration::ZERO);
        loop {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    (is_at_end, waited) = (false, Duration::ZERO);
                    if message.key() == Some(query.as_bytes()) {
                        last = Some(read_mark(query, message.payload().unwrap_or_default())?);
                    }
                    if message.offset() + 1 >= end {
                        return Ok(last);
                    }
                }
                Some(Err(ClientError::PartitionEOF(_))) => is_at_end = true,
                Some(Err(error)) if waited >= self.timeout => return Err(self.failed(error)),
                Some(Err(_)) | None => waited += POLL,
            }
            if is_at_end && self.offsets(&consumer)?.1 >= end {
                return Ok(last);
            }
            if waited >= self.timeout {
                return Err(self.failed(ClientError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
            }
        }
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer, KafkaError> {
        let mut config = self.config.clone();
        config
            .set("group.id", "boathouse-kafka-sink")
            .set("isolation.level", isolation)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        config.create().map_err(|error| self.failed(error))
    }

    /// The first offset, and one behind the last that the consumer may read.
    fn offsets(&self, consumer: &BaseConsumer) -> Result<(i64, i64), KafkaError> {
        consumer.fetch_watermarks(self.topic, PARTITION, self.timeout).map_err(|error| match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => KafkaError::NoTopic {
                attempt: "read the epochs of a query; their topic has one partition and cleanup.policy=compact".to_owned(),
                servers: self.servers.to_owned(),
                topic: self.topic.to_owned(),
            },
            _ => self.failed(error),
        })
    }

    fn failed(&self, source: ClientError) -> KafkaError {
        let attempt = format!("read the epochs of a query in `{}`", self.topic);
        KafkaError::Client { attempt, servers: self.servers.to_owned(), source: Box::new(source) }
    }
}

fn read_mark(query: &str, bytes: &[u8]) -> Result<CommittedEpoch, KafkaError> {
    let mark: Mark = serde_json::from_slice(bytes).map_err(|source| KafkaError::Mark { query: query.to_owned(), source })?;
    Ok(CommittedEpoch { epoch: mark.epoch, payload: Some(mark.payload) })
}
