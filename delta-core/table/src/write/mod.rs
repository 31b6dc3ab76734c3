//! Writing rows.
//!
//! ```text
//!   batches ─ check and cast ─ split by partition ─▶ FileEncoder (one a partition) ─▶ objects in the store
//!                                                         └─ statistics ─▶ Add ─▶ Transaction ─▶ a version
//! ```

mod builder;
mod changes;
mod choice;
mod columns;
mod data_writer;
mod define;
mod encoder;
mod evolve;
pub(crate) mod flat;
mod glue;
mod partition;
mod replace;
mod row_group;
pub(crate) mod statistics;
pub(crate) mod upload;

pub use builder::WriteBuilder;
pub use changes::{ChangeType, ChangeWriter, WrittenChanges};
pub(crate) use data_writer::discard;
pub use data_writer::{DataWriter, DataWriterSettings, RowOrder, WrittenFiles};
pub(crate) use define::Definition;
pub use evolve::Evolution;
