//! The options of a source, by Spark's names.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::Deserialize;

use super::error::{DataLossReason, KafkaError};
use super::offsets::KafkaOffsets;

/// Settings of the client that the source itself decides.
const OURS: [&str; 5] =
    ["auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof", "bootstrap.servers"];

/// Spark's `maxTriggerDelay`.
const MAX_TRIGGER_DELAY: Duration = Duration::from_secs(15 * 60);

/// Which partitions are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// All partitions of these topics (`subscribe`).
    Topics(Vec<String>),
    /// All partitions of the topics whose whole name matches (`subscribePattern`).
    Pattern(String),
    /// These partitions (`assign`).
    Partitions(BTreeMap<String, Vec<i32>>),
}

/// Where a stream starts that has no position yet. It then goes on from its position, whatever is said here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StartingOffsets {
    /// With the first rows that are kept.
    Earliest,
    /// With rows that come after the first epoch (Spark's default for streams).
    #[default]
    Latest,
    /// At an offset for each partition; partitions that are not named start at the latest.
    At(KafkaOffsets),
    /// With the first row of each partition that is not earlier than this, in milliseconds since the Unix epoch.
    Timestamp(i64, WithoutTimestamp),
}

/// What to do with a partition without a row as late as the starting time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutTimestamp {
    /// Refuse to start (Spark's default).
    #[default]
    Error,
    /// Start at its end.
    Latest,
}

/// Where a run ends. Rows behind it are never read, however long the query goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EndingOffsets {
    /// Nowhere: what comes is read (`latest`, which a run that takes what is there now ends at by itself).
    #[default]
    Never,
    /// Before an offset of each partition; partitions that are not named, or stand at -1, have no end.
    Before(KafkaOffsets),
    /// Before the first row of each partition that is not earlier than this, in milliseconds since the Unix epoch. A partition without such a
    /// row has no end yet.
    Timestamp(i64),
}

/// What to do when rows were lost before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDataLoss {
    /// Stop with an error.
    #[default]
    Fail,
    /// Go on with what is there.
    Continue,
}

impl OnDataLoss {
    pub(crate) fn refuse(self, topic: &str, partition: i32, offset: i64, reason: DataLossReason) -> Result<(), KafkaError> {
        match self {
            Self::Fail => Err(KafkaError::DataLoss { topic: topic.to_owned(), partition, offset, reason }),
            Self::Continue => Ok(()),
        }
    }
}

/// What a [`KafkaSource`](super::KafkaSource) reads, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSourceOptions {
    /// Brokers to ask first: `host:port`, separated by commas (`kafka.bootstrap.servers`).
    pub bootstrap_servers: String,
    /// `subscribe`, `subscribePattern` or `assign`.
    pub subscription: Subscription,
    /// `startingOffsets`, or `startingTimestamp`.
    pub starting_offsets: StartingOffsets,
    /// `endingOffsets`, or `endingTimestamp`. It may be moved on between runs, and lies before nothing that was read.
    pub ending_offsets: EndingOffsets,
    /// About how many offsets an epoch takes (`maxOffsetsPerTrigger`).
    pub max_offsets_per_trigger: Option<u64>,
    /// An epoch waits for so many offsets (`minOffsetsPerTrigger`), but no longer than [`max_trigger_delay`](Self::max_trigger_delay).
    pub min_offsets_per_trigger: Option<u64>,
    /// How long rows wait for others, from when they were seen first (`maxTriggerDelay`).
    pub max_trigger_delay: Duration,
    /// `failOnDataLoss`.
    pub on_data_loss: OnDataLoss,
    /// Whether rows have the column `headers` (`includeHeaders`).
    pub include_headers: bool,
    /// How long to wait for a broker (`kafkaConsumer.pollTimeoutMs`).
    pub poll_timeout: Duration,
    /// Settings of the client, without the `kafka.` before them.
    pub client: BTreeMap<String, String>,
}

