//! Tests of the tracker from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod artifacts;
mod concurrency;
mod fixture;
mod http;
mod logging;
mod search;
