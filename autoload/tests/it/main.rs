//! Integration tests of the auto loader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod discovery;
mod errors;
mod faults;
mod finding;
mod formats;
mod properties;
mod scale;
mod schema;
mod state;
mod support;
