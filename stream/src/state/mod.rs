//! What operators remember between epochs.
//!
//! ```text
//!   Store ── segments, oldest first, each with its rows in the order of the hashes of their keys
//!              ├── index   hashes, ends, which rows are live: in memory
//!              └── rows    in memory, or in a file of the checkpoint or of the disk, read block by block
//! ```
//! What an epoch puts in is one segment, and one file of the checkpoint. Keys that are looked for are sorted as well, and walked along with each
//! segment. A restart reads the index of each file; rows are read when they are asked for. [`Budget`] says which rows are in memory.

mod budget;
mod changelog;
mod keys;
mod rows;
mod segment;
mod store;

pub(crate) use budget::Budget;
pub(crate) use changelog::{Changes, Recorded, decode, encode, open};
pub(crate) use keys::{Keying, Keys};
pub(crate) use rows::Rows;
pub(crate) use segment::Place;
pub(crate) use store::{OverBy, Store};
