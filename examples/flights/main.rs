//! A year of real flights, from landing files to served predictions, in one process and without a network.
//!
//! `cargo run --release --example flights` — all state goes to one folder (`--dir`); run it again, and it sees that nothing
//! is new; kill it at any moment, and the next run ends in the same state.

mod bronze;
mod correct;
mod evaluate;
mod features;
mod land;
mod medallion;
mod mend;
mod promote;
mod serve;
mod story;
mod train;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use boathouse::Lakehouse;
use clap::Parser;

use crate::story::{Report, Story};

/// From landing files to served predictions: every part of Boathouse on a year of real flights.
#[derive(Parser)]
struct Args {
    /// Where all state goes: a path, or a URL such as s3://bucket/flights (with the feature `s3`).
    #[arg(long, default_value = "target/flights")]
    dir: String,
    /// Where runs and models are kept, when `--dir` is not on the local disk: a path or postgres://USER@HOST/NAME.
    #[arg(long)]
    database: Option<String>,
    /// Takes every n-th flight of a day only: a smaller story.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample_every: u64,
    /// Draws no progress bars.
    #[arg(long)]
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match tell(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flights: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, without those that a message has told already.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |so_far, cause| match so_far.as_str() {
        "" => cause,
        text if text.contains(&cause) => so_far,
        text => format!("{text}: {cause}"),
    })
}

async fn tell(args: Args) -> Result<()> {
    let mut lake = Lakehouse::at(&args.dir);
    if let Some(database) = args.database {
        lake = lake.database(database);
    }
    let story = Story {
        lake: lake.open().await?,
        data: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join("data"),
        sample_every: usize::try_from(args.sample_every).context("the sample does not fit this machine")?,
        draw: !args.quiet,
    };
    println!("everything is in {}", story.lake.url());
    let mut report = Report::default();
    bronze::run(&story, &mut report).await?;
    medallion::run(&story, &mut report).await?;
    features::run(&story, &mut report).await?;
    let candidates = train::run(&story, &mut report).await?;
    promote::run(&story, &mut report, &candidates).await?;
    serve::run(&story, &mut report).await?;
    mend::run(&story, &mut report).await?;
    correct::run(&story, &mut report).await?;
    report.print();
    story.lake.close().await;
    Ok(())
}
