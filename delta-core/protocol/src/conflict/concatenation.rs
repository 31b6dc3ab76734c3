//! Files put one after the other into a new one: following a row from the old file to the new.
//!
//! A commit that compacts files and keeps the order of their rows says so in its commit info:
//! ```text
//!   "boathouseConcatenated": {"new.parquet": [{"path": "a.parquet", "rows": 3}, {"path": "b.parquet", "rows": 2}]}
//!
//!   a.parquet, 4 rows, row 1 deleted     new.parquet
//!     0 ────────────────────────────────▶ 0
//!     1 ✗
//!     2 ────────────────────────────────▶ 1
//!     3 ────────────────────────────────▶ 2
//!   b.parquet, 2 rows
//!     0, 1 ─────────────────────────────▶ 3, 4
//! ```
//! `rows` are the rows that a source gave: those that were not deleted when it was read. `vector` is the deletion vector that it had then.
//! That may not be the one with which it leaves: rows that were deleted while it was copied are in the new file, and in its vector. Paths
//! are as they stand in the log. The record belongs to the commit, not to the file, because only those need it who commit at the same time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Add, CommitInfo};
use crate::deletion_vector::{DeletionVector, DeletionVectorDescriptor};

/// The field of the commit info.
const FIELD: &str = "boathouseConcatenated";

/// What a source gave to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The source, as it stands in the log.
    pub path: String,
    /// How many rows came from it.
    pub rows: u64,
    /// The rows that it had lost when it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<DeletionVectorDescriptor>,
}

/// Where the rows of a source went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The new file.
    pub target: &'a str,
    /// The first row there.
    pub start: u64,
    /// How many there are.
    pub rows: u64,
    /// The rows that were not copied, because they were deleted.
    pub vector: Option<&'a DeletionVectorDescriptor>,
}

/// How the files that a commit adds were put together, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Concatenations(BTreeMap<String, Vec<Stretch>>);

impl Concatenations {
    /// What a commit says. A record that is not understood is none.
    pub fn of_info(info: &CommitInfo) -> Self {
        let found = info.extra.get(FIELD).and_then(|value| BTreeMap::deserialize(value).ok());
        Self(found.unwrap_or_default())
    }

    /// Puts the record into a commit info. Nothing to say leaves no trace.
    pub fn keep(&self, info: &mut CommitInfo) {
        if !self.0.is_empty() {
            info.extra.insert(FIELD.to_owned(), serde_json::to_value(&self.0).unwrap_or(Value::Null));
        }
    }

    /// Says how a file was put together.
    pub fn insert(&mut self, path: impl Into<String>, stretches: Vec<Stretch>) {
        self.0.insert(path.into(), stretches);
    }

    /// Whether no file was put together.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sources of a file, in order.
    pub fn sources(&self, path: &str) -> Option<&[Stretch]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// Where the rows of a source went.
    ///
    /// Nothing when it is not known: no record, a source that is named twice, or numbers that overflow.
    pub fn place_of(&self, source: &str) -> Option<Place<'_>> {
        let mut found = None;
        for (path, stretches) in &self.0 {
            let mut start: u64 = 0;
            for stretch in stretches {
                let place = Place { target: path, start, rows: stretch.rows, vector: stretch.vector.as_ref() };
                if stretch.path == source && found.replace(place).is_some() {
                    return None;
                }
                start = start.checked_add(stretch.rows)?;
            }
        }
        found
    }
}

/// Where rows of a source are in the file that was put together from it.
///
/// `deleted` are the rows that the source had lost by then, which were not copied; `start` and `count` are what
/// [`Concatenations::place_of`] says. Nothing when a row was not copied, or lies behind `count`.
pub(super) fn follow_rows(rows: &DeletionVector, deleted: &DeletionVector, start: u64, count: u64) -> Option<DeletionVector> {
    let mut followed = DeletionVector::new();
    for row in rows.iter() {
        let rank = row - deleted.count_in(0..row);
        if deleted.contains(row) || rank >= count {
            return None;
        }
        followed.insert(start.checked_add(rank)?);
    }
    Some(followed)
}

