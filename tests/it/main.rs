//! Tests across crates: the story that the flights example tells, and the lakehouse that wires it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clickstream;
mod crashes;
mod flights;
mod lake;
mod lakehouse;
mod watch_folder;
