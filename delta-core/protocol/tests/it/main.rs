//! The protocol crate from outside: round trips, oracles, and lines of real logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
mod checksums;
mod cleanups;
mod compactions;
mod conflicts;
mod deletion_vectors;
mod features;
mod log_paths;
mod partitions;
mod properties;
mod replays;
mod rows_at_once;
mod rules;
mod schemas;
mod statistics;
