//! Deletion vectors: which rows of a data file are no longer there.
//!
//! ```text
//!   add.deletionVector ──▶ DeletionVectorDescriptor
//!        'i' inline        ├─▶ inline_bitmap()            ──▶ DeletionVector
//!        'u' relative      ├─▶ path in the table  ─ read ─▶ file::decode(bytes at offset) ──▶ DeletionVector
//!        'p' absolute      └─▶ absolute path      ─ read ─▶
//! ```
//!
//! **Source**: Delta protocol, "Deletion Vectors" and "Deletion Vector Format".

mod bitmap;
mod checksum;
mod descriptor;
pub mod file;
mod writer;
pub mod z85;

pub use bitmap::DeletionVector;
pub use checksum::crc32;
pub use descriptor::{DeletionVectorDescriptor, StorageType, VectorLocation};
pub use writer::VectorFile;
