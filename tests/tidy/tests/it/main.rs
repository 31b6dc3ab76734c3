//! The workspace is built as ARCHITECTURE.md says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edges;
mod files;
mod links;
