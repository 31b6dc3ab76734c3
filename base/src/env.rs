//! Time, ids and chance, handed in by whoever builds the application.
//!
//! Library code never asks the operating system for the time, an id or a random number: it asks its
//! [`Env`]. Tests hand in one whose clock they move and whose seed they print. The real clock lives one
//! floor up (`boathouse_storage::system_env`), because sleeping needs a runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::BoxFuture;

/// What time it is, and waiting for a later time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Microseconds since the Unix epoch (UTC). May jump when the system clock is set.
    fn now_us(&self) -> i64;

    /// Microseconds since some fixed moment; never goes backwards. For durations.
    fn monotonic_us(&self) -> u64;

    /// Resolves after `duration` on this clock. May be dropped.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clock, the ids and the random numbers of an application. Cheap to clone; clones share one state.
///
/// # Example
/// ```
/// use boathouse_base::{Env, ManualClock};
///
/// let clock = ManualClock::starting_at_us(1_000_000);
/// let (a, b) = (Env::new(clock.clone(), 7), Env::new(clock.clone(), 7));
/// assert_eq!(a.uuid(), b.uuid(), "the same seed gives the same ids");
/// clock.advance(std::time::Duration::from_secs(2));
/// assert_eq!(a.now_us(), 3_000_000);
/// ```
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    chance: Arc<Mutex<Chance>>,
}

impl Env {
    /// An environment with this clock, whose ids and random numbers follow from `seed`.
    pub fn new(clock: impl Clock + 'static, seed: u64) -> Self {
        Self { clock: Arc::new(clock), chance: Arc::new(Mutex::new(Chance(seed))) }
    }

    /// Microseconds since the Unix epoch (UTC).
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Milliseconds since the Unix epoch (UTC), rounded down.
    pub fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }

    /// Microseconds since some fixed moment; never goes backwards.
    pub fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us()
    }

    /// Resolves after `duration`. May be dropped.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }

    /// A random number, uniform over all of `u64`. Not for secrets.
    pub fn random_u64(&self) -> u64 {
        lock(&self.chance).next()
    }

    /// A random number in `0..bound`; 0 when `bound` is 0.
    pub fn random_below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.random_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A random UUID (version 4), hyphenated, lower case.
    pub fn uuid(&self) -> String {
        let (high, low) = self.uuid_halves();
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// The 16 bytes of a random UUID (version 4), as [`uuid`](Self::uuid) would write them.
    pub fn uuid_bytes(&self) -> [u8; 16] {
        let (high, low) = self.uuid_halves();
        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
    }

    fn uuid_halves(&self) -> (u64, u64) {
        let mut chance = lock(&self.chance);
        let (high, low) = (chance.next(), chance.next());
        ((high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62))
    }

    /// A random id of 32 hexadecimal digits, as MLflow uses for runs.
    pub fn hex_id(&self) -> String {
        let mut chance = lock(&self.chance);
        format!("{:016x}{:016x}", chance.next(), chance.next())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// SplitMix64: every seed, 0 included, gives a full-period sequence.
///
/// **Source**: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A panic elsewhere cannot leave these values half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that moves only when it is told to. Clones are one clock.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Default)]
struct Hands {
    now_us: i64,
    elapsed_us: u64,
    sleeper_ids: u64,
    /// Wakers by (deadline on `elapsed_us`, id).
    sleepers: BTreeMap<(u64, u64), Waker>,
}

impl ManualClock {
    /// A clock that shows this time, in microseconds since the Unix epoch.
    pub fn starting_at_us(now_us: i64) -> Self {
        Self(Arc::new(Mutex::new(Hands { now_us, ..Hands::default() })))
    }

    /// Moves time forward and wakes whoever waited for it.
    pub fn advance(&self, duration: Duration) {
        let step = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let due = {
            let mut hands = lock(&self.0);
            hands.elapsed_us = hands.elapsed_us.saturating_add(step);
            hands.now_us = hands.now_us.saturating_add(i64::try_from(step).unwrap_or(i64::MAX));
            let after = (hands.elapsed_us.saturating_add(1), 0);
            let later = hands.sleepers.split_off(&after);
            std::mem::replace(&mut hands.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// How long until the next sleeper is due; `None` when nobody sleeps.
    pub fn until_next_sleeper(&self) -> Option<Duration> {
        let hands = lock(&self.0);
        let (deadline, _) = hands.sleepers.keys().next()?;
        Some(Duration::from_micros(deadline.saturating_sub(hands.elapsed_us)))
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({} us)", lock(&self.0).now_us)
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        lock(&self.0).now_us
    }

    fn monotonic_us(&self) -> u64 {
        lock(&self.0).elapsed_us
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let (deadline, id) = {
            let mut hands = lock(&clock.0);
            hands.sleeper_ids += 1;
            let wait = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            (hands.elapsed_us.saturating_add(wait), hands.sleeper_ids)
        };
        let sleeper = Sleeper { clock, deadline, id };
        Box::pin(std::future::poll_fn(move |cx| {
            let mut hands = lock(&sleeper.clock.0);
            if hands.elapsed_us >= sleeper.deadline {
                Poll::Ready(())
            } else {
                hands.sleepers.insert((sleeper.deadline, sleeper.id), cx.waker().clone());
                Poll::Pending
            }
        }))
    }
}

/// A dropped sleep takes its waker with it: [`ManualClock::until_next_sleeper`] never waits for the dead.
struct Sleeper {
    clock: ManualClock,
    deadline: u64,
    id: u64,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        lock(&self.clock.0).sleepers.remove(&(self.deadline, self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_the_version_and_variant_of_rfc_9562() {
        let env = Env::new(ManualClock::default(), 1);
        for _ in 0..100 {
            let id = env.uuid();
            assert_eq!(id.len(), 36);
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        }
    }

    #[test]
    fn random_below_stays_below_and_reaches_every_value() {
        let env = Env::new(ManualClock::default(), 2);
        let mut seen = [false; 5];
        for _ in 0..200 {
            let n = env.random_below(5);
            seen[usize::try_from(n).unwrap_or(usize::MAX)] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(env.random_below(0), 0);
    }

    #[test]
    fn a_sleep_ends_when_the_clock_reaches_it_and_a_dropped_one_is_forgotten() {
        let clock = ManualClock::default();
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let mut sleep = clock.sleep(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        assert_eq!(clock.until_next_sleeper(), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut cx).is_ready());
        let mut dropped = clock.sleep(Duration::from_secs(1));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        drop(dropped);
        assert_eq!(clock.until_next_sleeper(), None);
    }
}
