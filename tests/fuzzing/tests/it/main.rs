//! The short run: every target, some thousand times, in seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod short_run;
mod targets;
