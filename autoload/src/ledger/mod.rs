//! The durable memory of a source: which files were discovered in which order, which schema holds from which file on,
//! and what became of the files.
//!
//! # Format
//! ```text
//!   STATE/source.json                          who this state belongs to
//!   STATE/log/00000000000000000000.json        record 0 ┐
//!   STATE/log/00000000000000000001.json        record 1 ├ each written once, by put-if-absent
//!   STATE/log/00000000000000000002.json        record 2 ┘
//!   STATE/log/00000000000000000002.all.json    what records 0 to 2 say; then they may go
//!   STATE/files/00…00-00…64.parquet            files 0 to 63 of it: path, size, time, tag
//!   STATE/files/00…00-00…64.keys               their fingerprints, sorted, behind a bloom filter
//!   STATE/listing.json                         what need not be listed again; may be lost
//!   STATE/schemas/00000000000000000000.json    for people: schema version 0
//!   STATE/quarantine/00000000000000000007.jsonl  bad lines of file 7
//! ```
//! The log is the truth. A record is written whole or not at all, and takes effect in memory only when it
//! is durable. Two processes over one state see the same log: who loses the race for a number reads what
//! the winner wrote and plans again. The same holds for a write whose answer was lost.
//!
//! # Millions of files
//! A plan writes one record with its own files only. When records or their files become many, those files move to a
//! segment, and segments of like size are merged up to [`SEGMENT_FILES`]: a file is rewritten a few times in its life,
//! whatever their number. Memory holds the files of the loose records, a filter of ten bits for each other file, and
//! fingerprints within a budget; details of older files are read when somebody asks for them.
//!
//! A segment's name says which files it holds, and those never change: two processes that write the same name write the
//! same content. A segment that was merged goes one compaction later than the record that replaced it, so that a process
//! that is a little behind still finds it.

mod compact;
mod keys;
mod log;
mod lookup;
mod marks;
mod record;
mod segment;

pub(crate) use log::{Addition, Appended, Ledger};
pub(crate) use marks::CleanMark;
pub(crate) use record::{Landed, SchemaVersion};

/// Segments do not grow beyond this.
pub(crate) const SEGMENT_FILES: u64 = 256 << 10;
