//! A small command line over any Delta table, by path or URL.
//!
//! `cargo run --release --example lake -- cat /data/flights --where "delay > 60" --format csv`
//!
//! Rows go to standard output, everything else to standard error. An error is one line, and the exit code 1.

mod convert;
mod output;
mod place;
mod prompt;
mod read;
mod upkeep;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::output::Format;
use crate::place::Place;

/// Reads and keeps Delta tables, by path or URL: /data/flights, s3://bucket/flights, memory://, az://, gs://.
#[derive(Parser)]
#[command(name = "lake")]
struct Args {
    /// An option of a cloud store, such as aws_endpoint=http://127.0.0.1:9000. May be given more than once.
    #[arg(long = "option", global = true, value_name = "NAME=VALUE")]
    options: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the rows of a table.
    Cat(read::Cat),
    /// Prints what each version changed.
    Changes(read::Changes),
    /// Prints the commits, newest first.
    History(read::History),
    /// Prints what is known of a table.
    Detail(read::Detail),
    /// Prints the columns of a table.
    Schema(read::Schema),
    /// Runs a statement; without one, reads statements that end with a semicolon from standard input.
    Sql(prompt::Sql),
    /// Puts small files together, and orders rows.
    Optimize(upkeep::Optimize),
    /// Deletes files that no version within the retention needs.
    Vacuum(upkeep::Vacuum),
    /// Makes an earlier version the newest one.
    Restore(upkeep::Restore),
    /// Takes files out of the table that are gone.
    Fsck(upkeep::Fsck),
    /// Makes a table of the rows of another one.
    Clone(upkeep::Clone),
    /// Makes a table of a folder of files: of Parquet files where they are; of CSV and JSON by reading them.
    Convert(convert::Convert),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(asked) if !asked.use_stderr() => {
            print!("{asked}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("lake: {}", misunderstood(&error));
            return ExitCode::FAILURE;
        }
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the rows has enough of them: `lake cat t | head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lake: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let place = Place::new(&args.options)?;
    match args.command {
        Command::Cat(command) => command.run(&place).await,
        Command::Changes(command) => command.run(&place).await,
        Command::History(command) => command.run(&place).await,
        Command::Detail(command) => command.run(&place).await,
        Command::Schema(command) => command.run(&place).await,
        Command::Sql(command) => command.run(&place).await,
        Command::Optimize(command) => command.run(&place).await,
        Command::Vacuum(command) => command.run(&place).await,
        Command::Restore(command) => command.run(&place).await,
        Command::Fsck(command) => command.run(&place).await,
        Command::Clone(command) => command.run(&place).await,
        Command::Convert(command) => command.run(&place).await,
    }
}

/// How rows are printed.
#[derive(clap::Args)]
struct Printed {
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(closed) || error.to_string().contains("Broken pipe")
}

/// What is wrong with the arguments, on one line: what clap says before it shows how commands are written.
fn misunderstood(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\n").take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let words: Vec<&str> = said.flat_map(str::split_whitespace).skip_while(|word| *word == "error:").collect();
    match words.as_slice() {
        // Without a command, clap shows its help.
        [] | ["A", ..] | ["Reads", ..] => "which command? `lake --help` lists them".to_owned(),
        words => format!("{}; `lake --help` says more", words.join(" ")),
    }
}

/// The error and its causes, without those that a message has told already.
fn one_line(error: &anyhow::Error) -> String {
    let told = error.chain().map(ToString::to_string).fold(String::new(), |so_far, cause| match so_far.as_str() {
        "" => cause,
        text if text.contains(&cause) => so_far,
        text => format!("{text}: {cause}"),
    });
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}
