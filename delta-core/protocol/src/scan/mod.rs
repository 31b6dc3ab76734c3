//! Commits, read as bytes: the fast way to what replay needs of them.
//!
//! ```text
//!   bytes ─ line ─▶ which action? ─▶ add, remove: decode the fields that are wanted, borrow texts ─▶ Segment
//!                        │
//!                        ├─▶ metaData, protocol, txn, …: the JSON parser ─▶ Action
//!                        └─▶ not wanted: on to the next line
//! ```
//! What does not look as every writer writes it is given to the JSON parser, which accepts it or says what is wrong:
//! both ways mean the same. [`commit::parse`](crate::commit::parse) is the slow one, with all actions as values.

mod cursor;
mod file_action;
mod scanner;

pub(crate) use cursor::Cursor;
pub use scanner::{CommitScan, CommitScanner, RemovedFile, Wanted};
