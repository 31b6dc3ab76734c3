//! What an epoch of a stream costs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use boathouse_base::{Env, OutputMode, StreamSink};
use boathouse_delta_table::{DeltaSink, DeltaTable};
use boathouse_storage::{Location, Stores, system_env};
use boathouse_stream::sinks::NoopSink;
use boathouse_stream::sources::RateMicroBatch;
use boathouse_stream::{RunningQuery, StepOutcome, StreamQuery};

use super::{Bar, Claim, Peer, Run};
use crate::harness::Settings;
use crate::measure::{Measured, Stopwatch};

/// Medians of the first and the last tenth of all epochs.
const FIRST_TENTH: &str = "first tenth";
const LAST_TENTH: &str = "last tenth";
/// From opening a query again to the end of its next epoch.
const RESTART: &str = "restart to an epoch";

/// Epochs of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// 1,000 rows, a projection, no sink.
    Floor,
    /// 1,000 rows to a table on disk.
    Delta,
    /// 1,000 rows into windows of 10 s and 100 keys.
    Window,
    /// 100,000 rows into a million groups.
    MillionGroups,
    /// The same into ten million.
    TenMillionGroups,
}

impl Streams {
    pub(crate) const ALL: [Self; 5] = [Self::Floor, Self::Delta, Self::Window, Self::MillionGroups, Self::TenMillionGroups];

    fn rows(self) -> u64 {
        match self {
            Self::Floor | Self::Delta | Self::Window => 1_000,
            Self::MillionGroups | Self::TenMillionGroups => 100_000,
        }
    }

    /// Epochs before those that are measured, and those.
    fn epochs(self) -> (usize, usize) {
        match self {
            Self::Floor | Self::Window => (50, 200),
            Self::Delta => (50, 10_000),
            Self::MillionGroups => (40, 20),
            Self::TenMillionGroups => (200, 20),
        }
    }

    fn statement(self) -> String {
        // Neighbours are far apart: a factor that has no divisor in common with the number of groups.
        let groups = |groups: u64| {
            format!(
                "SELECT value * 7368787 % {groups} AS k, count(*) AS n, sum(value) AS s FROM source GROUP BY value * 7368787 % {groups}"
            )
        };
        match self {
            Self::Floor | Self::Delta => {
                "SELECT timestamp, value, value * 2 AS twice FROM source WHERE value % 10 <> 3".to_owned()
            }
            Self::Window => "SELECT window(timestamp, '10 seconds') AS w, value % 100 AS k, count(*) AS n FROM source \
                             GROUP BY window(timestamp, '10 seconds'), value % 100"
                .to_owned(),
            Self::MillionGroups => groups(1_000_000),
            Self::TenMillionGroups => groups(10_000_000),
        }
    }

    fn stores(self) -> Stores {
        match self {
            Self::Delta => Stores::new().with_synced_writes(),
            _ => Stores::new(),
        }
    }

    fn query(self, output: &Path, sink: Arc<dyn StreamSink>, env: Env) -> Result<StreamQuery> {
        std::fs::create_dir_all(output).with_context(|| format!("create {}", output.display()))?;
        let checkpoint = self.stores().open(&Location::from_path(output.join("checkpoint"))?)?;
        let query = StreamQuery::named(self.name()).sql(self.statement()).sink(sink).checkpoint(checkpoint).env(env);
        let source = Arc::new(RateMicroBatch::new(self.rows()));
        Ok(match self {
            Self::Window => query.source_with_watermark("source", source, "timestamp", Duration::from_secs(10)),
            Self::TenMillionGroups => query.source(source).state_memory(256 << 20),
            _ => query.source(source),
        }
        .output_mode(match self {
            Self::MillionGroups | Self::TenMillionGroups => OutputMode::Update,
            _ => OutputMode::Append,
        }))
    }
}

