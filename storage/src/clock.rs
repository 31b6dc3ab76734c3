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
        // Inside the future, because tokio's timer looks for its runtime when it is made.
        Box::pin(async move { tokio::time::sleep(duration).await })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_system_envs_have_different_ids_and_the_same_time() {
        let (a, b) = (system_env(), system_env());
        assert_ne!(a.uuid(), b.uuid());
        assert!(a.now_us() > 1_700_000_000_000_000);
        assert!((b.now_us() - a.now_us()).abs() < 60_000_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        assert_eq!(seeded_env(3).uuid(), seeded_env(3).uuid());
    }

    #[tokio::test]
    async fn a_sleep_lasts_at_least_as_long_as_asked() {
        let env = system_env();
        let before = env.monotonic_us();
        env.sleep(Duration::from_millis(5)).await;
        assert!(env.monotonic_us() - before >= 5_000);
    }
}
