//! Topics as a source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boathouse_base::{BatchStream, BoxFuture, Env, Error, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;

use super::ends::ListedEnds;
use super::error::KafkaError;
use super::fetch::{Fetch, Part};
use super::listing::Listing;
use super::offsets::KafkaOffsets;
use super::options::{KafkaSourceOptions, OnDataLoss, StartingOffsets, Subscription, refused};
use super::planning::{OffsetRange, ends, is_due, limited, ranges, until};
use super::rows::{MessageRows, kafka_schema};

/// Batches that wait between the brokers and the query.
const WAITING_BATCHES: usize = 2;

/// The messages of topics, by offsets that stand in the position of the query: `{"clicks":{"0":23}}`, the next to read.
///
/// It assigns partitions and joins no consumer group, so that nothing but the position of the query says where it is. New partitions begin at
/// their earliest offset. A partition that is gone, or an offset that is no longer there, is an error by name, unless `failOnDataLoss` is
/// false.
///
/// A stream that starts elsewhere than at the earliest offset has a first epoch without rows, which fixes where it starts.
///
/// With `endingOffsets` or `endingTimestamp` nothing behind these is ever read. With `minOffsetsPerTrigger` fewer rows wait for others, up to
/// `maxTriggerDelay`; a run that takes what is there now leaves them to the next one.
///
/// **Shape**: [`kafka_schema`]. Rows come partition after partition, by offset.
///
/// **Cost**: a plan asks once for each topic and twice for each partition. A read takes one partition after another, a round trip each at
/// least; it holds what the client has fetched (`kafka.queued.max.messages.kbytes`) and some batches.
///
/// **Source**: Spark's Kafka integration guide.
///
/// # Example
/// ```no_run
/// use boathouse_stream::kafka::{KafkaSource, KafkaSourceOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clicks = KafkaSource::open(KafkaSourceOptions::from_pairs([
///     ("kafka.bootstrap.servers", "localhost:9092"),
///     ("subscribe", "clicks"),
///     ("startingOffsets", "earliest"),
/// ])?)?;
/// # let _ = clicks;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct KafkaSource(Arc<Inner>);

struct Inner {
    options: KafkaSourceOptions,
    config: ClientConfig,
    /// Clients that nobody uses at the moment: their connections are kept.
    idle: Mutex<Vec<Arc<BaseConsumer>>>,
    env: Env,
    listed_ends: ListedEnds,
    waiting: Mutex<Option<Waiting>>,
}

/// Rows that wait for others.
struct Waiting {
    /// Where they begin.
    position: KafkaOffsets,
    /// When they were seen first.
    since_us: u64,
}

impl KafkaSource {
    /// A source with these options. Makes a client, which connects when it is used.
    ///
    /// **Errors**: `Invalid` when the client does not know a setting.
    pub fn open(options: KafkaSourceOptions) -> Result<Self, KafkaError> {
        Self::open_in(options, boathouse_storage::system_env())
    }

    /// As [`open`](Self::open), with a clock of one's own for `maxTriggerDelay`.
    ///
    /// **Errors**: those of [`open`](Self::open).
    pub fn open_in(options: KafkaSourceOptions, env: Env) -> Result<Self, KafkaError> {
        if matches!(&options.subscription, Subscription::Topics(topics) if topics.is_empty()) {
            return Err(refused("subscribe", "", "name at least one topic"));
        }
        let config = options.client_config()?;
        let (idle, listed_ends, waiting) = (Mutex::default(), ListedEnds::default(), Mutex::default());
        let source = Inner { options, config, idle, env, listed_ends, waiting };
        let consumer = source.consumer()?;
        source.give_back(consumer);
        Ok(Self(Arc::new(source)))
    }

    async fn plan_next(&self, start: Option<&Offset>, limit: ReadLimit) -> Result<Option<PlannedBatch>, KafkaError> {
        let start = start.map(|start| KafkaOffsets::position(start.as_str())).transpose()?;
        let most = [limit.rows, self.0.options.max_offsets_per_trigger].into_iter().flatten().min();
        self.off_the_runtime("plan the next epoch of Kafka topics", move |source| source.plan(start, most)).await
    }

    async fn read_range(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream> {
        let start = start.map(|start| KafkaOffsets::position(start.as_str())).transpose()?;
        let end = KafkaOffsets::position(end.as_str())?;
        let attempt = "find the offsets of an epoch";
        let ranges = self.off_the_runtime(attempt, move |source| source.ranges_between(start.as_ref(), &end)).await?;
        let (sender, receiver) = channel(WAITING_BATCHES);
        let source = Arc::clone(&self.0);
        // The thread ends by itself: with the range, or when the stream is dropped.
        drop(spawn_blocking(move || match source.consumer() {
            Ok(consumer) => {
                let rows = MessageRows::new(source.options.include_headers);
                let ends = &source.listed_ends;
                let fetch = Fetch { consumer: &consumer, options: &source.options, rows, ends, parts: &sender };
                if fetch.run(&ranges) {
                    source.give_back(consumer);
                }
            }
            // When nobody reads any more, nobody asks for the error either.
            Err(error) => drop(sender.blocking_send(Part::Rows(Err(error.into())))),
        }));
        Ok(BatchStream::new(self.shape(), stream::unfold(Some(receiver), next_batch)))
    }

    async fn off_the_runtime<T: Send + 'static>(
        &self,
        attempt: &str,
        work: impl FnOnce(&Inner) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let source = Arc::clone(&self.0);
        let done = spawn_blocking(move || work(&source)).await;
        done.map_err(|_| KafkaError::Stopped { attempt: attempt.to_owned() })?
    }

