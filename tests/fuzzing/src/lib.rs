//! What fuzzing runs: the readers of the Delta log and of its files, on arbitrary bytes.
//!
//! ```text
//!   fuzz/seeds/TARGET/* ─ Mutator (seeded) ─┐
//!                                           ├─▶ Target::run(bytes) ─▶ nothing: no panic, no more memory than bytes explain
//!   libFuzzer (fuzz/, nightly) ─────────────┘
//! ```
//! Each [`Target`] is a function of bytes. Whatever the bytes are, it must come back: with values or with typed errors.
//! Where a reader accepts them, the target also checks what must hold then: what was read can be written, and reads the
//! same again.
//!
//! - `tests/it` runs every target a few thousand times, on stable, in seconds; the seed is printed, and `BOATHOUSE_SEED`
//!   replays it. `BOATHOUSE_FUZZ_CASES` multiplies the number of cases.
//! - `fuzz/` has the same targets for libFuzzer: `cargo +nightly fuzz run TARGET fuzz/corpus/TARGET fuzz/seeds/TARGET`.
//!
//! # What it is not
//! It does not ask whether a valid table is read right: that is the work of the other tests. It generates no Parquet
//! pages; it damages real ones.

mod bytes;
mod mutate;
mod table;

pub use mutate::{Chance, Mutator};

/// A reader under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `fuzz/fuzz_targets` and `fuzz/seeds`.
    pub name: &'static str,
    /// Reads the bytes.
    pub run: fn(&[u8]),
    /// Cases in the short run.
    pub cases: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "commit", run: bytes::commit, cases: 6000 },
    Target { name: "checksum", run: bytes::checksum, cases: 4000 },
    Target { name: "last_checkpoint", run: bytes::last_checkpoint, cases: 4000 },
    Target { name: "log_names", run: bytes::log_names, cases: 4000 },
    Target { name: "schema", run: bytes::schema, cases: 4000 },
    Target { name: "stats", run: bytes::stats, cases: 6000 },
    Target { name: "partition_value", run: bytes::partition_value, cases: 20_000 },
    Target { name: "vector", run: bytes::vector, cases: 4000 },
    Target { name: "vector_descriptor", run: bytes::vector_descriptor, cases: 4000 },
    Target { name: "table_log", run: table::log, cases: 800 },
    Target { name: "table_checkpoint", run: table::checkpoint, cases: 600 },
    Target { name: "table_vector", run: table::vector_file, cases: 200 },
    Target { name: "table_data", run: table::data_file, cases: 400 },
];

/// Runs a target on bytes. Panics when there is something to be found.
///
/// # Panics
/// Also when there is no target of that name.
pub fn run(name: &str, bytes: &[u8]) {
    #[expect(clippy::panic, reason = "a misspelt target must not pass")]
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(bytes),
        None => panic!("there is no target `{name}`"),
    }
}
