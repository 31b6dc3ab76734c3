//! The `clickstream` example without a broker: no window is lost or doubled, whenever it is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use boathouse::Lakehouse;

/// Clicks on a page in a window: a second has 100 on five pages.
const CLICKS: i64 = 200;
const WINDOW_US: i64 = 10_000_000;

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("clickstream");
    assert!(built.is_file(), "{} is not there: `cargo build --example clickstream` makes it", built.display());
    built
}

fn command(folder: &Path, seconds: &str) -> Command {
    let mut command = Command::new(example());
    // Nobody listens at port 1.
    command.args(["--brokers", "127.0.0.1:1", "--pause", "0", "--seconds", seconds]).arg("--dir").arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A run that ends by itself if nobody ends it.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder, "120").spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut run = Self { child, lines };
        assert!(run.line().ends_with("clicks come from the rate source"));
        assert!(run.line().starts_with("counting rate-micro-batch[rowsPerBatch=100]; the table is "));
        run
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the run ended early").unwrap()
    }

    /// The number of the next epoch that it tells of.
    fn epoch(&mut self) -> u64 {
        let line = self.line();
        let (number, rest) = line.strip_prefix("epoch ").and_then(|rest| rest.split_once(": ")).expect("an epoch");
        assert!(rest.starts_with("100 clicks, ") && rest.contains(" of the table"), "{line}");
        number.parse().unwrap()
    }

    /// Reads on to an epoch; gives the first one and the last.
    fn until(&mut self, epoch: u64) -> (u64, u64) {
        let first = self.epoch();
        let mut last = first;
        while last < epoch {
            let next = self.epoch();
            assert_eq!(next, last + 1);
            last = next;
        }
        (first, last)
    }

    /// Kills it, as nobody expects.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// How often each page was clicked, by window.
async fn windows(folder: &Path) -> BTreeMap<i64, Vec<(String, i64)>> {
    let lake = Lakehouse::at(folder.to_str().unwrap()).open().await.unwrap();
    let session = lake.session(["clicks_of_rate"]).await.unwrap();
    let rows = session.sql("SELECT window_start, page, clicks FROM clicks_of_rate ORDER BY page").await.unwrap();
    let mut windows: BTreeMap<i64, Vec<(String, i64)>> = BTreeMap::new();
    for batch in rows.collect().await.unwrap() {
        let starts = batch["window_start"].as_primitive::<TimestampMicrosecondType>();
        let pages = arrow::compute::cast(&batch["page"], &arrow::datatypes::DataType::Utf8).unwrap();
        let clicks = batch["clicks"].as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let page = pages.as_string::<i32>().value(row).to_owned();
            windows.entry(starts.value(row)).or_default().push((page, clicks.value(row)));
        }
    }
    lake.close().await;
    windows
}

#[tokio::test]
async fn a_run_that_is_killed_goes_on_and_no_window_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut told = 0;
    for (run, epoch) in [(0, 25), (1, 47), (2, 72)] {
        let mut started = Run::start(folder);
        let (first, last) = started.until(epoch);
        assert!(if run == 0 { first == 0 } else { first > told }, "run {run} begins with epoch {first} after {told}");
        told = last;
        started.kill();
    }
    let output = command(folder, "1").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, table) = text.split_once("the newest windows:\n").expect("windows have ended");
    assert!(table.contains("| /page/0 | 200 "), "{table}");

    let windows = windows(folder).await;
    assert!(windows.len() >= 6, "72 seconds end six windows: {windows:?}");
    let begin = 1_767_225_600_000_000;
    let expected: Vec<_> = (0..5).map(|page| (format!("/page/{page}"), CLICKS)).collect();
    for (number, (start_us, counts)) in (0..).zip(&windows) {
        assert_eq!(*start_us, begin + number * WINDOW_US, "a window is missing");
        assert_eq!(*counts, expected);
    }
}
