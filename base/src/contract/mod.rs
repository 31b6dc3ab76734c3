//! The contracts of the traits as test-suites, for the tests of their implementations.
//!
//! ```text
//!   your test ──▶ contract::table(make a fresh table) ──▶ every sentence of `Table`'s contract, asserted
//! ```
//!
//! A suite is a plain function: it needs no runtime of its own, panics with the sentence that does not hold, and
//! is given fresh things by a closure or a fixture. Call it from any test runner:
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # async fn test() {
//! use std::sync::Arc;
//! use boathouse_base::memory::MemoryTable;
//! use boathouse_base::{Env, ManualClock, Table, contract};
//!
//! contract::table(async || Arc::new(MemoryTable::new("t", Env::new(ManualClock::default(), 1))) as Arc<dyn Table>).await;
//! # }
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test-suite fails by panicking")]

mod batch_stream;
mod catalog;
mod feature_lookup;
mod model;
mod predicate;
mod rows;
mod sink;
mod source;
mod table;
mod together;

pub use batch_stream::batch_stream;
pub use catalog::{KnownModel, catalog};
pub use feature_lookup::feature_lookup;
pub use model::model;
pub use predicate::predicate_bounds;
pub use sink::{SinkFixture, sink};
pub use source::{SourceFixture, source};
pub use table::table;
