//! Sources that need no store.

mod rate;

pub use rate::RateMicroBatch;
