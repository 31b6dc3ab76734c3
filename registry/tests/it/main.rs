//! Tests of the registry from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod http;
mod models;
mod promotion;
