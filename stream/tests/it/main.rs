//! Streaming queries over sources and sinks in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budget;
mod changed_queries;
mod evolution;
mod faults;
mod file_sink;
mod golden;
mod journaled;
mod late_rows;
mod listener;
mod oracle;
mod recovery;
mod refusal;
mod spark;
mod state_memory;
mod stateful;
mod stateful_oracle;
mod stateless;
mod support;
mod trigger;
mod watermarks;
mod windows;
