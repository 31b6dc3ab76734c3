//! Auto Loader at work: a file that lands in a folder becomes rows of a Delta table, and the line about it says how long that took.
//!
//! `cargo run --release --example watch_folder -- landing`, and in another terminal `cp day.jsonl landing/`.
//!
//! The operating system tells of new files. Run again, it goes on after the last one, and takes what landed meanwhile.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use boathouse::Lakehouse;
use boathouse::autoload::{AutoLoader, ColumnTypes, DiscoveryMode, Format};
use boathouse::base::Env;
use boathouse::storage::{Location, Storage};
use boathouse::stream::{EpochProgress, StepOutcome, StreamQuery};
use clap::{Parser, ValueEnum};
use futures::TryStreamExt;

/// How often the source is asked while nothing lands.
const POLL: Duration = Duration::from_millis(2);

/// Files that land in a folder become rows of a Delta table.
#[derive(Parser)]
#[command(name = "watch_folder")]
struct Args {
    /// The folder in which files land; it is made when it is not there.
    landing: PathBuf,
    /// What is in the files.
    #[arg(long, value_enum, default_value_t = Content::Json)]
    format: Content,
    /// Where the table and all state go.
    #[arg(long, default_value = "target/watch_folder")]
    dir: String,
    /// Ends after so many seconds. Without it: at Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Content {
    /// A record in each line.
    Json,
    /// A header, and a record in each line.
    Csv,
    Parquet,
    Avro,
    /// A row for each line, in one column.
    Text,
}

impl Content {
    fn format(self) -> Format {
        match self {
            Self::Json => Format::json(),
            Self::Csv => Format::csv(),
            Self::Parquet => Format::Parquet,
            Self::Avro => Format::Avro,
            Self::Text => Format::text(),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match watch(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch_folder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn watch(args: Args) -> Result<()> {
    std::fs::create_dir_all(&args.landing).with_context(|| format!("make the folder {}", args.landing.display()))?;
    let lake = Lakehouse::at(&args.dir).open().await?;
    let files = AutoLoader::over(Storage::open(&Location::from_path(&args.landing)?)?)
        .format(args.format.format())
        .infer_column_types(ColumnTypes::Inferred)
        .discovery(DiscoveryMode::Watch)
        .state(lake.folder("autoload"))
        .open()
        .await?;
    let files = Arc::new(files);
    let query = StreamQuery::named("watch_folder")
        .source(Arc::clone(&files) as _)
        .sink(Arc::new(lake.delta_sink("landed")))
        .checkpoint(lake.folder("streams/landed"));
    let mut query = query.open().await?;
    let mut told = Told { next: count(&files).await? };
    println!("watching {}; the table is {}", args.landing.display(), lake.table("landed").url());

    let mut end = pin!(end(args.seconds, lake.env()));
    loop {
        match query.step().await? {
            StepOutcome::Epoch(epoch) => told.tell(&files, &epoch, &lake).await?,
            StepOutcome::Idle => tokio::select! {
                () = &mut end => break,
                () = lake.env().sleep(POLL) => {}
            },
        }
    }
    lake.close().await;
    Ok(())
}

/// Ends after so many seconds, or at Ctrl-C.
async fn end(seconds: Option<u64>, env: &Env) {
    let time = async {
        match seconds {
            Some(seconds) => env.sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        // Where nobody can ask for the end, the time alone counts.
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}

/// How many files were read in earlier runs.
async fn count(files: &AutoLoader) -> Result<i64> {
    let rows = files.files_state().try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await?;
    Ok(i64::try_from(rows)?)
}

/// Which files were told of.
struct Told {
    /// The number of the next one.
    next: i64,
}

impl Told {
    /// A line for each file of an epoch, and one for the epoch.
    async fn tell(&mut self, files: &AutoLoader, epoch: &EpochProgress, lake: &Lakehouse) -> Result<()> {
        let now_us = lake.env().now_us();
        let batches: Vec<_> = files.files_state().try_collect().await?;
        for batch in &batches {
            let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the column {name} of files_state"));
            let numbers = column("file_sequence")?.as_primitive::<Int64Type>();
            let paths = column("path")?.as_string::<i32>();
            let times = column("modification_time")?.as_primitive::<TimestampMicrosecondType>();
            for row in (0..batch.num_rows()).filter(|row| numbers.value(*row) >= self.next) {
                let path = paths.value(row);
                let name = path.rsplit('/').next().unwrap_or(path);
                println!("  {name}: {:.1} ms after it was written", milliseconds(now_us - times.value(row)));
            }
        }
        self.next = count(files).await?;
        let version = epoch.sink_version.map_or_else(String::new, |version| format!(", version {version} of the table"));
        println!("epoch {}: {} rows{version}", epoch.epoch, epoch.output_rows);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(us: i64) -> f64 {
    us as f64 / 1e3
}
