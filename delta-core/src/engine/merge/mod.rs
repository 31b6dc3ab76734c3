//! MERGE: rows of a source change, delete and add rows of the table.
//!
//! ```text
//!   source ─ keys ─▶ files, row groups, pages, rows that can match ─ columns of the conditions ─▶ join ─▶ pairs (file, row, source row, clause)
//!                                                                                   │
//!   files without a match ── by-source clauses ──▶ (file, row, clause) ─────────────┤
//!                                                                                   ▼
//!   source rows without a match ── insert clauses ──▶ new files ◀── rows that change, or files that are copied
//! ```
//! The source is read once and held, in memory or on disk, so that all steps see the same rows; so are the pairs (`budget` says how much
//! of each stays in memory). A merge that only inserts is a semi join
//! that tells which source rows are there already, and an append; one without clauses for source rows alone is an inner join.

mod apply;
mod budget;
mod builder;
mod clause;
mod insert;
mod keys;
mod matches;
mod pairs;
mod plan;
mod report;
mod source;
mod spans;

pub use builder::MergeBuilder;
pub use clause::{MergeDelete, MergeInsert, MergeUpdate};
pub use report::MergeReport;

pub(crate) use keys::KeyFilter;
