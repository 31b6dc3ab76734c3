//! Tables, sources, sinks, models and features in memory: the vocabulary without I/O, for tests.
//!
//! They keep the contracts of their traits (the suites of feature `contract` run on them), so a test that passes
//! here says something about the real ones. They are not mocks: nothing is expected of how they are called.
//!
//! Clones of a value are one value: keep one in the test, hand another to the code under test.

mod error;
mod features;
mod model;
mod row;
mod sink;
mod source;
mod table;

pub use error::MemoryError;
pub use features::MemoryFeatures;
pub use model::{FunctionModel, MemoryCatalog};
pub use sink::{MemoryEpoch, MemorySink, MemorySinks, SinkFault};
pub use source::MemorySource;
pub use table::{MemoryCommit, MemoryTable, MemoryTables};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic elsewhere cannot leave these values half-changed: each is replaced in one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ready<'a, T: Send + 'a>(value: T) -> crate::BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}