/// Files that a transaction puts one after the other into a new one.
///
/// The file and its sources are not among the staged actions: what becomes of them is known when the transaction stands on
/// its last winner.
#[derive(Debug, Clone, PartialEq)]
pub struct Concatenation {
    /// The new file.
    pub add: Add,
    /// Its sources, in order.
    pub sources: Vec<Source>,
    /// Rows of the new file that winners deleted from a source meanwhile.
    pub deleted: DeletionVector,
}

/// A file that is put together with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The file as it is in the version that this transaction stands on.
    pub file: Add,
    /// How many rows it gave.
    pub rows: u64,
    /// The vector that it had when it was copied.
    pub vector: Option<DeletionVectorDescriptor>,
    /// The rows in that vector: they were not copied.
    pub gone: DeletionVector,
}

impl Concatenation {
    /// Where the rows of a source are in the new file.
    pub(super) fn place_of(&self, path: &str) -> Option<(u64, &Source)> {
        let mut start: u64 = 0;
        for source in &self.sources {
            if source.file.path == path {
                return Some((start, source));
            }
            start = start.checked_add(source.rows)?;
        }
        None
    }

    /// What the commit says of it.
    pub fn stretches(&self) -> Vec<Stretch> {
        let stretch = |s: &Source| Stretch { path: s.file.path.clone(), rows: s.rows, vector: s.vector.clone() };
        self.sources.iter().map(stretch).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretch(path: &str, rows: u64) -> Stretch {
        Stretch { path: path.to_owned(), rows, vector: None }
    }

    #[test]
    fn a_record_is_kept_in_the_commit_info_and_found_again() {
        let mut all = Concatenations::default();
        all.insert("new", vec![stretch("a", 3), stretch("b", 2)]);
        let mut info = CommitInfo::default();
        all.keep(&mut info);
        let found = Concatenations::of_info(&info);
        assert_eq!(found, all);
        let place = |start, rows| Some(Place { target: "new", start, rows, vector: None });
        assert_eq!((found.place_of("a"), found.place_of("b")), (place(0, 3), place(3, 2)));
        assert_eq!(found.place_of("c"), None);
        let mut empty = CommitInfo::default();
        Concatenations::default().keep(&mut empty);
        assert!(empty.extra.is_empty());
    }

    #[test]
    fn a_record_that_says_two_things_or_nonsense_says_nothing() {
        let mut twice = Concatenations::default();
        twice.insert("new", vec![stretch("a", 3), stretch("a", 2)]);
        assert_eq!(twice.place_of("a"), None);
        let mut vast = Concatenations::default();
        vast.insert("new", vec![stretch("x", u64::MAX), stretch("y", 2), stretch("a", 1)]);
        assert_eq!(vast.place_of("a"), None);
        let mut info = CommitInfo::default();
        info.extra.insert(FIELD.to_owned(), Value::from("no map"));
        assert!(Concatenations::of_info(&info).is_empty());
    }

    proptest! {
        #[test]
        fn rows_are_followed_as_if_they_had_been_copied_one_by_one(
            deleted in prop::collection::btree_set(0..40_u64, 0..20),
            marks in prop::collection::btree_set(0..45_u64, 0..20),
            start in 0..100_u64,
        ) {
            // The slow way: copy the rows and write down where each came from.
            let copied: Vec<u64> = (0..40).filter(|row| !deleted.contains(row)).collect();
            let slow: Option<Vec<u64>> =
                marks.iter().map(|row| copied.iter().position(|c| c == row).map(|at| start + at as u64)).collect();
            let gone: DeletionVector = deleted.iter().copied().collect();
            let rows: DeletionVector = marks.iter().copied().collect();
            let fast = follow_rows(&rows, &gone, start, copied.len() as u64);
            prop_assert_eq!(fast.map(|rows| rows.iter().collect::<Vec<_>>()), slow);
        }
    }
}
