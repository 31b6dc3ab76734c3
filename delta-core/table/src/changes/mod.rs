//! The change feed: which rows came, left, and became others, version by version.
//!
//! ```text
//!   versions ─▶ commits ─▶ files of changes, or added and removed files, or two deletion vectors of one file ─▶ rows
//! ```

mod builder;
mod commits;
mod pieces;
mod range;

pub use builder::{ChangesBuilder, changes_schema};
pub use commits::CommittedChanges;
pub use range::{ChangeRange, OutOfRange};
