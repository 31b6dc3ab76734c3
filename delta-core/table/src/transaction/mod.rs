//! Transactions: what was read, what is changed, and one atomic commit.
//!
//! ```text
//!   begin(snapshot) ─ read_… ─ add, remove, delete_rows, … ─▶ commit
//!                                                               │ check: may the table be changed like this?
//!             ┌─────────────────────────────────────────────────┤
//!             │ only adds rows: wait for a commit that is        │ anything else
//!             ▼ under way in this process, then go together      ▼
//!        CommitQueue ── group of appends ──▶ Pursuit: actions for VERSION + 1 ─▶ Committer: put-if-absent
//!                                              ▲                                   │ taken
//!                                              │                                   ├─▶ by ourselves (a reply got lost): done
//!                                wait, go behind it, rebase ◀──────────────────────┴─▶ by another: no conflict ─ or ─▶ Conflict
//! ```
//! Every attempt carries the same transaction id in its commit info. A writer that is told "failed" or "exists
//! already" looks at the commit that is there, and knows its own again: nothing is ever written twice.

mod back_off;
mod builder;
mod check;
mod commit;
mod group;
mod member;
mod pursuit;
mod put;
mod recent;
mod vectors;

pub use builder::Transaction;
pub use commit::CommitReport;
pub use member::GroupMember;

pub(crate) use group::CommitQueue;
pub(crate) use member::members;
pub(crate) use recent::RecentCommits;
