//! MERGE: rows of a source change, delete and add rows of the table.
//!
//! ```text
//!   source ─ keys ─▶ files that can match ─ columns of the conditions ─▶ join ─▶ pairs (file, row, source row, clause)
//!                                                                                   │
//!   files without a match ── by-source clauses ──▶ (file, row, clause) ─────────────┤
//!                                                                                   ▼
//!   source rows without a match ── insert clauses ──▶ new files ◀── files with a change, written again
//! ```
//! The source is read once and held in memory, so that all steps see the same rows. Of the table, only files with a
//! change are read whole.

mod apply;
mod builder;
mod clause;
mod insert;
mod matches;
mod plan;
mod report;
mod source;

pub use builder::MergeBuilder;
pub use clause::{MergeDelete, MergeInsert, MergeUpdate};
pub use report::MergeReport;