impl Claim for Streams {
    fn name(&self) -> &'static str {
        match self {
            Self::Floor => "batch-floor",
            Self::Delta => "batch-delta",
            Self::Window => "batch-window",
            Self::MillionGroups => "state-1m",
            Self::TenMillionGroups => "state-10m",
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::Floor => "an epoch of 1,000 rows, a projection and no sink: at most 2 ms of CPU, and 5 ms in 99 of 100 (wall)",
            Self::Delta => {
                "an epoch of 1,000 rows to a table, each write forced to the disk: at most 15 ms (wall, median), the 10,000th as the first"
            }
            Self::Window => "an epoch of 1,000 rows into windows of 10 s and 100 keys: at most 4 ms of CPU",
            Self::MillionGroups => {
                "an epoch of 100,000 rows into a million groups: at most 150 ms (wall, median); 1 s from a restart to the first"
            }
            Self::TenMillionGroups => {
                "100,000 rows an epoch into ten million groups, with 256 MiB for the state and 512 MB for the process: 1 s from a restart to an epoch"
            }
        }
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn bar(&self) -> Bar {
        match self {
            Self::Floor => Bar { cpu_s: Some(0.002), wall_s: Some(0.005), ..Bar::default() },
            Self::Delta => Bar { wall_s: Some(0.015), parts: &[(FIRST_TENTH, 0.015), (LAST_TENTH, 0.015)], ..Bar::default() },
            Self::Window => Bar { cpu_s: Some(0.004), ..Bar::default() },
            Self::MillionGroups => Bar { wall_s: Some(0.15), parts: &[(RESTART, 1.0)], ..Bar::default() },
            Self::TenMillionGroups => Bar { rss_mb: Some(512.0), parts: &[(RESTART, 1.0)], ..Bar::default() },
        }
    }

    fn prepare(&self, _: &Settings, folder: &Path) -> Result<PathBuf> {
        Ok(folder.to_owned())
    }

    fn ours(&self, Run { output, .. }: Run<'_>) -> Result<Measured> {
        let env = system_env();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let sink: Arc<dyn StreamSink> = match self {
            Self::Delta => {
                std::fs::create_dir_all(output.join("table"))?;
                let storage = self.stores().open(&Location::from_path(output.join("table"))?)?;
                Arc::new(DeltaSink::new(DeltaTable::at(storage, env.clone())))
            }
            _ => Arc::new(NoopSink::new()),
        };
        let query = self.query(output, sink, env.clone())?;
        runtime.block_on(async {
            let mut running = query.clone().open().await?;
            let (warm, measured) = self.epochs();
            for _ in 0..warm {
                step(&mut running, &env).await?;
            }
            let watch = Stopwatch::start()?;
            let mut times = Vec::with_capacity(measured);
            for _ in 0..measured {
                times.push(step(&mut running, &env).await?);
            }
            let mut result = watch.stop(self.rows() * measured as u64, 0)?;
            let restart_s = if matches!(self, Self::MillionGroups | Self::TenMillionGroups) {
                drop(running);
                let began_us = env.monotonic_us();
                let mut again = query.open().await?;
                step(&mut again, &env).await?;
                Some(seconds(env.monotonic_us() - began_us))
            } else {
                None
            };
            #[expect(clippy::cast_precision_loss, reason = "some thousand epochs")]
            let epochs = measured as f64;
            result.cpu_s /= epochs;
            let tenth = (times.len() / 10).max(1);
            let (first, last) = (median(&times[..tenth]), median(&times[times.len() - tenth..]));
            times.sort_by(f64::total_cmp);
            let of = |share: usize| times[(times.len() - 1) * share / 100];
            result.wall_s = if *self == Self::Floor { of(99) } else { of(50) };
            result.parts = [("p50", of(50)), ("p99", of(99)), (FIRST_TENTH, first), (LAST_TENTH, last)]
                .into_iter()
                .chain(restart_s.map(|s| (RESTART, s)))
                .map(|(name, s)| (name.to_owned(), s))
                .collect();
            Ok(result)
        })
    }
}

/// One epoch; gives its seconds.
async fn step(running: &mut RunningQuery, env: &Env) -> Result<f64> {
    let began_us = env.monotonic_us();
    match running.step().await? {
        StepOutcome::Epoch(_) => Ok(seconds(env.monotonic_us() - began_us)),
        StepOutcome::Idle => anyhow::bail!("the source has no more rows"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run have few digits")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
