//! The workspace is built as ARCHITECTURE.md says.

mod edges;
mod files;
mod links;
