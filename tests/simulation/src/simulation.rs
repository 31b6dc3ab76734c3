//! One seed: its world, from the first event to the verdict.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{Env, TableVersion};
use boathouse_delta_table::{DeltaError, DeltaTable};
use boathouse_storage::Storage;
use object_store::path::Path;

use crate::actor::Stage;
use crate::chance::Chance;
use crate::checker::{check, compare};
use crate::data_files::{Part, Row, stream};
use crate::engine::{all_rows, create, observation, open};
use crate::executor::{self, Threads};
use crate::intent::{Intent, first_rows};
use crate::ledger::{Attempt, Ledger, Observation, Outcome};
use crate::log_reader::{self, TABLE};
use crate::network::Network;
use crate::sabotage::Sabotage;
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::violation::Violation;
use crate::weather::Weather;
use crate::world::World;

/// How long the world exists before its actors come.
const OLDER_THAN_ANY_LISTING_US: u64 = 10_000_000;
/// How many versions are drawn to be opened in the end.
const VERSIONS_OPENED: u64 = 3;

/// One simulated world.
///
/// # Example
/// ```
/// use boathouse_simulation::Simulation;
///
/// let report = Simulation::of_seed(7).run();
/// assert_eq!(report.violation, None);
/// assert_eq!(report.trace.fingerprint(), Simulation::of_seed(7).run().trace.fingerprint());
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `run`"]
pub struct Simulation {
    seed: u64,
    sabotage: Option<Sabotage>,
}

/// What a simulated world came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// Everything that happened.
    pub trace: Trace,
    /// How much of what happened.
    pub tally: Tally,
    /// Who was there, and what they were up to.
    pub schedule: Schedule,
}

