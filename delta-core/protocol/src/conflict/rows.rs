//! Following winners row by row.

use std::collections::{BTreeMap, BTreeSet};

use super::check::RowTouch;
use super::concatenation::{Concatenation, follow_rows};
use super::error::{Conflict, ReadScope};
use super::reads::Reads;
use super::winner::Winner;
use crate::action::{Add, Remove};
use crate::deletion_vector::{DeletionVector, DeletionVectorDescriptor};
use crate::error::{ProtocolError, Result};
use crate::stats::{record_count, with_wide_bounds};

/// Rows of a file that a transaction deletes, beside those that are deleted already.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The file as it is in the version that this transaction stands on.
    pub file: Add,
    /// The rows, by their place in the file, from 0.
    pub rows: DeletionVector,
}

/// What a transaction has at stake: what it read, and the files whose rows it changes one by one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stake {
    /// What was read.
    pub reads: Reads,
    /// Rows to be deleted, by path as it stands in the log.
    pub marks: BTreeMap<String, Mark>,
    /// Files to be put one after the other.
    pub concatenations: Vec<Concatenation>,
}

/// The deleted rows of a touched file, before and after a winner.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TouchedVectors {
    /// Before.
    pub before: DeletionVector,
    /// After; for a file whose rows moved, nothing.
    pub after: DeletionVector,
}

impl Stake {
    /// Moves behind a winner whose [check](super::Attempt::check) gave these touches, each with the vectors of its file.
    ///
    /// **Errors**: `ConcurrentRow` when both want the same row; `RowsMoved` when rows cannot be followed to another file;
    /// `ConcurrentAppend` when the winner brought rows of the file back. Then this value is half moved: drop it.
    ///
    /// **Cost**: one step for each row that is marked, read or deleted in a touched file.
    pub fn follow(&mut self, winner: &Winner<'_>, touches: &[(RowTouch<'_>, TouchedVectors)]) -> Result<(), Conflict> {
        let granular: BTreeSet<String> = self.reads.rows.keys().chain(self.marks.keys()).cloned().collect();
        let mut followed = BTreeSet::new();
        for (touch, vectors) in touches {
            match touch {
                RowTouch::Marked { path, after, .. } => self.follow_marks(winner, path, after, vectors)?,
                RowTouch::Moved { path, target, start, rows, .. } => {
                    let concatenations = winner.concatenations();
                    let sources = concatenations.sources(&target.path).unwrap_or_default();
                    let exact = sources.iter().all(|source| granular.contains(&source.path));
                    self.follow_move(winner, path, &Moved { target, start: *start, rows: *rows, exact }, &vectors.before)?;
                    followed.insert(*path);
                }
            }
        }
        self.follow_reads(winner, &followed);
        Ok(())
    }

    fn follow_marks(&mut self, winner: &Winner<'_>, path: &str, after: &Add, vectors: &TouchedVectors) -> Result<(), Conflict> {
        let (version, operation) = (winner.version, || winner.operation());
        if !vectors.before.minus(&vectors.after).is_empty() {
            // Rows came back, by a restore: who looked into the file did not see them.
            return Err(Conflict::ConcurrentAppend {
                version,
                operation: operation(),
                path: path.to_owned(),
                read: ReadScope::File,
            });
        }
        let deleted = vectors.after.minus(&vectors.before);
        let mark = self.marks.get_mut(path);
        let wanted = [mark.as_ref().map(|mark| &mark.rows), self.reads.rows.get(path)];
        if let Some(row) = wanted.into_iter().flatten().filter_map(|rows| rows.common_with(&deleted).first()).min() {
            return Err(Conflict::ConcurrentRow { version, operation: operation(), path: path.to_owned(), row });
        }
        if let Some(mark) = mark {
            mark.file = after.clone();
        }
        for concatenation in &mut self.concatenations {
            let Some((start, source)) = concatenation.place_of(path) else { continue };
            // Rows that other winners took away since it was copied are in the new file all the same.
            let Some(moved) = follow_rows(&deleted, &source.gone, start, source.rows) else {
                return Err(Conflict::RowsMoved { version, operation: operation(), path: path.to_owned() });
            };
            concatenation.deleted.union_with(&moved);
            for source in concatenation.sources.iter_mut().filter(|source| source.file.path == path) {
                source.file = after.clone();
            }
        }
        Ok(())
    }

    fn follow_move(&mut self, winner: &Winner<'_>, path: &str, to: &Moved<'_>, deleted: &DeletionVector) -> Result<(), Conflict> {
        let moved = |rows: &DeletionVector| follow_rows(rows, deleted, to.start, to.rows);
        if let Some(mark) = self.marks.remove(path) {
            let rows = moved(&mark.rows).ok_or_else(|| Conflict::RowsMoved {
                version: winner.version,
                operation: winner.operation(),
                path: path.to_owned(),
            })?;
            let there = self.marks.entry(to.target.path.clone());
            there.or_insert_with(|| Mark { file: to.target.clone(), rows: DeletionVector::new() }).rows.union_with(&rows);
        }
        if let Some(read) = self.reads.rows.remove(path) {
            match moved(&read).filter(|_| to.exact) {
                Some(rows) => self.reads.rows.entry(to.target.path.clone()).or_default().union_with(&rows),
                // Beside rows that are known one by one there are others that were read: then all of the file was.
                None if read.is_empty() => {}
                None => {
                    self.reads.files.insert(to.target.path.clone());
                }
            }
        }
        Ok(())
    }

    /// What was read of files that the winner rearranged is now somewhere in the files that it added.
    fn follow_reads(&mut self, winner: &Winner<'_>, followed: &BTreeSet<&str>) {
        let lost = |path: &str| {
            self.reads.files.contains(path)
                || (!followed.contains(path) && self.reads.rows.get(path).is_some_and(|rows| !rows.is_empty()))
        };
        if winner.removes().any(|remove| !remove.data_change && lost(&remove.path)) {
            let added = winner.adds().filter(|add| !add.data_change);
            self.reads.files.extend(added.map(|add| add.path.clone()));
        }
    }
}

