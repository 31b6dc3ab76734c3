//! Column chunks of plain columns, encoded here.
//!
//! The general writer of the `parquet` crate serves every type, every nesting and every codec, value by value. Most
//! columns of most tables need none of that: they are whole numbers, dates, timestamps, small decimals, text or
//! bytes, outside of lists and structs. For these, this module encodes a page at once:
//!
//! ```text
//!   arrays ─▶ values of one page ─▶ encoded ─▶ compressed, if it pays ─▶ pages of the chunk ─▶ file
//!                    └─ bounds ─▶ column index, statistics of the chunk ─▶ statistics in the log
//! ```
//!
//! | form | pages | bounds |
//! | --- | --- | --- |
//! | [`Form::Deltas`] | `DELTA_BINARY_PACKED` | of the page's values |
//! | [`Form::Dictionary`] | `RLE_DICTIONARY`; when the dictionary is full, as below | of the page's *distinct* values |
//! | [`Form::Lengths`] | `DELTA_LENGTH_BYTE_ARRAY` | by the first eight bytes; more are compared only in a tie |
//!
//! [`TextColumn`] is for the statistics in checkpoints: long texts that hardly ever repeat, taken one by one.
//!
//! What is written is the same format with the same statistics, so readers see no difference. Columns of other types,
//! and files of other codecs than zstd or none, go through the `parquet` crate.
//!
//! **Source**: Parquet format, "Encodings", "Page index" and parquet.thrift.

mod bounds;
mod column;
mod delta;
mod dictionary;
mod hybrid;
mod index;
mod packing;
mod page;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use column::FlatChunk;
pub(super) use column::{FlatColumn, Form};
pub(super) use page::Codec;
pub(crate) use page::{Scratch, ScratchPool};
pub(crate) use texts::TextColumn;
