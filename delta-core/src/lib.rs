//! Delta Lake for Rust: tables, transactions and the DataFusion engine over them.
//!
//! ```text
//!   DeltaTable ── snapshot, append, overwrite, restore, history …       (boathouse_delta_table)
//!       │
//!       └── DeltaSource ── the rows that each commit added, as a stream
//! ```
//!
//! This crate is the face of Delta: it re-exports the [tables](table) and the [protocol].

mod source;
mod source_error;

pub use boathouse_delta_protocol as protocol;
pub use boathouse_delta_table as table;
pub use boathouse_delta_table::*;
pub use source::DeltaSource;
pub use source_error::DeltaSourceError;
