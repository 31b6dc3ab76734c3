//! Deleting files that no version within the retention needs.
//!
//! ```text
//!   Full: LIST of the table ─┐
//!   Lite: commits of the log ├─▶ candidates ─ not hidden, old enough, not needed ─▶ (VACUUM START) delete (VACUUM END)
//!   Inventory of the caller ─┘                            ▲
//!                            active files and young tombstones, their deletion vectors
//! ```

mod builder;
mod candidates;
mod hidden;
mod needed;

pub use builder::{Retention, VacuumBuilder, VacuumReport};
pub use candidates::{InventoryFile, VacuumScope};
pub(crate) use needed::Needed;
