//! Claims about speed and memory, each measured beside a named peer.
//!
//! ```text
//!   run CLAIM ──▶ prepare the data once, below target/bench-data
//!        │
//!        ├── ours, peer, ours, peer, …   each run a process of its own that measures its own work:
//!        │                               CPU seconds and wall seconds of the work, peak memory of the process
//!        ▼
//!   a table (min, median, max), and one line of JSON
//! ```
//!
//! # Commands
//! - `cargo run --release -p boathouse-benches -- list`
//! - `cargo run --release -p boathouse-benches -- run CLAIM [--scale S] [--seed N] [--runs N]`
//!
//! With `--no-default-features` the claims of the DataFusion engine are left out, which compiles in minutes.
//!
//! # What is measured
//! Both sides do their work in a fresh process, in turn, so that a noisy machine is noisy for both. CPU and wall time
//! cover the work of the claim alone. Our side allocates by jemalloc, as DuckDB and polars do. Peak memory is that of the whole process (`VmHWM`), whatever it holds included. Both sides read the same counters of `/proc`, so claims run on Linux only.
//!
//! A claim is one file in `src/claims`, one line in its `mod.rs`, and a script in `peers/` for each of its peers. A peer can
//! also be our side of another claim: a baseline in the same run. Work of several parts (the queries of a benchmark) is
//! compared by the geometric mean of the ratios of its parts; parts that a peer cannot do are left out and named. Where
//! both sides give answers, they are compared before any figure is shown.

mod answers;
mod claims;
mod data;
mod harness;
mod measure;
mod peer;
mod report;
mod synthetic_log;
#[cfg(feature = "engine")]
mod tpch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::claims::Run;
use crate::harness::Settings;

/// Batches come and go by the megabyte: the allocator of the system hands each of them back, and faults its pages in again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Claims about speed and memory, each measured beside a named peer.
#[derive(Parser)]
#[command(name = "boathouse-benches")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names the claims.
    List,
    /// Measures a claim and prints whether it holds.
    Run {
        /// One of `list`.
        claim: String,
        /// How much data: 1 is the size that the claim speaks of.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Where random data and choices come from. The rows of TPC-H are the same for every seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Runs of each side.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Our side of one run. Started by `run`.
    #[command(hide = true)]
    Ours {
        claim: String,
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        output: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        part: Option<String>,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::List => {
            claims::all().iter().for_each(|claim| println!("{:<12} {}", claim.name(), claim.sentence()));
            Ok(())
        }
        Command::Run { claim, scale, seed, runs } => {
            claims::find(&claim).and_then(|claim| harness::run(claim.as_ref(), &Settings { scale, seed, runs }))
        }
        Command::Ours { claim, data, output, seed, part } => claims::find(&claim).and_then(|claim| {
            harness::run_ours(claim.as_ref(), Run { data: &data, output: &output, seed, part: part.as_deref() })
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boathouse-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}
