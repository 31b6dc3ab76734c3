//! Integration tests of Delta tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::single_range_in_vec_init)]

mod alter_lives;
mod altering;
mod bad_input;
mod catalog_tables;
mod checkpoint_forms;
mod checkpoints;
mod clones;
mod commit_times;
mod committers;
mod concurrency;
mod contracts;
mod conversions;
mod corpora;
mod dropped_features;
mod erasing;
mod faults;
mod features;
mod fscks;
mod groups;
mod log_cleanups;
mod made;
mod manifests;
mod opening;
mod reading;
mod restores;
mod row_changes;
mod row_ids;
mod rows;
mod time_travel;
mod upkeep;
mod vacuuming;
mod variants;
mod writing;
