//! Files, overwrites, events that come twice or never, crashes of the state, restarts: every version once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boathouse_autoload::{AutoLoader, DiscoveryMode, MemoryQueue, Overwrites, QueuedFiles, S3Events, parse_s3_event};
use boathouse_base::{Env, ManualClock, Offset, StreamSource};
use boathouse_storage::testing::{FaultStore, RandomFaults};
use serde_json::{Value, json};

#[cfg(feature = "sqs")]
use crate::sqs_server::SqsServer;
use crate::support::{Site, files, rows};

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Listing,
    HighestNames,
    Queue,
    #[cfg(feature = "sqs")]
    Sqs,
}

struct World {
    site: Site,
    faults: FaultStore,
    clock: ManualClock,
    queue: Arc<MemoryQueue>,
    #[cfg(feature = "sqs")]
    sqs: Option<SqsServer>,
    way: Way,
    overwrites: Overwrites,
}

impl World {
    fn new(seed: u64, way: Way, overwrites: Overwrites) -> Self {
        let mut site = Site::new();
        let mut faults = None;
        site.state = site.state.with_object_store(|inner| {
            let store = FaultStore::new(inner);
            faults = Some(store.clone());
            Arc::new(store)
        });
        let faults = faults.unwrap();
        faults.inject_at_random(seed, RandomFaults::default());
        let clock = ManualClock::starting_at_us(1_000_000);
        Self {
            site,
            faults,
            clock,
            queue: Arc::new(MemoryQueue::new()),
            #[cfg(feature = "sqs")]
            sqs: None,
            way,
            overwrites,
        }
    }

    async fn open(&self) -> boathouse_base::Result<AutoLoader> {
        let mut source = self
            .site
            .describe()
            .env(Env::new(self.clock.clone(), 1))
            .overwrites(self.overwrites)
            .backfill_interval(Duration::from_secs(60));
        if self.way == Way::HighestNames {
            source = source.discovery(DiscoveryMode::HighestNames);
        }
        if self.way == Way::Queue {
            let events = S3Events { bucket: "lake".to_owned(), prefix: String::new() };
            self.queue.time_out();
            source = source
                .events(Arc::new(QueuedFiles::new(Arc::clone(&self.queue) as _, move |body| parse_s3_event(&events, body))));
        }
        #[cfg(feature = "sqs")]
        if let Some(server) = &self.sqs {
            let events = S3Events { bucket: "lake".to_owned(), prefix: String::new() };
            server.time_out();
            source = source.events(Arc::new(QueuedFiles::new(server.queue(), events.parser())));
        }
        source.open().await
    }

    fn tell(&self, path: &str) {
        let record = json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "lake"}, "object": {"key": path}}});
        let body = json!({"Records": [record]}).to_string();
        #[cfg(feature = "sqs")]
        if let Some(server) = &self.sqs {
            server.send(body.clone());
        }
        self.queue.send(body);
    }

    /// One batch; rows and position are kept together, as a sink does.
    async fn step(&self, source: &mut Option<AutoLoader>, position: &mut Option<Offset>, found: &mut Vec<Value>, limit: u64) {
        let result = async {
            if source.is_none() {
                *source = Some(self.open().await?);
            }
            let Some(source) = source.as_ref() else { return Ok(()) };
            if let Some(planned) = source.plan(position.as_ref(), files(limit)).await? {
                let batches = source.read(position.as_ref(), &planned.end).await?.collect().await?;
                found.extend(rows(&batches));
                *position = Some(planned.end.clone());
                source.commit(&planned.end).await?;
            }
            Ok::<_, boathouse_base::Error>(())
        };
        if result.await.is_err() {
            *source = None;
            if self.faults.is_crashed() {
                self.faults.revive();
            }
        }
    }
}

/// How many faults there were, and how many rows came.
async fn run(seed: u64, way: Way, overwrites: Overwrites) -> (usize, usize) {
    #[cfg_attr(not(feature = "sqs"), expect(unused_mut, reason = "only a server is put in"))]
    let mut world = World::new(seed, way, overwrites);
    #[cfg(feature = "sqs")]
    if way == Way::Sqs {
        world.sqs = Some(SqsServer::start().await);
    }
    let mut dice = Dice(seed);
    // The plain model: every version that a reader could have met.
    let mut landed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut source, mut position, mut found) = (None, None, Vec::new());
    let mut version = 0;
    for _ in 0..60 {
        match dice.below(10) {
            0..=4 => {
                let path = format!("d{}/{}.json", dice.below(3), dice.below(12));
                version += 1;
                let known = landed.contains_key(&path);
                if known && overwrites == Overwrites::Ignore {
                    continue;
                }
                world.site.landing.put(&path, format!("{{\"v\":{version}}}")).await.unwrap();
                landed.entry(path.clone()).or_default().push(version);
                for _ in 0..dice.below(4) {
                    world.tell(&path);
                }
            }
            5..=7 => world.step(&mut source, &mut position, &mut found, 1 + dice.below(4)).await,
            8 => source = None,
            _ => world.clock.advance(Duration::from_secs(dice.below(50))),
        }
    }
    // A backfill at the end: no event, and no name that came too late, is needed any more.
    world.clock.advance(Duration::from_secs(61));
    for _ in 0..landed.values().map(Vec::len).sum::<usize>() + 150 {
        world.step(&mut source, &mut position, &mut found, 1 + dice.below(4)).await;
    }
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for row in &found {
        *seen.entry(row["v"].as_u64().unwrap()).or_default() += 1;
    }
    let context = format!("seed {seed}, {way:?}, {overwrites:?}: {} faults", world.faults.injected().len());
    assert!(seen.values().all(|times| *times == 1), "{context}: twice: {seen:?}");
    for (path, versions) in &landed {
        // A version that was overwritten before anybody read it may give no rows; the last one always does.
        assert!(seen.contains_key(versions.last().unwrap()), "{context}: {path} of {versions:?} is lost: {seen:?}");
    }
    let all: Vec<u64> = landed.values().flatten().copied().collect();
    assert!(seen.keys().all(|version| all.contains(version)), "{context}");
    (world.faults.injected().len(), found.len())
}

#[tokio::test]
async fn every_version_comes_once_in_every_way_of_discovery() {
    let (mut faults, mut rows) = (0, 0);
    for seed in 0..25 {
        for way in [Way::Listing, Way::HighestNames, Way::Queue] {
            for overwrites in [Overwrites::Ignore, Overwrites::Read] {
                let (some, came) = run(seed, way, overwrites).await;
                faults += some;
                rows += came;
            }
        }
        println!("seed {seed}: {faults} faults so far, {rows} rows");
    }
    assert!(faults > 100 && rows > 1000, "{faults} faults, {rows} rows");
}

#[cfg(feature = "sqs")]
#[tokio::test]
async fn every_version_comes_once_when_a_queue_of_sqs_tells_of_them() {
    let (mut faults, mut rows) = (0, 0);
    for seed in 100..110 {
        for overwrites in [Overwrites::Ignore, Overwrites::Read] {
            let (some, came) = run(seed, Way::Sqs, overwrites).await;
            faults += some;
            rows += came;
        }
        println!("seed {seed}: {faults} faults so far, {rows} rows");
    }
    assert!(faults > 10 && rows > 100, "{faults} faults, {rows} rows");
}
