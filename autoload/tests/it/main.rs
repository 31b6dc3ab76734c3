//! Integration tests of the auto loader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod discovery;
mod errors;
mod exactly_once;
mod faults;
mod finding;
mod formats;
mod properties;
mod scale;
mod schema;
mod shapes;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "sqs")]
mod sqs_server;
mod state;
mod support;
