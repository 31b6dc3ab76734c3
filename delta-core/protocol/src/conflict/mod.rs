//! Conflicts: whether a transaction still holds after another one was faster, and what of it has to move.
//!
//! A transaction reads a version, stages actions, and tries to commit them as the next version. When that version
//! is taken, its actions (the *winner's*) are checked against what was read and staged ([`Stake`]); without a conflict the
//! transaction moves behind the winner and tries the version after it.
//!
//! ```text
//!   Stake ──▶ Attempt::check(winner) ──▶ Conflict
//!                    │ row touches: files whose rows both of them changed
//!                    ▼
//!             vectors of those files ──▶ Stake::follow ──▶ Conflict, or a Stake that stands on the winner
//!                                                                │
//!   Ground::follow(winner) ──▶ Ground ──────────────────────▶ Ground::settle(actions) ──▶ the next version
//! ```
//!
//! | winner did | this transaction | |
//! | --- | --- | --- |
//! | change the protocol | anything | conflict |
//! | change schema, partitioning or a property that matters to what is staged | anything | conflict |
//! | add a column that may be null, or a property that what is staged does not act on | stages no metadata, and did not read it | fine |
//! | add rows | read nothing (a blind append), or only rearranges rows | fine |
//! | add rows | read the whole table, or a predicate that the new file may match | conflict |
//! | add rows, as a blind append | the same, under `WriteSerializable`, without staging metadata | fine |
//! | rearrange rows (`dataChange` false) | read them | fine: they are the same rows |
//! | remove rows | read nothing | fine |
//! | remove rows | read the file, the whole table, or a predicate that the file may match | conflict |
//! | remove rows | read that file row by row, and none of these rows | fine |
//! | remove a file, even to rearrange it | removes or changes the same file | conflict |
//! | mark rows of a file as deleted | marks other rows of it | fine: both sets are marked |
//! | mark rows of a file as deleted | marks one of them as well | conflict, which names the row |
//! | put whole files one after the other into a new one, and says how | marks rows of one of them | fine: the marks move to the new file |
//! | mark rows of a file as deleted | puts that file with others into a new one | fine: the new file gets the marks |
//! | write a `txn` or a domain | writes or has read the same one | conflict |
//! | write `delta.rowTracking` | anything | fine: row ids are given out anew |
//!
//! So an append never loses against appends, deletes or compaction.
//!
//! # Row by row
//! Let `base` be the deleted rows of a file when it was read, `theirs` those after the winner, `ours` those that this transaction
//! wants. Both can be had when `(theirs ∩ ours) \ base` is empty, and the file then has `theirs ∪ ours`. Rows that were only looked
//! at count as well: `(theirs \ base)` may hold none of them.
//!
//! Two examples, with `base = {1}` and a transaction that marks row 4. The winner leaves `{1, 7}`: the file gets `{1, 4, 7}`.
//! The winner leaves `{1, 4}`: a conflict, for row 4 would be deleted, or updated, twice.
//!
//! **Source**: Delta documentation, "Concurrency control"; Delta protocol, "Domain Metadata", "Deletion Vectors", "Row Tracking",
//! "In-Commit Timestamps".

mod check;
mod concatenation;
mod error;
mod ground;
mod metadata;
mod reads;
mod row_tracking;
mod rows;
mod winner;

pub use check::{Attempt, RowTouch};
pub use concatenation::{Concatenation, Concatenations, Place, Source, Stretch};
pub use error::{Conflict, ReadScope};
pub use ground::Ground;
pub use metadata::change_that_matters;
pub use reads::Reads;
pub use row_tracking::ROW_TRACKING_DOMAIN;
pub use rows::{Mark, Stake, TouchedVectors};
pub use winner::Winner;
