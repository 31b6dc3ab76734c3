//! The engine and the stream source, against models and through failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conflicts;
mod faults;
mod feed;
mod marks;
mod model;
mod queries;
mod replacing;
mod rows;
mod rules;
mod source;
mod statements;