impl Simulation {
    /// The world of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, sabotage: None }
    }

    /// Builds a bug in, to see whether it is found.
    pub fn sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = Some(sabotage);
        self
    }

    /// Runs it to its end, and judges it.
    ///
    /// **Cost**: about 10 ms of CPU time, and as long; a runtime and one thread of its own.
    ///
    /// # Panics
    /// When the operating system gives no thread.
    #[expect(clippy::expect_used, reason = "without a runtime there is no simulation")]
    pub fn run(self) -> Report {
        let threads = Threads::default();
        let named = threads.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .thread_name_fn(move || named.start())
            .build()
            .expect("a runtime");
        runtime.block_on(self.play(threads))
    }

    async fn play(self, threads: Threads) -> Report {
        let chance = Chance::new(self.seed);
        let schedule = Arc::new(Schedule::draw(&chance));
        let director = schedule.actors.len();
        let world = World::new(director + 1, chance.fork(), threads);
        let ledger = Ledger::default();
        let verdict = self.verdict(&world, &schedule, &ledger).await;
        let mut inside = world.lock();
        let tally = Tally::of(&ledger.attempts(), &inside);
        let trace = std::mem::take(&mut inside.trace);
        Report { seed: self.seed, violation: verdict.err(), trace, tally, schedule: Schedule::clone(&schedule) }
    }

    async fn verdict(&self, world: &World, schedule: &Arc<Schedule>, ledger: &Ledger) -> Result<(), Violation> {
        self.found(world, schedule, ledger).await?;
        let stage = Stage {
            world: world.clone(),
            schedule: Arc::clone(schedule),
            weather: Arc::new(schedule.weather.clone()),
            ledger: ledger.clone(),
            sabotage: self.sabotage,
            next_steps: Arc::new(schedule.actors.iter().map(|_| AtomicUsize::new(0)).collect()),
        };
        let played = executor::run(world, schedule.actors.len(), |actor| stage.start(actor)).await;
        played.map_err(|waiting| Violation::Stuck { waiting })?;
        // What is on its way still arrives.
        while world.step() == crate::world::Step::Moved {}
        let epilogue = self.epilogue(world, schedule, ledger).await?;
        let inside = world.lock();
        let history = log_reader::read(&inside.disk)?;
        check(&history, &ledger.attempts(), schedule, &inside.disk)?;
        for (route, seen) in epilogue {
            compare(&seen, &history).map_err(|difference| Violation::SnapshotDiffers {
                version: seen.version,
                route,
                difference,
            })?;
        }
        Ok(())
    }

    /// A table handle for whom nothing goes wrong.
    fn sound_table(&self, world: &World, actor: usize) -> DeltaTable {
        let network = Network::new(world.clone(), actor, Arc::new(Weather::fine()), None);
        let storage = Storage::from_object_store(Arc::new(network), Path::from(TABLE), "simulated:///t");
        open(storage, Env::new(world.clock(0), self.seed ^ 0x5bd1_e995))
    }

    /// Creates the table, with a file.
    async fn found(&self, world: &World, schedule: &Schedule, ledger: &Ledger) -> Result<(), Violation> {
        let director = schedule.actors.len();
        let table = self.sound_table(world, director);
        let properties = schedule.properties.clone();
        let rows: Vec<Row> = first_rows().collect();
        let op = ledger.begin(director, Intent::Append { rows: rows.clone() });
        world.lock().life(director).op = Some(op);
        let (sleeping, url) = (world.clone(), table.url().to_owned());
        let work = async move {
            create(&table, &properties).await?;
            let rows = stream(&rows).map_err(|source| DeltaError::Compute { attempted: "simulate", url, source })?;
            let first = table.append(rows).run().await?;
            // Even a listing that is old shows the table.
            sleeping.sleep_us(OLDER_THAN_ANY_LISTING_US).await;
            Ok(first.version)
        };
        let created: Option<Result<u64, DeltaError>> = alone(world, director, work).await;
        let created = created.ok_or(Violation::Stuck { waiting: 1 })?;
        let version = created.map_err(|error| no_recovery("creating the table", &error))?;
        ledger.change(op, |attempt: &mut Attempt| attempt.outcome = Outcome::Committed { version });
        world.lock().life(director).op = None;
        Ok(())
    }

    /// After the storm: a new writer appends a row, and versions are opened.
    async fn epilogue(
        &self,
        world: &World,
        schedule: &Schedule,
        ledger: &Ledger,
    ) -> Result<Vec<(String, Observation)>, Violation> {
        let director = schedule.actors.len();
        let table = self.sound_table(world, director);
        let row = Row { id: -1, part: Part(0), value: 0 };
        let op = ledger.begin(director, Intent::Append { rows: vec![row] });
        world.lock().life(director).op = Some(op);
        let work = {
            let (table, url) = (table.clone(), table.url().to_owned());
            async move {
                let rows = stream(&[row]).map_err(|source| DeltaError::Compute { attempted: "simulate", url, source })?;
                table.append(rows).run().await
            }
        };
        let appended = alone(world, director, work).await.ok_or(Violation::Stuck { waiting: 1 })?;
        let last = appended.map_err(|error| no_recovery("an append", &error))?.version;
        ledger.change(op, |attempt: &mut Attempt| attempt.outcome = Outcome::Committed { version: last });
        world.lock().life(director).op = None;
        let fresh = self.sound_table(world, director);
        let versions = self.some_versions(last);
        let work = async move {
            let mut seen = Vec::new();
            let newest = fresh.snapshot().await?;
            let mut whole = observation(&newest).await?;
            whole.rows = Some(all_rows(&newest).await?);
            seen.push(("opened anew".to_owned(), whole));
            for version in versions {
                let snapshot = fresh.snapshot_at(TableVersion::Number(version)).await?;
                seen.push(("by its number".to_owned(), observation(&snapshot).await?));
            }
            Ok(seen)
        };
        let seen: Result<_, DeltaError> = alone(world, director, work).await.ok_or(Violation::Stuck { waiting: 1 })?;
        seen.map_err(|error| no_recovery("opening a version", &error))
    }

    /// Versions that are opened after the storm: a few, and the last one. All of them would cost as much as the storm.
    fn some_versions(&self, last: u64) -> BTreeSet<u64> {
        let chance = Chance::new(!self.seed);
        (0..VERSIONS_OPENED).map(|_| chance.between(0, last)).chain([last]).collect()
    }
}

fn no_recovery(attempted: &'static str, error: &DeltaError) -> Violation {
    Violation::NoRecovery { attempted, message: error.to_string() }
}

/// Runs one future as the only actor. Nothing when it waits for ever.
async fn alone<T: Send + 'static>(world: &World, actor: usize, work: impl Future<Output = T> + 'static) -> Option<T> {
    let result = Arc::new(Mutex::new(None));
    let (slot, work) = (Arc::clone(&result), Mutex::new(Some(work)));
    let played = executor::run(world, actor + 1, |one| {
        let work = if one == actor { work.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
        let slot = Arc::clone(&slot);
        Box::pin(async move {
            if let Some(work) = work {
                let output = work.await;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
            }
        })
    });
    played.await.ok()?;
    result.lock().unwrap_or_else(PoisonError::into_inner).take()
}