/// Where the rows of a file went.
struct Moved<'a> {
    target: &'a Add,
    start: u64,
    rows: u64,
    /// Every row of the target that was read is known.
    exact: bool,
}

impl Mark {
    /// The file leaves as it was.
    pub fn to_remove(&self, deletion_timestamp_ms: i64) -> Remove {
        self.file.to_remove(deletion_timestamp_ms, true)
    }

    /// The file comes back with fewer rows: its statistics still hold, as bounds that need not be reached.
    ///
    /// **Errors**: `Invalid` when the file has no count of rows, without which the protocol allows no vector; `Corrupt` when its
    /// statistics are no JSON.
    ///
    /// **Source**: Delta protocol, "Writer Requirement for Deletion Vectors", "Per-file Statistics".
    pub fn to_add(&self, vector: DeletionVectorDescriptor) -> Result<Add> {
        with_vector(&self.file, vector, true)
    }
}

impl Concatenation {
    /// The new file, without the rows that winners deleted.
    ///
    /// **Errors**: as [`Mark::to_add`].
    pub fn to_add(&self, vector: Option<DeletionVectorDescriptor>) -> Result<Add> {
        match vector {
            Some(vector) => with_vector(&self.add, vector, false),
            None => Ok(self.add.clone()),
        }
    }
}

fn with_vector(file: &Add, vector: DeletionVectorDescriptor, data_change: bool) -> Result<Add> {
    let missing = || ProtocolError::NoRowCount { path: file.path.clone() };
    let stats = file.stats.as_deref().ok_or_else(missing)?;
    record_count(stats)?.ok_or_else(missing)?;
    let stats = Some(with_wide_bounds(stats)?);
    Ok(Add { stats, data_change, deletion_vector: Some(Box::new(vector)), ..file.clone() })
}