impl KafkaSourceOptions {
    /// Topics at these brokers, from the latest offset on.
    pub fn new(bootstrap_servers: impl Into<String>, subscription: Subscription) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            subscription,
            starting_offsets: StartingOffsets::default(),
            ending_offsets: EndingOffsets::default(),
            max_offsets_per_trigger: None,
            min_offsets_per_trigger: None,
            max_trigger_delay: MAX_TRIGGER_DELAY,
            on_data_loss: OnDataLoss::default(),
            include_headers: false,
            poll_timeout: Duration::from_secs(120),
            client: BTreeMap::new(),
        }
    }

    /// Options by Spark's names, in any letter case: `subscribe`, `subscribePattern`, `assign`, `startingOffsets`, `startingTimestamp`,
    /// `startingOffsetsByTimestampStrategy`, `endingOffsets`, `endingTimestamp`, `maxOffsetsPerTrigger`, `minOffsetsPerTrigger`,
    /// `maxTriggerDelay`, `failOnDataLoss`, `includeHeaders`, `kafkaConsumer.pollTimeoutMs`, and settings of the client after `kafka.`.
    ///
    /// **Errors**: `Invalid` for an option that is not known, or whose value is not one; when more offsets are waited for than an epoch may take.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KafkaError> {
        let mut given = Given::default();
        for (option, value) in pairs {
            given.take(option, value)?;
        }
        let subscription =
            given.subscription.ok_or_else(|| refused("subscribe", "", "give one of subscribe, subscribePattern and assign"))?;
        let servers = given.servers.ok_or_else(|| refused("kafka.bootstrap.servers", "", "name a broker: `host:9092`"))?;
        let mut options = Self { client: given.client, ..Self::new(servers, subscription) };
        options.starting_offsets = match (given.timestamp_ms, given.starting_offsets) {
            (Some(time_ms), _) => StartingOffsets::Timestamp(time_ms, given.without_timestamp),
            (None, offsets) => offsets.unwrap_or_default(),
        };
        options.ending_offsets = match (given.ending_timestamp_ms, given.ending_offsets) {
            (Some(time_ms), _) => EndingOffsets::Timestamp(time_ms),
            (None, offsets) => offsets.unwrap_or_default(),
        };
        options.max_offsets_per_trigger = given.max_offsets_per_trigger;
        options.min_offsets_per_trigger = given.min_offsets_per_trigger;
        options.max_trigger_delay = given.max_trigger_delay.unwrap_or(options.max_trigger_delay);
        if let (Some(least), Some(most)) = (options.min_offsets_per_trigger, options.max_offsets_per_trigger)
            && least > most
        {
            let problem = format!("an epoch takes {most} at most (`maxOffsetsPerTrigger`); wait for no more than that");
            return Err(refused("minOffsetsPerTrigger", &least.to_string(), &problem));
        }
        options.on_data_loss = given.on_data_loss;
        options.include_headers = given.include_headers;
        options.poll_timeout = given.poll_timeout.unwrap_or(options.poll_timeout);
        Ok(options)
    }

    /// The configuration of the client.
    ///
    /// Rows of aborted transactions are not read, unless `isolation.level` is set to `read_uncommitted`, which is Spark's default.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, KafkaError> {
        if let Some((name, value)) = self.client.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
            return Err(refused(&format!("kafka.{name}"), value, "the source decides this itself; leave it out"));
        }
        let mut config = ClientConfig::new();
        // A group is named because the client asks for it; the source never joins it and commits nothing to it.
        config
            .set("group.id", "boathouse-kafka-source")
            .set("isolation.level", "read_committed")
            // Only rows that are there are asked for: a broker that waits for more holds the next partition up.
            .set("fetch.wait.max.ms", "5");
        for (name, value) in &self.client {
            config.set(name, value);
        }
        let reset = match self.on_data_loss {
            OnDataLoss::Fail => "error",
            OnDataLoss::Continue => "earliest",
        };
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("auto.offset.reset", reset)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true");
        Ok(config)
    }
}

/// What was said so far.
#[derive(Debug, Default)]
struct Given {
    servers: Option<String>,
    subscription: Option<Subscription>,
    starting_offsets: Option<StartingOffsets>,
    timestamp_ms: Option<i64>,
    without_timestamp: WithoutTimestamp,
    ending_offsets: Option<EndingOffsets>,
    ending_timestamp_ms: Option<i64>,
    max_offsets_per_trigger: Option<u64>,
    min_offsets_per_trigger: Option<u64>,
    max_trigger_delay: Option<Duration>,
    on_data_loss: OnDataLoss,
    include_headers: bool,
    poll_timeout: Option<Duration>,
    client: BTreeMap<String, String>,
}

