//! Crash points: the places between two durable steps, where a test can make a query die.
//!
//! ```text
//!   plan ─▶ AfterPlan ─▶ read ─▶ AfterRead ─▶ BeforeStateWrite ─▶ state ─▶ AfterStateWrite
//!        ─▶ BeforeSinkCommit ─▶ commit (MidCommit) ─▶ AfterSinkCommit ─▶ late rows ─▶ AfterLateRows ─▶ hint ─▶ AfterHint ─▶ source told ─▶ AfterSourceCommit
//! ```
//! Whatever the point, a query that is opened again over the same checkpoint goes on as if nothing had happened.

use std::fmt;

/// A place where a query can be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CrashPoint {
    /// The source has said what the epoch reads.
    AfterPlan,
    /// The source gives its rows; with windows, they have been aggregated.
    AfterRead,
    /// The state of the windows is about to be written.
    BeforeStateWrite,
    /// The state is written, and nothing refers to it yet.
    AfterStateWrite,
    /// The sink is about to be given the epoch.
    BeforeSinkCommit,
    /// The sink has been given all rows but the end of them.
    MidCommit,
    /// The sink has committed.
    AfterSinkCommit,
    /// The sink of late rows has those of the epoch.
    AfterLateRows,
    /// The checkpoint has its copy of the position.
    AfterHint,
    /// The source knows that the range is safe.
    AfterSourceCommit,
}

impl CrashPoint {
    /// All of them, in the order in which an epoch passes them.
    pub const ALL: [Self; 10] = [
        Self::AfterPlan,
        Self::AfterRead,
        Self::BeforeStateWrite,
        Self::AfterStateWrite,
        Self::BeforeSinkCommit,
        Self::MidCommit,
        Self::AfterSinkCommit,
        Self::AfterLateRows,
        Self::AfterHint,
        Self::AfterSourceCommit,
    ];
}

/// Decides where a query dies. For tests: a query without one never asks.
pub trait CrashPoints: Send + Sync {
    /// Whether the query dies here.
    fn crashes(&self, point: CrashPoint, epoch: u64) -> bool;
}

impl<F: Fn(CrashPoint, u64) -> bool + Send + Sync> CrashPoints for F {
    fn crashes(&self, point: CrashPoint, epoch: u64) -> bool {
        self(point, epoch)
    }
}

impl fmt::Debug for dyn CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashPoints")
    }
}
