//! Replay: from a checkpoint and the commits after it to the state of the table.
//!
//! ```text
//!   checkpoint actions ─▶ apply_checkpoint ─┐
//!   commit v+1         ─▶ apply_commit      ├─▶ finish ─▶ TableState ─ resume ─▶ apply_commit (later ones) …
//!   commit v+2         ─▶ apply_commit ─────┘
//! ```
//! Commits are applied oldest first. Within a commit removals come before additions, so that the order of its
//! lines does not matter. The order of files in the state is that of their first appearance: the same log gives
//! the same order.
//!
//! **Source**: Delta protocol, "Action Reconciliation".

mod files;
mod fold;
mod state;

pub use files::FileSet;
pub use fold::Replay;
pub use state::{AppTxn, TableState};
