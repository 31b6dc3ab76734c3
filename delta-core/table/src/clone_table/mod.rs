//! Cloning a table: the same rows, somewhere else, from where both go their own ways.
//!
//! ```text
//!   shallow   the clone's log names the files of the source, by absolute paths: no row is copied
//!   deep      files and deletion vectors are copied; a clone of the same source again copies what is new alone
//!
//!   source version ─┬─ definition: schema, properties, protocol, domains ─▶ what the clone is
//!                   └─ files ─ plan against the files of the clone ─▶ copies ─▶ one commit
//! ```

mod builder;
mod definition;
mod plan;

pub use builder::{CloneBuilder, CloneDepth, CloneReport};
