//! Clicks of a Kafka topic become counts in a Delta table: one row for each page and window of time, exactly once.
//!
//! `cargo run --release --features kafka --example clickstream -- --brokers localhost:9092 --topic clicks`
//!
//! A message is a click, and its value is the page. Without a broker, or without the feature `kafka`, clicks come from the rate source. Killed
//! at any moment and run again, it goes on where the table is: no window is lost and none comes twice.

mod clicks;
mod told;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use boathouse::Lakehouse;
use boathouse::base::Env;
use boathouse::stream::{StepOutcome, StreamQuery, TumblingWindow};
use clap::Parser;

/// Clicks of a Kafka topic become counts in windows of time.
#[derive(Parser)]
#[command(name = "clickstream")]
struct Args {
    /// Brokers to ask, `host:port` with commas between them. When none of them answers, clicks come from the rate source.
    #[arg(long, default_value = "localhost:9092")]
    brokers: String,
    /// The topic; the value of a message is the page that was clicked.
    #[arg(long, default_value = "clicks")]
    topic: String,
    /// How long a window is.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Ends after so many seconds. Without it: at Ctrl-C.
    #[arg(long)]
    seconds: Option<u64>,
    /// How long the rate source waits after each second of clicks.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100)]
    pause: u64,
    /// Where the tables and all state go.
    #[arg(long, default_value = "target/clickstream")]
    dir: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match count(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clickstream: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn count(args: Args) -> Result<()> {
    let lake = Lakehouse::at(&args.dir).open().await?;
    let clicks = clicks::open(&args.brokers, &args.topic, Duration::from_millis(args.pause)).await?;
    // What comes from another source is another table: a position of one means nothing to the other.
    let name = clicks.table;
    let window = Duration::from_secs(args.window);
    let query = StreamQuery::named(name)
        .source(Arc::clone(&clicks.source))
        .sql(clicks.sql)
        .watermark("at", window)
        .window(TumblingWindow::over("at", window).by(["page"]).count("clicks"))
        .sink(Arc::new(lake.delta_sink(name)))
        .checkpoint(lake.folder(&format!("streams/{name}")));
    let mut query = query.open().await?;
    println!("counting {}; the table is {}", clicks.source.describe(), lake.table(name).url());

    let mut end = pin!(end(args.seconds, lake.env()));
    loop {
        let pause = match query.step().await? {
            StepOutcome::Epoch(epoch) => {
                println!("{}", told::epoch(&epoch, &clicks, lake.env().now_us()));
                clicks.after_epoch
            }
            StepOutcome::Idle => clicks.when_idle,
        };
        tokio::select! {
            biased;
            () = &mut end => break,
            () = lake.env().sleep(pause) => {}
        }
    }
    println!("{}", told::newest_windows(&lake, name).await?);
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
