//! How much of what happened: a simulation in which nothing happens proves nothing.

use std::ops::AddAssign;

use boathouse_base::ErrorKind;

use crate::intent::Intent;
use crate::ledger::{Attempt, Outcome};
use crate::trace::Event;
use crate::world::Inside;

/// How much of what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Simulated worlds.
    pub schedules: u64,
    /// Operations that were begun.
    pub operations: u64,
    /// Operations that committed a version.
    pub commits: u64,
    /// Operations that lost to another writer.
    pub conflicts: u64,
    /// Operations that failed because of the store.
    pub unavailable: u64,
    /// Operations whose outcome was not known to the engine.
    pub undecided: u64,
    /// Operations that found their work done by another instance.
    pub skipped: u64,
    /// Operations in which a process ended.
    pub crashed: u64,
    /// Snapshots whose rows were read.
    pub reads: u64,
    /// Versions that were brought back.
    pub restores: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Requests that failed for their sender and were done later.
    pub late: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Operations that marked rows of files as deleted.
    pub marks: u64,
    /// Appends that went along in the commit of another one.
    pub shared: u64,
    /// Data files that were deleted.
    pub deleted: u64,
    /// Data files that were copied, because they came back.
    pub copied: u64,
}

impl Tally {
    pub(crate) fn of(attempts: &[Attempt], inside: &Inside) -> Self {
        let mut tally = Self { schedules: 1, operations: attempts.len() as u64, requests: inside.requests, ..Self::default() };
        for attempt in attempts {
            match &attempt.outcome {
                Outcome::Committed { .. } => {
                    tally.commits += 1;
                    tally.restores += u64::from(matches!(attempt.intent, Intent::Restore { .. }));
                }
                Outcome::Refused { kind: ErrorKind::Conflict, .. } => tally.conflicts += 1,
                Outcome::Refused { .. } => tally.unavailable += 1,
                Outcome::Undecided { .. } => tally.undecided += 1,
                Outcome::Skipped => tally.skipped += 1,
                Outcome::Unknown => tally.crashed += 1,
                Outcome::Nothing => {}
            }
            let marks = matches!((&attempt.intent, &attempt.outcome), (Intent::Mark { .. }, Outcome::Committed { .. }));
            tally.marks += u64::from(marks);
            let versions: Vec<u64> = attempt.members.values().filter_map(Outcome::version).collect();
            let distinct: std::collections::BTreeSet<&u64> = versions.iter().collect();
            tally.shared += (versions.len() - distinct.len()) as u64;
            tally.reads += attempt.observations.iter().filter(|seen| seen.rows.is_some()).count() as u64;
        }
        for event in inside.trace.events() {
            match event {
                Event::Delayed { .. } => tally.late += 1,
                Event::Asked { operation, path, .. } if operation.is_write() && path.ends_with(".parquet") => {
                    if path.contains(".checkpoint.") {
                        tally.checkpoints += 1;
                    } else if *operation == boathouse_storage::Operation::Delete {
                        tally.deleted += 1;
                    } else if *operation == boathouse_storage::Operation::Copy {
                        tally.copied += 1;
                    }
                }
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            schedules,
            operations,
            commits,
            conflicts,
            unavailable,
            undecided,
            skipped,
            crashed,
            reads,
            restores,
            requests,
            late,
            checkpoints,
            marks,
            shared,
            deleted,
            copied,
        } = other;
        self.schedules += schedules;
        self.operations += operations;
        self.commits += commits;
        self.conflicts += conflicts;
        self.unavailable += unavailable;
        self.undecided += undecided;
        self.skipped += skipped;
        self.crashed += crashed;
        self.reads += reads;
        self.restores += restores;
        self.requests += requests;
        self.late += late;
        self.checkpoints += checkpoints;
        self.marks += marks;
        self.shared += shared;
        self.deleted += deleted;
        self.copied += copied;
    }
}
