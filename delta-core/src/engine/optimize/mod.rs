//! OPTIMIZE: files put together, ordered along a curve, clustered, or freed of what was deleted. The rows stay the same.
//!
//! ```text
//!   files ─ choose ─▶ bins ─┬─ compact ─ read in order, write one file ──────────────▶ concatenate ─┐
//!                           └─ order ── sample ─ keys ─ spread over ranges, spill ─ sort each ─▶ add ┴─▶ Transaction
//! ```

mod auto;
mod bin;
mod builder;
mod choose;
mod cluster;
mod column;
mod compact;
mod curve;
mod keys;
mod order;
mod purge;
mod ranges;
mod report;
mod settings;
mod sort;
mod spread;

pub(crate) use auto::after_commit;
pub use builder::OptimizeBuilder;
pub use report::{FileSizes, OptimizeReport};
pub use settings::{OptimizeCommits, OptimizeSettings};
