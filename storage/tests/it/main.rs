//! Integration tests of boathouse-storage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counting_store;
mod fault_store;
mod latency_store;
mod local_files;
mod location;
mod synced_writes;
mod versioned_object;
