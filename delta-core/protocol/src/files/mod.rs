//! The files of a table at a version: columns of facts, shared between versions.
//!
//! ```text
//!   CommitScan (newest first) ─┐
//!   CommitScan                 ├─▶ IndexBuilder ─▶ FileIndex ─ apply(CommitScan) ─▶ FileIndex of the next version
//!   checkpoint Segments ───────┘                      │
//!                                                     └─▶ FileRef ─ to_add ─▶ Add
//! ```
//! A [`Segment`] is an immutable run of added files, column by column: paths in one buffer, partition values by
//! dictionary, numbers in arrays. A [`FileIndex`] is a list of shared segments with one bit a file that says whether
//! it is still there. The next version shares all segments and adds its own; small ones are put together as a list
//! of them grows.
//!
//! Statistics are most of what a log says of a file, and most readers do not need them. A segment of a long log is
//! made without them; whoever needs them reads them again and [hands them in](Segment::set_stats).
//!
//! **Cost**: about 30 bytes for each file and its path; with statistics about a tenth of their text.
//!
//! **Source**: Delta protocol, "Action Reconciliation".

mod bits;
mod bounds;
mod build;
mod escapes;
mod index;
mod key;
mod lookup;
mod segment;
mod shared_texts;
mod stats;
mod texts;

pub use build::IndexBuilder;
pub(crate) use escapes::unescape;
pub use index::FileIndex;
pub use segment::{FileRef, NewFile, OpenStats, Segment, SegmentBuilder};
pub use stats::{StatsBlock, StatsBlockBuilder};
