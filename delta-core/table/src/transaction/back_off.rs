//! Waiting between two attempts.

use std::time::Duration;

use boathouse_base::Env;

/// The first wait; it doubles up to [`LONGEST_WAIT`], and a part of it is left to chance.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(1000);

/// The longest wait after a lost race. A store that answers needs no rest, and who waits long falls behind for ever.
const LONGEST_TURN: Duration = Duration::from_millis(80);

/// Waits for a store that does not answer: a random part of a time that grows with every attempt.
pub(super) async fn back_off(env: &Env, attempt: u32) {
    wait(env, attempt, LONGEST_WAIT).await;
}

/// Waits after another writer was faster.
pub(super) async fn wait_for_turn(env: &Env, attempt: u32) {
    wait(env, attempt, LONGEST_TURN).await;
}

async fn wait(env: &Env, attempt: u32, longest: Duration) {
    let longest = FIRST_WAIT.saturating_mul(1 << attempt.min(10)).min(longest);
    let us = env.random_below(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX));
    env.sleep(Duration::from_micros(us)).await;
}
