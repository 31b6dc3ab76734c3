//! A table without one of its features, so that clients which do not know it can read and write it.
//!
//! ```text
//!   nothing uses it? ─▶ its traces go, properties off ─┬─ readers need not know it ────────────────────────────────▶ protocol
//!                                                      ├─ three checkpoints, which stay ─ checkpointProtection ────▶ protocol ─▶ checkpoint
//!                                                      └─ truncate: older versions go ─ none that is left uses it ─▶ protocol
//! ```
//! Traces are what stands in files and log of the newest version: names of columns, old types, row ids, domains.
//! Before checkpoints are written, files of deletion vectors that earlier versions need are listed as removed ones.

mod builder;
mod history;
mod rewrite;
mod traces;
mod vectors;

pub use builder::{DropFeatureBuilder, DropFeatureReport};
