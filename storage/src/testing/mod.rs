//! Stores for tests: they fail as planned, count requests, and take simulated time.
//!
//! Each wraps any other store, so they stack:
//!
//! ```text
//!   code under test ──▶ CountingStore ──▶ FaultStore ──▶ LatencyStore ──▶ memory, or local files
//! ```
//!
//! | store | what a test learns from it |
//! | --- | --- |
//! | [`FaultStore`] | what a failed request, a lost reply, a full disk or a crash at any request leaves behind |
//! | [`CountingStore`] | how many requests and bytes an operation costs: budgets as tests |
//! | [`LatencyStore`] | how long it takes when each request has its price, on a clock that the test moves |
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use boathouse_storage::{Operation, Storage};
//! use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let faults = FaultStore::new(Arc::clone(Storage::memory().object_store()));
//! let storage = faults.storage();
//! // The second write is done, but its reply never arrives.
//! faults.inject(FaultRule::new(Fault::FailAfter).on(Operation::Put).skip(1));
//! storage.put("a", "1").await.unwrap();
//! assert!(storage.put("b", "2").await.is_err());
//! assert_eq!(storage.get("b").await.unwrap(), "2");
//! # });
//! ```

mod counting;
mod fault;
mod fault_plan;
mod latency;
mod simulated_time;

pub use counting::{CountingStore, RequestCounts};
pub use fault::FaultStore;
pub use fault_plan::{Fault, FaultRule, InjectedFault, RandomFaults};
pub use latency::{LatencyProfile, LatencyStore};
pub use simulated_time::run_on_clock;

use object_store::{GetOptions, PutMode, PutOptions};

use crate::Operation;

fn put_operation(options: &PutOptions) -> Operation {
    match options.mode {
        PutMode::Overwrite => Operation::Put,
        PutMode::Create => Operation::PutIfAbsent,
        PutMode::Update(_) => Operation::PutIfUnchanged,
    }
}

fn get_operation(options: &GetOptions) -> Operation {
    if options.head {
        Operation::Head
    } else if options.range.is_some() {
        Operation::GetRange
    } else {
        Operation::Get
    }
}