    fn shape(&self) -> SchemaRef {
        kafka_schema(self.0.options.include_headers)
    }
}

/// The next batch; an error when the thread ended without saying that it is done.
async fn next_batch(receiver: Option<Receiver<Part>>) -> Option<(Result<RecordBatch>, Option<Receiver<Part>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Part::Rows(Ok(batch))) => Some((Ok(batch), Some(receiver))),
        Some(Part::Rows(Err(error))) => Some((Err(error), None)),
        Some(Part::End) => None,
        None => Some((Err(KafkaError::Stopped { attempt: "read Kafka topics".to_owned() }.into()), None)),
    }
}

impl Inner {
    fn consumer(&self) -> Result<Arc<BaseConsumer>, KafkaError> {
        if let Some(consumer) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(consumer);
        }
        let made = self.config.create().map_err(|source| KafkaError::Client {
            attempt: "make a client of Kafka".to_owned(),
            servers: self.options.bootstrap_servers.clone(),
            source: Box::new(source),
        });
        made.map(Arc::new)
    }

    fn give_back(&self, consumer: Arc<BaseConsumer>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
    }

    fn plan(&self, start: Option<KafkaOffsets>, most: Option<u64>) -> Result<Option<PlannedBatch>, KafkaError> {
        let consumer = self.consumer()?;
        let listing = Listing { consumer: &consumer, options: &self.options };
        let mut held = listing.held(start.as_ref())?;
        let fixes_start = start.is_none() && self.options.starting_offsets != StartingOffsets::Earliest;
        let position = match &start {
            Some(position) => position.clone(),
            None => listing.start(&held)?,
        };
        for held in &mut held {
            let at = position.get(&held.topic, held.partition).unwrap_or(held.earliest);
            self.listed_ends.correct(&consumer, held, at);
        }
        let ending = listing.end(&held)?;
        self.give_back(consumer);
        let waiting = until(ranges(&position, &held, self.options.on_data_loss)?, &ending);
        let is_waiting = waiting.iter().any(|range| range.len() > 0);
        if fixes_start && !waiting.is_empty() {
            let starts: Vec<OffsetRange> = waiting.into_iter().map(|range| OffsetRange { end: range.start, ..range }).collect();
            return Ok(Some(PlannedBatch { end: position_of(&starts), files: 0, bytes: 0, more: is_waiting }));
        }
        if !is_waiting || !self.is_due(&position, &waiting) {
            return Ok(None);
        }
        let (ranges, more) = limited(waiting, most);
        Ok(Some(PlannedBatch { end: position_of(&ranges), files: 0, bytes: 0, more }))
    }

    /// Whether rows have waited long enough for others, or need not wait.
    fn is_due(&self, position: &KafkaOffsets, ranges: &[OffsetRange]) -> bool {
        let Some(least) = self.options.min_offsets_per_trigger else { return true };
        let now_us = self.env.monotonic_us();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let since_us =
            waiting.as_ref().filter(|waiting| waiting.position == *position).map_or(now_us, |waiting| waiting.since_us);
        *waiting = Some(Waiting { position: position.clone(), since_us });
        let rows = ranges.iter().map(OffsetRange::len).fold(0, u64::saturating_add);
        let waited = Duration::from_micros(now_us.saturating_sub(since_us));
        is_due(rows, Some(least), waited, self.options.max_trigger_delay)
    }

    /// The ranges between two positions. A partition that the first does not know begins at its earliest offset, and before any position all
    /// do; but then a stream that starts elsewhere has no rows.
    fn ranges_between(&self, start: Option<&KafkaOffsets>, end: &KafkaOffsets) -> Result<Vec<OffsetRange>, KafkaError> {
        if start.is_none() && self.options.starting_offsets != StartingOffsets::Earliest {
            return Ok(Vec::new());
        }
        let consumer = self.consumer()?;
        let listing = Listing { consumer: &consumer, options: &self.options };
        let mut ranges = Vec::new();
        for (topic, partition, end) in end.iter() {
            let start = match start.and_then(|start| start.get(topic, partition)) {
                Some(start) => start,
                None => listing.earliest(topic, partition)?.min(end),
            };
            if start > end && self.options.on_data_loss == OnDataLoss::Fail {
                return Err(KafkaError::Backwards { topic: topic.to_owned(), partition, start, end });
            }
            ranges.push(OffsetRange { topic: topic.to_owned(), partition, start, end });
        }
        self.give_back(consumer);
        Ok(ranges)
    }
}

fn position_of(ranges: &[OffsetRange]) -> Offset {
    Offset::new(ends(ranges).to_string())
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl StreamSource for KafkaSource {
    fn describe(&self) -> String {
        match &self.0.options.subscription {
            Subscription::Topics(topics) => format!("kafka[subscribe={}]", topics.join(",")),
            Subscription::Pattern(pattern) => format!("kafka[subscribePattern={pattern}]"),
            Subscription::Partitions(partitions) => {
                let topics: Vec<String> = partitions.iter().map(|(topic, numbers)| format!("{topic}{numbers:?}")).collect();
                format!("kafka[assign={}]", topics.join(","))
            }
        }
    }

    fn schema(&self) -> BoxFuture<'_, Result<Option<SchemaRef>>> {
        Box::pin(std::future::ready(Ok(Some(self.shape()))))
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        Box::pin(async move { self.plan_next(start, limit).await.map_err(Error::from) })
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        Box::pin(self.read_range(start, end))
    }

    fn commit<'a>(&'a self, _: &'a Offset) -> BoxFuture<'a, Result<()>> {
        // The position stands in the sink; a group of Kafka would only repeat it.
        Box::pin(std::future::ready(Ok(())))
    }
}
