//! The real clock, and seeds from the operating system.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use boathouse_base::{BoxFuture, Clock, Env};

/// The environment of a real application: the system's clock, and a seed that differs in every process.
///
/// Call it once, where the application is built, and hand clones to whoever needs one.
///
/// Sleeping needs a tokio runtime with time enabled.
pub fn system_env() -> Env {
    // The keys of the standard hasher come from the random source of the operating system; two hashers
    // and the time make a seed that is not shared by processes started together.
    let nanos = since_epoch().as_nanos();
    let seed = RandomState::new().hash_one(nanos) ^ RandomState::new().hash_one(std::process::id()).rotate_left(32);
    seeded_env(seed)
}

/// The system's clock, with ids and random numbers that follow from `seed`.
pub fn seeded_env(seed: u64) -> Env {
    Env::new(SystemClock::new(), seed)
}

/// The one clock of this workspace that asks the operating system.
struct SystemClock {
    started: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks through Env")]
    fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks through Env")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Built inside the future: tokio's timer asks for its runtime when it is made.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}

/// A clock set before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks through Env")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_envs_have_different_seeds_and_a_plausible_time() {
        let (a, b) = (system_env(), system_env());
        assert_ne!(a.uuid(), b.uuid());
        assert!(a.now_us() > 1_700_000_000_000_000);
    }

    #[test]
    fn seeded_envs_repeat_their_ids() {
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
