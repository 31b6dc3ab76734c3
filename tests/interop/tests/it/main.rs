//! Other engines read what we write, and we read what they write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delta;
mod differential;
mod mlflow;
mod peers;
#[cfg(feature = "s3")]
mod s3;
mod tpch;
