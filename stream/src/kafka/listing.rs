//! What the brokers hold: partitions, their first and last offsets, offsets by time. Every function here blocks.

use std::time::Duration;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::regexp_is_match_scalar;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::KafkaError;
use super::offsets::KafkaOffsets;
use super::options::{EndingOffsets, KafkaSourceOptions, StartingOffsets, Subscription, WithoutTimestamp, refused};
use super::planning::Held;

/// A consumer, and what it is asked about.
#[derive(Clone, Copy)]
pub(crate) struct Listing<'a> {
    pub(crate) consumer: &'a BaseConsumer,
    pub(crate) options: &'a KafkaSourceOptions,
}

impl Listing<'_> {
    /// The subscribed partitions and what is in them. A topic that is not there is an error where a stream starts; later it is one that was lost.
    ///
    /// **Cost**: a request for each topic, two for each partition.
    pub(crate) fn held(&self, position: Option<&KafkaOffsets>) -> Result<Vec<Held>, KafkaError> {
        let partitions = self.partitions(position)?;
        partitions.into_iter().map(|(topic, partition)| self.held_of(topic, partition)).collect()
    }

    fn held_of(&self, topic: String, partition: i32) -> Result<Held, KafkaError> {
        let (earliest, latest) = self
            .consumer
            .fetch_watermarks(&topic, partition, self.timeout())
            .map_err(|source| self.failed(format!("ask for the offsets of partition {partition} of `{topic}`"), source))?;
        Ok(Held { topic, partition, earliest, latest })
    }

    fn partitions(&self, position: Option<&KafkaOffsets>) -> Result<Vec<(String, i32)>, KafkaError> {
        match &self.options.subscription {
            Subscription::Topics(topics) => {
                let mut all = Vec::new();
                for topic in topics {
                    let found = self.partitions_of(topic)?;
                    if found.is_none() && position.is_none() {
                        return Err(KafkaError::NoTopic {
                            attempt: format!("subscribe to `{topic}`"),
                            servers: self.options.bootstrap_servers.clone(),
                            topic: topic.clone(),
                        });
                    }
                    all.extend(found.unwrap_or_default().into_iter().map(|partition| (topic.clone(), partition)));
                }
                Ok(all)
            }
            Subscription::Pattern(pattern) => self.matching(pattern),
            Subscription::Partitions(wanted) => {
                let mut all = Vec::new();
                for (topic, partitions) in wanted {
                    // One that is not there is lost, or has not been made yet: the plan decides.
                    let found = self.partitions_of(topic)?.unwrap_or_default();
                    let held = partitions.iter().filter(|partition| found.contains(partition));
                    all.extend(held.map(|partition| (topic.clone(), *partition)));
                }
                Ok(all)
            }
        }
    }

    /// The partitions of a topic; `None` when there is no such topic.
    fn partitions_of(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        let attempt = || format!("ask for the partitions of `{topic}`");
        let metadata =
            self.consumer.fetch_metadata(Some(topic), self.timeout()).map_err(|source| self.failed(attempt(), source))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(partition_numbers(found))),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
            Some(code) => Err(self.failed(attempt(), ClientError::MetadataFetch(code))),
        }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<(String, i32)>, KafkaError> {
        let metadata = self
            .consumer
            .fetch_metadata(None, self.timeout())
            .map_err(|source| self.failed("ask for all topics".to_owned(), source))?;
        let names = StringArray::from_iter_values(metadata.topics().iter().map(MetadataTopic::name));
        // Spark asks for a match of the whole name.
        let is_match = regexp_is_match_scalar(&names, &format!("^(?:{pattern})$"), None)
            .map_err(|error| refused("subscribePattern", pattern, &error.to_string()))?;
        let matching = metadata.topics().iter().enumerate().filter(|(n, _)| is_match.value(*n)).map(|(_, topic)| topic);
        Ok(matching
            .flat_map(|topic| partition_numbers(topic).into_iter().map(|partition| (topic.name().to_owned(), partition)))
            .collect())
    }

    /// Where a stream without a position starts.
    pub(crate) fn start(&self, held: &[Held]) -> Result<KafkaOffsets, KafkaError> {
        let mut offsets = KafkaOffsets::default();
        match &self.options.starting_offsets {
            StartingOffsets::Earliest => held.iter().for_each(|held| offsets.set(&held.topic, held.partition, held.earliest)),
            StartingOffsets::Latest => held.iter().for_each(|held| offsets.set(&held.topic, held.partition, held.latest)),
            StartingOffsets::At(wanted) => {
                for held in held {
                    let offset = match wanted.get(&held.topic, held.partition) {
                        Some(KafkaOffsets::EARLIEST) => held.earliest,
                        None | Some(KafkaOffsets::LATEST) => held.latest,
                        Some(offset) => offset,
                    };
                    offsets.set(&held.topic, held.partition, offset);
                }
            }
            StartingOffsets::Timestamp(time_ms, without) => return self.start_at(held, *time_ms, *without),
        }
        Ok(offsets)
    }

    /// Where the run ends; a partition that is not named has no end.
    pub(crate) fn end(&self, held: &[Held]) -> Result<KafkaOffsets, KafkaError> {
        match &self.options.ending_offsets {
            EndingOffsets::Never => Ok(KafkaOffsets::default()),
            EndingOffsets::Before(offsets) => Ok(offsets.clone()),
            EndingOffsets::Timestamp(time_ms) => {
                let found = self.offsets_at(held, *time_ms)?;
                let mut offsets = KafkaOffsets::default();
                for held in held {
                    let element = found.find_partition(&held.topic, held.partition);
                    if let Some(Offset::Offset(offset)) = element.map(|element| element.offset()) {
                        offsets.set(&held.topic, held.partition, offset);
                    }
                }
                Ok(offsets)
            }
        }
    }

    fn start_at(&self, held: &[Held], time_ms: i64, without: WithoutTimestamp) -> Result<KafkaOffsets, KafkaError> {
        let found = self.offsets_at(held, time_ms)?;
        let mut offsets = KafkaOffsets::default();
        for held in held {
            let element = found.find_partition(&held.topic, held.partition);
            let offset = match (element.map(|element| element.offset()), without) {
                (Some(Offset::Offset(offset)), _) => offset,
                (_, WithoutTimestamp::Latest) => held.latest,
                (_, WithoutTimestamp::Error) => {
                    let (topic, partition) = (held.topic.clone(), held.partition);
                    return Err(KafkaError::NoRowAtTime { topic, partition, timestamp_ms: time_ms });
                }
            };
            offsets.set(&held.topic, held.partition, offset);
        }
        Ok(offsets)
    }

    /// The first offset of each partition whose row is not earlier; no offset where there is none.
    fn offsets_at(&self, held: &[Held], time_ms: i64) -> Result<TopicPartitionList, KafkaError> {
        let attempt = || format!("ask for the offsets at {time_ms} ms");
        let mut times = TopicPartitionList::with_capacity(held.len());
        for held in held {
            times
                .add_partition_offset(&held.topic, held.partition, Offset::Offset(time_ms))
                .map_err(|source| self.failed(attempt(), source))?;
        }
        self.consumer.offsets_for_times(times, self.timeout()).map_err(|source| self.failed(attempt(), source))
    }

    /// One behind the last offset of a partition.
    pub(crate) fn latest(&self, topic: &str, partition: i32) -> Result<i64, KafkaError> {
        self.held_of(topic.to_owned(), partition).map(|held| held.latest)
    }

    /// The first offset of a partition that is kept.
    pub(crate) fn earliest(&self, topic: &str, partition: i32) -> Result<i64, KafkaError> {
        self.held_of(topic.to_owned(), partition).map(|held| held.earliest)
    }

    pub(crate) fn failed(&self, attempt: String, source: ClientError) -> KafkaError {
        KafkaError::Client { attempt, servers: self.options.bootstrap_servers.clone(), source: Box::new(source) }
    }

    fn timeout(&self) -> Duration {
        self.options.poll_timeout
    }
}

fn partition_numbers(topic: &MetadataTopic) -> Vec<i32> {
    topic.partitions().iter().map(|partition| partition.id()).collect()
}
