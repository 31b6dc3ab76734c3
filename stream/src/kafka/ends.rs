//! Ends of partitions that a broker lists too low: found by looking behind them.
//!
//! Some brokers list the offset of the last batch, and not that of its last row, as the end of a partition. The answer to a fetch says where the log
//! really ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::planning::Held;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// A partition that says nothing for so long is left as it is listed.
const SILENCE: Duration = Duration::from_secs(1);
/// A look goes no further; the next one begins where this one ended.
const MOST_ROWS: u32 = 100_000;

/// Which partitions end where their broker says. One that was not looked at yet is in neither state.
#[derive(Debug, Default)]
pub(crate) struct ListedEnds(Mutex<BTreeMap<(String, i32), Trust>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing was found behind the listed end.
    Listed,
    /// Rows were seen behind it: they came meanwhile, or the end is listed too low.
    Looked,
}

impl ListedEnds {
    /// Rows were seen behind the end of a range.
    pub(crate) fn suspect(&self, topic: &str, partition: i32) {
        self.set(topic, partition, Trust::Looked);
    }

    /// Moves the end of a partition to where its log ends, if nothing is listed behind `position`. A broker is looked at once, and again when rows
    /// were seen behind an end, or when a position lies behind it.
    ///
    /// **Cost**: nothing as a rule; a look is a round trip, and reads what lies behind the listed end.
    pub(crate) fn correct(&self, consumer: &Arc<BaseConsumer>, held: &mut Held, position: i64) {
        let trust = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(held.topic.clone(), held.partition)).copied();
        if !needs_look(trust, held.latest, position) {
            return;
        }
        let end = look(consumer, &held.topic, held.partition, position);
        let (trust, latest) = match end {
            Some(end) if end > held.latest => (Trust::Looked, end),
            _ => (Trust::Listed, held.latest),
        };
        held.latest = latest;
        self.set(&held.topic, held.partition, trust);
    }

    fn set(&self, topic: &str, partition: i32, trust: Trust) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((topic.to_owned(), partition), trust);
    }
}

/// Rows that are listed are read first: whatever lies behind them is seen then.
fn needs_look(trust: Option<Trust>, listed: i64, position: i64) -> bool {
    position > listed || (position == listed && trust != Some(Trust::Listed))
}

/// Where a log ends that is read from `start`; `None` when there is no such offset in it, or the broker is silent.
fn look(consumer: &Arc<BaseConsumer>, topic: &str, partition: i32, start: i64) -> Option<i64> {
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, partition, Offset::Offset(start)).ok()?;
    consumer.assign(&at).ok()?;
    let end = walk(consumer, topic, partition, start);
    // What stays assigned would only be fetched for nothing; the next reader assigns its own.
    let _ = consumer.unassign();
    end
}

fn walk(consumer: &Arc<BaseConsumer>, topic: &str, partition: i32, start: i64) -> Option<i64> {
    let (mut end, mut silent, mut rows) = (start, Duration::ZERO, 0);
    while silent < SILENCE && rows < MOST_ROWS {
        match consumer.poll(POLL) {
            Some(Ok(message)) if message.topic() != topic || message.partition() != partition => {}
            // The client began at another offset: the one that was asked for is not there.
            Some(Ok(message)) if message.offset() < start => return None,
            Some(Ok(message)) => (end, silent, rows) = (message.offset() + 1, Duration::ZERO, rows + 1),
            Some(Err(ClientError::PartitionEOF(ended))) if ended == partition => return Some(end),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => return None,
                _ => silent += POLL,
            },
            None => silent += POLL,
        }
    }
    (end > start).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    #[test]
    fn a_partition_is_looked_at_until_its_end_is_trusted() {
        assert!(needs_look(None, 5, 5));
        assert!(!needs_look(None, 5, 4), "what is listed is read first");
        assert!(!needs_look(Some(Trust::Listed), 5, 5));
        assert!(needs_look(Some(Trust::Looked), 5, 5));
        assert!(needs_look(Some(Trust::Listed), 5, 9), "it was cut, or its end is listed too low");
    }

    #[test]
    fn an_end_that_is_listed_too_low_is_moved_to_the_last_row() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().unwrap();
        for _ in 0..5 {
            producer.send(BaseRecord::<str, str>::to("t").partition(0).payload("x")).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
        config
            .set("group.id", "g")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "10");
        let consumer: Arc<BaseConsumer> = Arc::new(config.create().unwrap());
        let ends = ListedEnds::default();
        let corrected = |latest, position| {
            let mut held = Held { topic: "t".to_owned(), partition: 0, earliest: 0, latest };
            ends.correct(&consumer, &mut held, position);
            held.latest
        };
        assert_eq!(corrected(1, 0), 1, "one row is listed, and read first");
        assert_eq!(corrected(1, 1), 5);
        assert_eq!(corrected(1, 5), 5, "a position behind the listed end is no loss");
        assert_eq!(corrected(5, 5), 5);
        assert_eq!(corrected(5, 9), 5, "no row is there");
        assert_eq!(corrected(2, 2), 2, "the end is trusted now");
        ends.suspect("t", 0);
        assert_eq!(corrected(2, 2), 5);
    }
}
