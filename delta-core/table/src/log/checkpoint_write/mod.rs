//! Writing a checkpoint.
//!
//! ```text
//!   FileIndex ─ sorted by partition, then path ─▶ columns of a row group, encoded; two side by side ─▶ upload
//!                                                     ▲                                                  │
//!   statistics, straight from the log ─▶ Texts ───────┘                                                  │
//!   _last_checkpoint ◀─ unless a later one stands there ◀─ read back: head, number and bytes of files ◀──┘
//! ```
//! A million files are never a million values: their facts go from the columns of the index to the columns of Parquet.
//! The statistics of a million files are in memory as text at once; a longer list takes another pass over the log.
//!
//! Row groups are small, and a reader that wants one partition finds its files side by side: minima and maxima of
//! paths and partition values tell it which groups to skip.

mod adds;
mod contents;
mod parquet_file;
mod pointer;
mod stats_struct;
mod texts;
mod write;

pub(crate) use contents::Contents;
pub(crate) use write::{Shape, Written, write_checkpoint};
