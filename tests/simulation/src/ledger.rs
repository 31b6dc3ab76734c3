//! What actors tried, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_base::ErrorKind;

use crate::data_files::Row;
use crate::intent::Intent;

/// What an actor was told about its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing: its process ended first, or still runs.
    Unknown,
    /// It is not known whether it happened.
    Undecided { message: String },
    /// It is this version.
    Committed { version: u64 },
    /// There was nothing to do, or nothing to commit.
    Nothing,
    /// Another one did it before.
    Skipped,
    /// It did not happen.
    Refused { kind: ErrorKind, message: String },
}

/// A version that an operation looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) version: u64,
    /// Whether it asked for the newest one; then, the newest version that was acknowledged before it asked.
    pub(crate) newest_since: Option<Option<u64>>,
    /// The files, by path.
    pub(crate) files: BTreeSet<String>,
    /// The rows, when it read them: by id, and how often.
    pub(crate) rows: Option<Vec<Row>>,
    pub(crate) properties: BTreeMap<String, String>,
}

/// One try of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) actor: usize,
    pub(crate) intent: Intent,
    pub(crate) outcome: Outcome,
    /// The version that a restore asked for.
    pub(crate) restored: Option<u64>,
    pub(crate) observations: Vec<Observation>,
    /// What came of each row of a burst.
    pub(crate) members: BTreeMap<i64, Outcome>,
}

impl Outcome {
    pub(crate) fn version(&self) -> Option<u64> {
        match self {
            Self::Committed { version } => Some(*version),
            _ => None,
        }
    }

    pub(crate) fn refusal(&self) -> Option<(ErrorKind, &str)> {
        match self {
            Self::Refused { kind, message } => Some((*kind, message)),
            _ => None,
        }
    }
}

/// What actors tried. Clones are one ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Attempt>>>);

impl Ledger {
    pub(crate) fn begin(&self, actor: usize, intent: Intent) -> usize {
        let mut attempts = self.lock();
        attempts.push(Attempt {
            actor,
            intent,
            outcome: Outcome::Unknown,
            restored: None,
            observations: Vec::new(),
            members: BTreeMap::new(),
        });
        attempts.len() - 1
    }

    pub(crate) fn change(&self, op: usize, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.lock().get_mut(op) {
            change(attempt);
        }
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
