//! Changing what a table is, and not its rows: columns, constraints, properties.
//!
//! ```text
//!   changes ─▶ draft: schema, properties, partition columns ─▶ rules still understood? rows obey new ones? ─▶ metaData, protocol
//! ```

mod builder;
mod change;
mod draft;
mod identity;
mod required;

pub use builder::{AlterBuilder, AlterReport};
pub use change::ColumnPlace;
