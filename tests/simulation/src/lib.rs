//! Delta tables in a simulated world: many writers, a store that fails, a clock that jumps, and a checker of what the log
//! says afterwards.
//!
//! ```text
//!   seed ─▶ Schedule ─▶ actors ─ engine under test ─ FaultStore ─ Network ─▶ Disk
//!                          │                            (World: one clock, one trace)
//!                          ▼                                                   │
//!                       Ledger (what they were told) ──▶ checker ◀── log reader┘
//! ```
//!
//! From one seed follow: who writes and who reads, what they do, how long every request takes, which of them fail and
//! how (before, after, with a lost reply, done much later than its sender was told that it failed), listings that are put
//! together at two moments or are old, processes that end at one of their requests and begin anew without memory, and
//! clocks that are wrong. The same seed gives the same [`Trace`].
//!
//! Afterwards, a reader of the log that shares nothing with the engine says what was committed, and the checker proves:
//! - what was acknowledged is there once, what was refused is not there, what nobody knows is there at most once;
//! - every commit had the effect that its operation means at its place in the log ([`Violation::NotSerializable`]);
//! - no row is lost or doubled, and no file that is needed is gone;
//! - where the table tracks its rows, a row keeps its id wherever it is written, and shares it with no other;
//! - every snapshot, then and now, says what the log says, and none is older than what had been acknowledged;
//! - every error has a cause in the schedule, and no append ever fails because of another writer;
//! - after all faults have ended, a new writer writes.
//!
//! # What it is not
//! No test of expressions or SQL: operations are those of `boathouse-delta-table`. Files are tiny, so uploads in parts do
//! not occur. Threads of the engine are waited for, not interleaved.
//!
//! # Commands
//! `BOATHOUSE_SCHEDULES=1000000` runs more schedules than the test does by itself, from `BOATHOUSE_FIRST_SEED` on, and with
//! `BOATHOUSE_KEEP_GOING=1` all of them; `BOATHOUSE_SEED=42` runs one and prints all that happens in it.

mod actor;
mod chance;
mod checker;
mod data_files;
mod disk;
mod engine;
mod executor;
mod identities;
mod intent;
mod ledger;
mod log_reader;
mod network;
mod sabotage;
mod schedule;
mod simulation;
mod sweep;
mod tally;
mod trace;
mod vectors;
mod violation;
mod weather;
mod world;

pub use sabotage::Sabotage;
pub use schedule::Schedule;
pub use simulation::{Report, Simulation};
pub use sweep::{Sweep, Swept};
pub use tally::Tally;
pub use trace::Trace;
pub use violation::Violation;
