//! What operators remember between epochs.
//!
//! ```text
//!   Store ──┬── segments   Arrow batches that only grow old: the rows that one epoch has put in, or several merged
//!           └── places     a hash table from keys to (segment, row)
//! ```
//! What an epoch puts in is also what its file in the checkpoint holds, so nothing is written twice in two shapes, and a
//! restart reads the files: the rows that are not said to be gone, by a later file or by the watermark.

mod changelog;
mod keys;
mod segment;
mod store;

pub(crate) use changelog::{Changes, decode, encode};
pub(crate) use keys::{Keying, Keys};
pub(crate) use segment::Place;
pub(crate) use store::{OverBy, Store};
