//! The engine and the stream source, against models and through failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catalog;
mod comments;
mod conflicts;
mod copying;
mod corpora;
mod fan_out;
mod faults;
mod feed;
mod file_metadata;
mod kills;
mod letter_case;
mod life_model;
mod lives;
mod marks;
mod merge_memory;
mod merges;
mod model;
mod names;
mod optimize;
mod optimize_corpora;
mod optimize_model;
mod optimize_order;
mod planning;
mod queries;
mod replacing;
mod rows;
mod rules;
mod slt;
mod source;
mod statements;
mod upserts;
