//! Running a future on a clock that moves whenever everybody waits.

use std::pin::pin;

use boathouse_base::ManualClock;

/// Polls within which work on the same thread gets on before the clock moves.
const QUIET_TURNS: u32 = 32;

/// Runs `future` to its end on `clock`: whenever it has nothing left to do but wait, the clock jumps to the next sleeper.
///
/// Simulated hours pass in no time. Use it on a current-thread runtime and over stores in memory: work on other threads
/// (local files, spawned blocking tasks) is not seen, and the clock may then move before it is done.
pub async fn run_on_clock<F: Future>(clock: &ManualClock, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut quiet = 0;
    loop {
        tokio::select! {
            biased;
            output = &mut future => return output,
            () = tokio::task::yield_now() => {}
        }
        quiet += 1;
        if quiet >= QUIET_TURNS {
            quiet = 0;
            if let Some(wait) = clock.until_next_sleeper() {
                clock.advance(wait);
            }
        }
    }
}
