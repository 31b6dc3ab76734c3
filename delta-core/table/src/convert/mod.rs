//! Making a table of a folder of Parquet files, where they are.
//!
//! ```text
//!   folder ─ list ─▶ files and the values in the names of their folders ─ footers ─▶ schemas, statistics
//!          ─ one schema that all files fit ─▶ version 0, which names them: no file is written, moved or changed
//! ```
//!
//! **Source**: the reference implementation, `CONVERT TO DELTA`.

mod builder;
mod footers;
mod partitions;

pub use builder::{ConvertBuilder, ConvertReport, ConvertStatistics};