impl Given {
    fn take(&mut self, option: &str, value: &str) -> Result<(), KafkaError> {
        match option.to_ascii_lowercase().as_str() {
            "kafka.bootstrap.servers" => self.servers = Some(value.to_owned()),
            "subscribe" => {
                let topics = value.split(',').map(|topic| topic.trim().to_owned()).filter(|topic| !topic.is_empty());
                self.subscribe(option, value, Subscription::Topics(topics.collect()))?;
            }
            "subscribepattern" => self.subscribe(option, value, Subscription::Pattern(value.to_owned()))?,
            "assign" => {
                let partitions: Partitions = serde_json::from_str(value)
                    .map_err(|error| refused(option, value, &format!("{error}; it looks like {{\"topic\":[0,1]}}")))?;
                self.subscribe(option, value, Subscription::Partitions(partitions.0))?;
            }
            "startingoffsets" => self.starting_offsets = Some(starting_offsets(option, value)?),
            "startingtimestamp" => self.timestamp_ms = Some(number(option, value)?),
            "startingoffsetsbytimestampstrategy" => {
                self.without_timestamp = match value {
                    "error" => WithoutTimestamp::Error,
                    "latest" => WithoutTimestamp::Latest,
                    _ => return Err(refused(option, value, "it is error or latest")),
                }
            }
            "endingoffsets" => self.ending_offsets = Some(ending_offsets(option, value)?),
            "endingtimestamp" => self.ending_timestamp_ms = Some(number(option, value)?),
            "minoffsetspertrigger" => self.min_offsets_per_trigger = Some(number(option, value)?),
            "maxtriggerdelay" => self.max_trigger_delay = Some(duration(option, value)?),
            "maxoffsetspertrigger" => self.max_offsets_per_trigger = Some(number(option, value)?),
            "failondataloss" => {
                self.on_data_loss = if truth(option, value)? { OnDataLoss::Fail } else { OnDataLoss::Continue };
            }
            "includeheaders" => self.include_headers = truth(option, value)?,
            "kafkaconsumer.polltimeoutms" => self.poll_timeout = Some(Duration::from_millis(number(option, value)?)),
            name => match name.strip_prefix("kafka.") {
                Some(name) => {
                    self.client.insert(name.to_owned(), value.to_owned());
                }
                None => return Err(refused(option, value, "the Kafka source has no such option")),
            },
        }
        Ok(())
    }

    fn subscribe(&mut self, option: &str, value: &str, subscription: Subscription) -> Result<(), KafkaError> {
        if self.subscription.is_some() {
            return Err(refused(option, value, "only one of subscribe, subscribePattern and assign can be given"));
        }
        self.subscription = Some(subscription);
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Partitions(BTreeMap<String, Vec<i32>>);

fn starting_offsets(option: &str, value: &str) -> Result<StartingOffsets, KafkaError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "earliest" => return Ok(StartingOffsets::Earliest),
        "latest" => return Ok(StartingOffsets::Latest),
        _ => {}
    }
    let advice = "it is earliest, latest, or an offset for each partition, where -2 is the earliest and -1 the latest";
    let offsets = KafkaOffsets::parse(value).map_err(|error| refused(option, value, &format!("{error}; {advice}")))?;
    if offsets.iter().any(|(_, _, offset)| offset < KafkaOffsets::EARLIEST) {
        return Err(refused(option, value, advice));
    }
    Ok(StartingOffsets::At(offsets))
}

fn ending_offsets(option: &str, value: &str) -> Result<EndingOffsets, KafkaError> {
    if value.trim().eq_ignore_ascii_case("latest") {
        return Ok(EndingOffsets::Never);
    }
    let advice = "it is latest, or an offset for each partition, where -1 is the latest";
    let offsets = KafkaOffsets::parse(value).map_err(|error| refused(option, value, &format!("{error}; {advice}")))?;
    if offsets.iter().any(|(_, _, offset)| offset < KafkaOffsets::LATEST) {
        return Err(refused(option, value, advice));
    }
    Ok(EndingOffsets::Before(offsets))
}

