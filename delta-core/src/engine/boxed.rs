//! Futures of many branches, kept from the stack.

use std::future::Future;
use std::pin::Pin;

/// The future that `make` gives, on the heap.
///
/// A future that awaits one of many others takes the stack of all of them in builds that are not optimised: half a
/// megabyte for the statements of Delta SQL, of the two that a thread has. `Box::pin` in place takes as much.
pub(crate) fn boxed<'a, F: Future + Send + 'a>(make: impl FnOnce() -> F) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'a>> {
    Box::pin(make())
}
