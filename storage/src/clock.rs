//! The real clock: the one place that asks the operating system for the time and for chance.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use boathouse_base::{BoxFuture, Clock, Env};

/// The operating system's clock; sleeps on tokio's timer.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The clock of this machine.
    #[expect(clippy::disallowed_methods, reason = "this is the real clock that everyone else is handed")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the real clock that everyone else is handed")]
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock that everyone else is handed")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The environment of an application that runs for real: the system clock, and a seed that the operating system gives.
pub fn system_env() -> Env {
    // The standard library keys its hash maps with entropy of the operating system.
    seeded_env(RandomState::new().build_hasher().finish())
}

/// The system clock with ids and random numbers that follow from `seed`.
pub fn seeded_env(seed: u64) -> Env {
    Env::new(SystemClock::new(), seed)
}
