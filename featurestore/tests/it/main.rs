//! The feature store against tables in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delta;
#[cfg(feature = "offline")]
mod frames;
mod online;
mod oracle;
mod tables;
mod training_set;
mod world;
mod writes;
