//! What a transaction has read.

use std::collections::{BTreeMap, BTreeSet};

use boathouse_base::Predicate;

use crate::deletion_vector::DeletionVector;

/// What a transaction has read of the table. Empty: nothing, as a blind append.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reads {
    /// All rows.
    pub whole_table: bool,
    /// The rows that match one of these.
    pub predicates: Vec<Predicate>,
    /// The rows of these files, by path as it stands in the log.
    pub files: BTreeSet<String>,
    /// Of these files exactly these rows, by path as it stands in the log.
    ///
    /// For such a file it goes before [`whole_table`](Self::whole_table) and [`predicates`](Self::predicates), which then say only which
    /// *new* rows matter: who has looked into a file knows better than its statistics which rows of it counted. No row at all: the file
    /// was searched, and nothing in it was found.
    pub rows: BTreeMap<String, DeletionVector>,
    /// The `txn` of these writers.
    pub app_ids: BTreeSet<String>,
    /// These metadata domains.
    pub domains: BTreeSet<String>,
    /// Schema, properties or other metadata, in a way that no change of them is harmless.
    pub metadata: bool,
}

impl Reads {
    /// Whether no row was read. Names of applications and domains are not rows.
    pub fn no_rows(&self) -> bool {
        !self.whole_table && self.predicates.is_empty() && self.files.is_empty() && self.rows.is_empty()
    }

    /// Adds what another part of the same transaction has read.
    pub fn union_with(&mut self, other: Self) {
        self.whole_table |= other.whole_table;
        self.predicates.extend(other.predicates);
        self.files.extend(other.files);
        for (path, rows) in other.rows {
            self.rows.entry(path).or_default().union_with(&rows);
        }
        self.app_ids.extend(other.app_ids);
        self.domains.extend(other.domains);
        self.metadata |= other.metadata;
    }
}
