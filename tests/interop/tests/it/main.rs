//! Other engines read what we write, and we read what they write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delta;
mod mlflow;
mod peers;
