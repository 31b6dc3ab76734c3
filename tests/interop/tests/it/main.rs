//! Other engines read what we write, and we read what they write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delta;
mod differential;
mod features;
#[cfg(feature = "kafka")]
mod kafka;
mod merge_statements;
mod merges;
mod mlflow;
mod peers;
mod rows;
#[cfg(feature = "s3")]
mod s3;
mod tpch;
