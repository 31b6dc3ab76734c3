//! The border to the engine, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod errors;
mod filters;
mod scans;
mod streams;
