//! What the crate does, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod endpoint;
mod fixtures;
mod http;
mod models;
#[cfg(feature = "onnx")]
mod onnx;
mod round_trip;
mod score_table;
