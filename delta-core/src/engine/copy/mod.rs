//! COPY INTO: files of other formats become rows, each file once.
//!
//! ```text
//!   a folder ─ SourceFiles ─▶ files ─ what the table's `txn`s know ─▶ those that are new
//!                                                                          │ FileFormat: the columns of each
//!                                                                          ▼
//!                               append, one `txn` a file ◀─ SELECT ◀─ Reading: rows with the types of the table
//! ```
//!
//! That a file was loaded stands in the same commit as its rows, as a `txn` whose application is `copyInto:` and the URL of the file. Two
//! statements that load one file at once conflict; the one that comes second looks again and leaves that file out.

mod builder;
mod columns;
mod files;
mod format;
mod reading;
mod report;

pub use builder::CopyBuilder;
pub use files::{CopySettings, CorruptFiles, MissingFiles};
pub use format::{CopyFormat, CsvFiles, JsonFiles};
pub use report::{CopyPreview, CopyReport, CopyValidation};
