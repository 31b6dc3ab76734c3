//! What all actors share: time, the store, and who is alive.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use boathouse_base::{BoxFuture, Clock};

use crate::chance::Chance;
use crate::disk::Disk;
use crate::executor::Threads;
use crate::trace::{EPOCH_US, Event, Trace};

/// Something that the store does later, whoever asked for it being gone.
type Late = Box<dyn FnOnce(&mut Disk, u64) + Send>;

/// Shared by all actors of a schedule.
#[derive(Clone)]
pub(crate) struct World {
    inside: Arc<Mutex<Inside>>,
    threads: Threads,
}

/// The parts of a [`World`].
pub(crate) struct Inside {
    /// Microseconds since the world began.
    pub(crate) elapsed_us: u64,
    pub(crate) disk: Disk,
    pub(crate) trace: Trace,
    pub(crate) chance: Chance,
    /// The newest version that anybody was told to be committed.
    pub(crate) acknowledged: Option<u64>,
    pub(crate) requests: u64,
    lives: Vec<Life>,
    ids: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
    late: BTreeMap<(u64, u64), Late>,
}

/// The life of an actor's process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Life {
    /// How often it began anew.
    pub(crate) incarnation: u32,
    pub(crate) crashed: bool,
    /// The operation that it is at.
    pub(crate) op: Option<usize>,
    /// Requests of this incarnation.
    pub(crate) requests: u64,
    /// The request at which it ends.
    pub(crate) dies_at: Option<u64>,
}

/// What came next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody was woken, or the store did something late.
    Moved,
    /// Nobody waits for anything.
    Nothing,
}

impl World {
    pub(crate) fn new(actors: usize, chance: Chance, threads: Threads) -> Self {
        let inside = Inside {
            elapsed_us: 0,
            disk: Disk::default(),
            trace: Trace::default(),
            chance,
            acknowledged: None,
            requests: 0,
            lives: vec![Life::default(); actors],
            ids: 0,
            sleepers: BTreeMap::new(),
            late: BTreeMap::new(),
        };
        Self { inside: Arc::new(Mutex::new(inside)), threads }
    }

    /// Whether the engine works on other threads as well.
    pub(crate) fn uses_threads(&self) -> bool {
        self.threads.are_used()
    }

    /// What it holds is whole after each critical section.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sleep_us(&self, us: u64) -> Sleep {
        let mut inside = self.lock();
        inside.ids += 1;
        Sleep { world: self.clone(), key: (inside.elapsed_us.saturating_add(us), inside.ids) }
    }

    /// Goes on to the next moment at which something happens.
    pub(crate) fn step(&self) -> Step {
        let (waker, late) = {
            let mut inside = self.lock();
            let next_sleeper = inside.sleepers.keys().next().copied();
            let next_late = inside.late.keys().next().copied();
            let Some(next) = next_sleeper.into_iter().chain(next_late).min() else { return Step::Nothing };
            inside.elapsed_us = inside.elapsed_us.max(next.0);
            (inside.sleepers.remove(&next), inside.late.remove(&next))
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(late) = late {
            let mut inside = self.lock();
            let now_us = inside.elapsed_us;
            late(&mut inside.disk, now_us);
        }
        Step::Moved
    }

    /// How many sleepers would wake this one.
    pub(crate) fn sleepers_of(&self, waker: &Waker) -> usize {
        self.lock().sleepers.values().filter(|sleeper| sleeper.data() == waker.data()).count()
    }

    pub(crate) fn note(&self, actor: usize, event: Event) {
        self.lock().note(actor, event);
    }

    /// A clock that shows the world's time, wrong by `skew_us`.
    pub(crate) fn clock(&self, skew_us: i64) -> SkewedClock {
        SkewedClock { world: self.clone(), skew_us }
    }
}

impl Inside {
    pub(crate) fn note(&mut self, actor: usize, event: Event) {
        let at_us = self.elapsed_us;
        self.trace.push(at_us, actor, event);
    }

    pub(crate) fn life(&mut self, actor: usize) -> &mut Life {
        if self.lives.len() <= actor {
            self.lives.resize(actor + 1, Life::default());
        }
        &mut self.lives[actor]
    }

    /// Has the store do something at a later moment.
    pub(crate) fn do_late(&mut self, in_us: u64, late: Late) {
        self.ids += 1;
        let key = (self.elapsed_us.saturating_add(in_us), self.ids);
        self.late.insert(key, late);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(after {} us)", self.lock().elapsed_us)
    }
}

/// Waits until a moment.
pub(crate) struct Sleep {
    world: World,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inside = self.world.lock();
        if inside.elapsed_us >= self.key.0 {
            return Poll::Ready(());
        }
        let before = inside.sleepers.insert(self.key, cx.waker().clone());
        drop(inside);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // The waker is dropped outside of the lock: it may own what asks for the lock again.
        let waker = self.world.lock().sleepers.remove(&self.key);
        drop(waker);
    }
}

/// The clock of one actor.
#[derive(Debug)]
pub(crate) struct SkewedClock {
    world: World,
    skew_us: i64,
}

impl Clock for SkewedClock {
    fn now_us(&self) -> i64 {
        let elapsed = i64::try_from(self.world.lock().elapsed_us).unwrap_or(i64::MAX);
        EPOCH_US.saturating_add(elapsed).saturating_add(self.skew_us)
    }

    fn monotonic_us(&self) -> u64 {
        self.world.lock().elapsed_us
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.world.sleep_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}
