//! What a writer does for later readers, after its commit: checksums, checkpoints, compacted commits, a clean log.
//!
//! ```text
//!   commit of version v ─▶ after_commit ─▶ one task for each handle: v.crc, every n-th time x.v.compacted.json,
//!                              │            every checkpointInterval a checkpoint, then the log is cleaned
//!                              └─▶ returns at once
//! ```
//! None of it is needed: a process that ends loses time of later readers, never a row. Whatever fails is a warning.

mod checksum;
mod settings;
mod work;

pub use checksum::ChecksumReport;
pub(crate) use checksum::validate;
pub use settings::{UpkeepSettings, UpkeepTime};
pub(crate) use work::{Upkeep, after_commit};
