//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sabotage::Sabotage;
use crate::simulation::Simulation;
use crate::tally::Tally;
use crate::violation::Violation;

/// Runs a range of seeds, until one breaks a promise.
///
/// # Example
/// ```
/// use boathouse_simulation::Sweep;
///
/// let swept = Sweep::over(0..8).run();
/// assert!(swept.broken.is_empty());
/// assert_eq!(swept.tally.schedules, 8);
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `run`"]
pub struct Sweep {
    seeds: Range<u64>,
    sabotage: Option<Sabotage>,
    threads: usize,
    after_first: AfterFirst,
}

/// What happens after a promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterFirst {
    Stop,
    GoOn,
}

/// What many worlds came to.
#[derive(Debug)]
pub struct Swept {
    /// How much of what happened.
    pub tally: Tally,
    /// Seeds that broke a promise, and which one, by seed.
    pub broken: BTreeMap<u64, Violation>,
}

impl Sweep {
    /// These seeds, on as many threads as there are cores.
    pub fn over(seeds: Range<u64>) -> Self {
        Self {
            seeds,
            sabotage: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            after_first: AfterFirst::Stop,
        }
    }

    /// Builds a bug in.
    pub fn sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = Some(sabotage);
        self
    }

    /// Runs all of them, also after a promise was broken.
    pub fn keep_going(mut self) -> Self {
        self.after_first = AfterFirst::GoOn;
        self
    }

    /// Runs them in the order of their numbers.
    pub fn run(self) -> Swept {
        let (next, stop) = (AtomicU64::new(self.seeds.start), AtomicBool::new(false));
        let swept = Mutex::new(Swept { tally: Tally::default(), broken: BTreeMap::new() });
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= self.seeds.end {
                            return;
                        }
                        let mut simulation = Simulation::of_seed(seed);
                        if let Some(sabotage) = self.sabotage {
                            simulation = simulation.sabotage(sabotage);
                        }
                        let report = simulation.run();
                        let mut swept = swept.lock().unwrap_or_else(PoisonError::into_inner);
                        swept.tally += report.tally;
                        if let Some(violation) = report.violation {
                            stop.store(self.after_first == AfterFirst::Stop, Ordering::SeqCst);
                            swept.broken.insert(seed, violation);
                        }
                    }
                });
            }
        });
        swept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