/// A number and its unit, as Spark writes durations: `15m`, `500ms`.
fn duration(option: &str, value: &str) -> Result<Duration, KafkaError> {
    let text = value.trim().to_ascii_lowercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" | "" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused(option, value, "it is a whole number and ms, s, m, h or d: 15m")),
    };
    let number: u64 = number.parse().map_err(|_| refused(option, value, "it is a whole number and ms, s, m, h or d: 15m"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit_ms)))
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, KafkaError> {
    value.trim().parse().map_err(|_| refused(option, value, "it is a whole number"))
}

fn truth(option: &str, value: &str) -> Result<bool, KafkaError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refused(option, value, "it is true or false")),
    }
}

pub(crate) fn refused(option: &str, value: &str, problem: &str) -> KafkaError {
    KafkaError::Option { option: option.to_owned(), value: value.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: (&str, &str) = ("kafka.bootstrap.servers", "localhost:9092");

    fn options(pairs: &[(&str, &str)]) -> Result<KafkaSourceOptions, KafkaError> {
        KafkaSourceOptions::from_pairs([&[SERVERS], pairs].concat())
    }

    #[test]
    fn options_have_the_names_of_spark() {
        let read = options(&[
            ("assign", r#"{"a":[0,1]}"#),
            ("startingOffsets", r#"{"a":{"0":23,"1":-2}}"#),
            ("endingOffsets", r#"{"a":{"0":40,"1":-1}}"#),
            ("maxOffsetsPerTrigger", "100"),
            ("minOffsetsPerTrigger", "10"),
            ("maxTriggerDelay", "2m"),
            ("failOnDataLoss", "false"),
            ("includeHeaders", "true"),
            ("kafka.fetch.wait.max.ms", "5"),
        ])
        .unwrap();
        assert_eq!(read.subscription, Subscription::Partitions([("a".to_owned(), vec![0, 1])].into()));
        assert_eq!(read.starting_offsets, StartingOffsets::At(KafkaOffsets::parse(r#"{"a":{"0":23,"1":-2}}"#).unwrap()));
        assert_eq!((read.max_offsets_per_trigger, read.on_data_loss), (Some(100), OnDataLoss::Continue));
        assert!(read.include_headers);
        assert_eq!((read.min_offsets_per_trigger, read.max_trigger_delay), (Some(10), Duration::from_secs(120)));
        let end = KafkaOffsets::parse(r#"{"a":{"0":40,"1":-1}}"#).unwrap();
        assert_eq!(read.ending_offsets, EndingOffsets::Before(end));
        let timed = options(&[("subscribe", "a"), ("endingTimestamp", "7"), ("endingOffsets", "latest")]).unwrap();
        assert_eq!(timed.ending_offsets, EndingOffsets::Timestamp(7));
        assert_eq!(read.client_config().unwrap().get("fetch.wait.max.ms"), Some("5"));
        let plain = options(&[("subscribe", "a, b")]).unwrap();
        assert_eq!(plain.subscription, Subscription::Topics(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((plain.starting_offsets, plain.on_data_loss), (StartingOffsets::Latest, OnDataLoss::Fail));
    }

    #[test]
    fn a_wrong_option_is_named() {
        let wrong: [&[(&str, &str)]; 12] = [
            &[],
            &[("subscribe", "a"), ("subscribePattern", "b.*")],
            &[("assign", "a")],
            &[("subscribe", "a"), ("startingOffsets", "first")],
            &[("subscribe", "a"), ("startingOffsets", r#"{"a":{"0":-3}}"#)],
            &[("subscribe", "a"), ("maxOffsetsPerTrigger", "many")],
            &[("subscribe", "a"), ("maxOffsetsPerTrigger", "5"), ("minOffsetsPerTrigger", "6")],
            &[("subscribe", "a"), ("maxTriggerDelay", "2 weeks")],
            &[("subscribe", "a"), ("endingOffsets", "earliest")],
            &[("subscribe", "a"), ("endingOffsets", r#"{"a":{"0":-2}}"#)],
            &[("subscribe", "a"), ("failOnDataLoss", "perhaps")],
            &[("subscribe", "a"), ("colour", "red")],
        ];
        for pairs in wrong {
            assert!(matches!(options(pairs), Err(KafkaError::Option { .. })), "{pairs:?}");
        }
        let ours = options(&[("subscribe", "a"), ("kafka.enable.auto.commit", "true")]).unwrap();
        assert!(matches!(ours.client_config(), Err(KafkaError::Option { option, .. }) if option == "kafka.enable.auto.commit"));
    }
}
