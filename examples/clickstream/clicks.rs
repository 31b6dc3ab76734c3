//! Where clicks come from.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use boathouse::base::StreamSource;
use boathouse::stream::sources::RateMicroBatch;

/// How long a topic without new clicks is left alone.
#[cfg(feature = "kafka")]
const POLL: Duration = Duration::from_millis(10);
/// Clicks in each second of the rate source.
const RATE: u64 = 100;
/// 2026-01-01T00:00:00Z. Fixed, so that a second run makes the same clicks.
const BEGIN_US: i64 = 1_767_225_600_000_000;

/// A source of clicks, and how it is asked.
pub(crate) struct Clicks {
    pub(crate) source: Arc<dyn StreamSource>,
    /// Makes a time and a page of each of its rows.
    pub(crate) sql: &'static str,
    /// The table of its windows.
    pub(crate) table: &'static str,
    /// Whether the times of its rows are those of a clock.
    pub(crate) time: Time,
    /// How long to wait after an epoch.
    pub(crate) after_epoch: Duration,
    /// How long to wait when nothing is new.
    pub(crate) when_idle: Duration,
}

/// What the times of clicks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// When they happened.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only topics have it"))]
    Real,
    /// Made up.
    Played,
}

/// The topic, when a broker answers; else the rate source, and a line that says so.
#[cfg(feature = "kafka")]
pub(crate) async fn open(brokers: &str, topic: &str, pause: Duration) -> Result<Clicks> {
    use boathouse::stream::kafka::{KafkaSource, KafkaSourceOptions, StartingOffsets, Subscription};

    if !answers(brokers).await {
        println!("no broker answers at {brokers}: clicks come from the rate source");
        return Ok(played(pause));
    }
    let mut options = KafkaSourceOptions::new(brokers, Subscription::Topics(vec![topic.to_owned()]));
    options.starting_offsets = StartingOffsets::Earliest;
    Ok(Clicks {
        source: Arc::new(KafkaSource::open(options)?),
        sql: "SELECT timestamp AS at, CAST(value AS STRING) AS page FROM source WHERE value IS NOT NULL",
        table: "clicks_of_kafka",
        time: Time::Real,
        after_epoch: Duration::ZERO,
        when_idle: POLL,
    })
}

/// The rate source, and a line that says so.
#[cfg(not(feature = "kafka"))]
pub(crate) async fn open(_brokers: &str, _topic: &str, pause: Duration) -> Result<Clicks> {
    println!("built without the feature `kafka`: clicks come from the rate source");
    Ok(played(pause))
}

/// Whether any of the brokers takes a connection.
#[cfg(feature = "kafka")]
async fn answers(brokers: &str) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    for broker in brokers.split(',').map(str::trim) {
        let connected = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(broker)).await;
        if matches!(connected, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// Clicks on five pages, a second of them in each epoch.
fn played(pause: Duration) -> Clicks {
    let source = RateMicroBatch { start_us: BEGIN_US, ..RateMicroBatch::new(RATE) };
    Clicks {
        source: Arc::new(source),
        sql: "SELECT timestamp AS at, '/page/' || CAST(value % 5 AS STRING) AS page FROM source",
        table: "clicks_of_rate",
        time: Time::Played,
        after_epoch: pause,
        when_idle: pause,
    }
}
