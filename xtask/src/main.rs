//! The project's own commands: `cargo xtask test` runs everything that must hold.
#![expect(clippy::disallowed_methods, reason = "a command-line tool times its own steps")]

mod peers;
mod step;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};

use crate::step::{Failed, cargo, cargo_has, root};

/// The feature selection of every step: the same one each time, so that nothing is compiled twice.
const FEATURES: [&str; 2] =
    ["--features", "boathouse-serving/onnx,boathouse-interop/peers,boathouse-interop/s3,boathouse-interop/kafka,boathouse/sqs"];

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold: format, clippy, all tests, the peers.
    Test {
        /// Runs these steps only.
        #[arg(long, value_delimiter = ',')]
        only: Vec<Step>,
    },
    /// The tests with peers alone, from the same build as `test`.
    Interop,
    /// Installs the peers below target/ and prints the path of their Python.
    Peers,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// Lints, with warnings denied.
    Clippy,
    /// The peers: a Python environment below target/.
    Peers,
    /// Unit, integration and interop tests, and tests/tidy.
    Tests,
    /// Examples in documentation.
    Doc,
}

const STEPS: [Step; 5] = [Step::Fmt, Step::Clippy, Step::Peers, Step::Doc, Step::Tests];

impl Step {
    fn title(self) -> &'static str {
        match self {
            Self::Fmt => "format",
            Self::Clippy => "clippy, warnings denied",
            Self::Peers => "peers (pinned Python packages, below target/)",
            Self::Tests => "tests: unit, integration, tidy, interop",
            Self::Doc => "tests: examples in documentation",
        }
    }

    fn run(self) -> Result<(), Failed> {
        match self {
            Self::Fmt => cargo(["fmt", "--all", "--check"]).run(),
            Self::Clippy => {
                let mut clippy = cargo(["clippy", "--workspace", "--all-targets"]);
                clippy.args(FEATURES).args(["--", "-D", "warnings"]).run()?;
                // The clouds are compiled, not run: their features stand in no other step.
                let mut clouds = cargo(["clippy", "-p", "boathouse-storage", "--features", "s3,azure,gcs"]);
                clouds.args(["--", "-D", "warnings"]).run()
            }
            Self::Peers => peers::install().map(drop),
            Self::Tests => tests(Selection::All),
            Self::Doc => {
                let mut doc = cargo(["test", "--workspace", "--doc"]);
                doc.args(FEATURES).run()
            }
        }
    }
}

/// Which tests run. The build is the same for all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selection {
    All,
    Interop,
}

/// Runs tests, with the peers and a Postgres server at hand.
fn tests(selection: Selection) -> Result<(), Failed> {
    let python = peers::install()?;
    let postgres = peers::Postgres::start(&python)?;
    let mut tests = match cargo_has("nextest") {
        true => cargo(["nextest", "run", "--workspace", "--no-fail-fast"]),
        false => cargo(["test", "--workspace", "--no-fail-fast"]),
    };
    match (selection, cargo_has("nextest")) {
        // The program of tests/interop has a name of its own: nothing else is built.
        (Selection::Interop, _) => tests.args(["--test", "peers"]),
        (Selection::All, true) => &mut tests,
        (Selection::All, false) => tests.args(["--lib", "--bins", "--tests", "--examples"]),
    };
    tests.args(FEATURES);
    tests.env("BOATHOUSE_INTEROP_PYTHON", &python).env("BOATHOUSE_TEST_POSTGRES_URL", postgres.url()).run()
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Test { only } => test(&only),
        Command::Interop => exit_code(tests(Selection::Interop)),
        Command::Peers => exit_code(peers::install().map(|python| println!("{}", python.display()))),
    }
}

fn exit_code(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("xtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

fn test(only: &[Step]) -> ExitCode {
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut failures = 0;
    for step in STEPS.into_iter().filter(|step| only.is_empty() || only.contains(step)) {
        println!("\n=== {} ===", step.title());
        let step_began = Instant::now();
        let result = step.run();
        if let Err(failed) = &result {
            eprintln!("xtask: {failed}");
            failures += 1;
        }
        rows.push((step.title(), step_began.elapsed(), result.is_ok()));
        // Without the peers no test can be trusted to have run: stop at once, with the one line that says why.
        if step == Step::Peers && failures > 0 {
            break;
        }
    }
    println!("\n{:<48} {:>9}", format!("steps in {}", root().display()), "seconds");
    for (title, elapsed, ok) in &rows {
        println!("{:<48} {:>9.1}  {}", title, elapsed.as_secs_f64(), if *ok { "ok" } else { "FAILED" });
    }
    println!("{:<48} {:>9.1}", "all", began.elapsed().as_secs_f64());
    println!("steps: {} passed, {failures} failed", rows.iter().filter(|(_, _, ok)| *ok).count());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
