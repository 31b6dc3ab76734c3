//! Topics of Kafka, on a cluster that the client plays in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod query;
mod sink;
mod source;
