//! Sinks that need no store.

mod noop;

pub use noop::NoopSink;
