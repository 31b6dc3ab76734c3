//! The rows of a range of offsets. Everything here blocks.

use std::sync::Arc;
use std::time::Duration;

use boathouse_base::Result as BaseResult;
use datafusion::arrow::array::RecordBatch;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::ends::ListedEnds;
use super::error::{DataLossReason, KafkaError};
use super::listing::Listing;
use super::options::{KafkaSourceOptions, OnDataLoss};
use super::planning::OffsetRange;
use super::rows::MessageRows;

/// How long one poll waits. Between two of them it is seen whether anybody still reads.
const POLL: Duration = Duration::from_millis(50);

/// What goes to the stream: batches, an error, and at the very end [`Part::End`], so that a thread that dies is not taken for the end.
#[derive(Debug)]
pub(crate) enum Part {
    Rows(BaseResult<RecordBatch>),
    End,
}

/// Reads ranges, partition after partition: the same rows in the same order each time. There is one queue for messages and for the ends of logs, so that
/// an end is never seen before what stands before it.
pub(crate) struct Fetch<'a> {
    pub(crate) consumer: &'a Arc<BaseConsumer>,
    pub(crate) options: &'a KafkaSourceOptions,
    pub(crate) rows: MessageRows,
    pub(crate) ends: &'a ListedEnds,
    pub(crate) parts: &'a Sender<Part>,
}

/// Nobody reads the stream any more.
struct Dropped;

enum Stop {
    Failed(KafkaError),
    Dropped,
}

impl From<KafkaError> for Stop {
    fn from(error: KafkaError) -> Self {
        Self::Failed(error)
    }
}

impl From<Dropped> for Stop {
    fn from(_: Dropped) -> Self {
        Self::Dropped
    }
}

impl Fetch<'_> {
    /// Sends the rows of all ranges. Tells whether the consumer can be used again.
    pub(crate) fn run(mut self, ranges: &[OffsetRange]) -> bool {
        let done = self.read(ranges);
        let is_unassigned = self.consumer.unassign().is_ok();
        match done {
            Ok(()) => self.parts.blocking_send(Part::End).is_ok() && is_unassigned,
            Err(Stop::Dropped) => is_unassigned,
            Err(Stop::Failed(error)) => {
                // When nobody reads any more, nobody asks for the error either.
                let _ = self.parts.blocking_send(Part::Rows(Err(error.into())));
                false
            }
        }
    }

    fn read(&mut self, ranges: &[OffsetRange]) -> Result<(), Stop> {
        for range in ranges.iter().filter(|range| range.len() > 0) {
            self.assign(range, range.start)?;
            self.read_partition(range)?;
        }
        self.flush()
    }

    /// What the client still holds of an earlier assignment is dropped by it.
    fn assign(&self, range: &OffsetRange, offset: i64) -> Result<(), KafkaError> {
        let failed = |source| self.failed(range, offset, source);
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(&range.topic, range.partition, Offset::Offset(offset)).map_err(failed)?;
        self.consumer.assign(&start).map_err(failed)
    }

    fn read_partition(&mut self, range: &OffsetRange) -> Result<(), Stop> {
        let (mut next, mut ended_at, mut waited, mut last) = (range.start, None, Duration::ZERO, None);
        while next < range.end {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.topic() != range.topic || message.partition() != range.partition => {}
                Some(Ok(message)) => {
                    waited = Duration::ZERO;
                    if message.offset() >= range.end {
                        self.ends.suspect(&range.topic, range.partition);
                        return Ok(());
                    }
                    if message.offset() >= next {
                        next = message.offset() + 1;
                        self.rows.push(&message);
                    }
                    if self.rows.is_full() {
                        self.flush()?;
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) if partition != range.partition => {}
                // Offsets may hold no rows: those of aborted transactions, and marks of their ends.
                Some(Err(ClientError::PartitionEOF(_))) if ended_at == Some(next) => return Ok(self.check_end(range, next)?),
                // The event does not name its topic, so it is asked for again.
                Some(Err(ClientError::PartitionEOF(_))) => {
                    ended_at = Some(next);
                    self.assign(range, next)?;
                }
                Some(Err(error)) => last = self.tolerated(range, next, error)?.or(last),
                None => {
                    waited += POLL;
                    if self.parts.is_closed() {
                        return Err(Stop::Dropped);
                    }
                    if waited >= self.options.poll_timeout {
                        return Err(self.silent(range, next, waited, last).into());
                    }
                }
            }
        }
        self.peek(range);
        Ok(())
    }

    /// Sees whether a row lies behind the range, among those that the client has fetched already.
    fn peek(&self, range: &OffsetRange) {
        if let Some(Ok(message)) = self.consumer.poll(Duration::ZERO)
            && (message.topic(), message.partition()) == (range.topic.as_str(), range.partition)
            && message.offset() >= range.end
        {
            self.ends.suspect(&range.topic, range.partition);
        }
    }

    /// The log ends before the range does: its last offsets have no rows, or they were cut off.
    fn check_end(&self, range: &OffsetRange, next: i64) -> Result<(), KafkaError> {
        let latest = self.listing().latest(&range.topic, range.partition)?;
        if latest >= range.end {
            return Ok(());
        }
        let reason = DataLossReason::BeyondEnd { latest };
        self.options.on_data_loss.refuse(&range.topic, range.partition, next, reason)
    }

    /// What the client tells of itself while it goes on trying; an error when it cannot help to go on.
    fn tolerated(&self, range: &OffsetRange, next: i64, error: ClientError) -> Result<Option<ClientError>, KafkaError> {
        let lost =
            |reason| Err(KafkaError::DataLoss { topic: range.topic.clone(), partition: range.partition, offset: next, reason });
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => match self.options.on_data_loss {
                OnDataLoss::Fail => lost(DataLossReason::OutOfRange),
                OnDataLoss::Continue => Ok(Some(error)),
            },
            Some(
                RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => lost(DataLossReason::PartitionGone),
            _ if matches!(error, ClientError::MessageConsumptionFatal(_)) => Err(self.failed(range, next, error)),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Authentication | RDKafkaErrorCode::NotImplemented,
            ) => Err(self.failed(range, next, error)),
            _ => Ok(Some(error)),
        }
    }

    fn failed(&self, range: &OffsetRange, next: i64, source: ClientError) -> KafkaError {
        self.listing().failed(format!("read partition {} of `{}` from offset {next}", range.partition, range.topic), source)
    }

    fn silent(&self, range: &OffsetRange, next: i64, waited: Duration, last: Option<ClientError>) -> KafkaError {
        KafkaError::Silent {
            topic: range.topic.clone(),
            partition: range.partition,
            servers: self.options.bootstrap_servers.clone(),
            offset: next,
            end: range.end,
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            last: last.map_or_else(String::new, |error| format!("; the client said: {error}")),
        }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let Some(batch) = self.rows.take().map_err(|source| KafkaError::Rows { source })? else { return Ok(()) };
        Ok(self.parts.blocking_send(Part::Rows(Ok(batch))).map_err(|_| Dropped)?)
    }

    fn listing(&self) -> Listing<'_> {
        Listing { consumer: self.consumer, options: self.options }
    }
}
