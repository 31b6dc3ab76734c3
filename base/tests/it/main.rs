//! The contracts of the vocabulary, run on its implementations in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch_stream;
mod contracts;
mod pruning;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Drives a future that never waits for anything outside of itself.
fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("a future in memory waits for something");
}
