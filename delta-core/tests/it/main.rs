//! The engine and the stream source, against models and through failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conflicts;
mod faults;
mod model;
mod queries;
mod rows;
mod rules;
mod source;
mod statements;
