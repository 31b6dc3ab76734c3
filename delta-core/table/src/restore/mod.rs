//! Making an earlier version the newest one.
//!
//! ```text
//!   files of the version that are not in the table
//!     ├─ none of their objects may be vacuumed yet ─ a HEAD each ─▶ added again as they were
//!     └─ some may be ─ copied under new names ────────────────────▶ added by these names
//! ```

mod builder;
mod revive;

pub use builder::{RestoreBuilder, RestoreReport};
