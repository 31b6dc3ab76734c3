//! Pipelines over tables in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod expectations;
mod fixture;
mod flows;
mod stream_flows;
mod updates;
