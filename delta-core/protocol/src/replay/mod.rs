//! Replay: from a checkpoint and the commits after it to what the table is.
//!
//! ```text
//!   checkpoint actions ─▶ apply_checkpoint ─┐
//!   commit v+1         ─▶ apply_commit      ├─▶ finish ─▶ TableState ─ resume ─▶ apply_commit (later ones) …
//!   commit v+2         ─▶ apply_commit ─────┘
//! ```
//! Commits are applied oldest first. Files are not here: few readers of a table need all of them. See
//! [`files`](crate::files).
//!
//! **Source**: Delta protocol, "Action Reconciliation".

mod fold;
mod state;
mod tombstones;

pub use fold::Replay;
pub use state::{AppTxn, TableState};
pub use tombstones::Tombstones;
