//! What every step of the story shares: the lakehouse, the progress bars, and the report at the end.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use boathouse::Lakehouse;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The name of the registered model, and of everything around it.
pub(crate) const MODEL: &str = "late_flights";

/// What every step needs.
pub(crate) struct Story {
    /// Where everything lives.
    pub(crate) lake: Lakehouse,
    /// The shipped data.
    pub(crate) data: PathBuf,
    /// Only every n-th flight of a day is told of.
    pub(crate) sample_every: usize,
    /// Whether to draw bars.
    pub(crate) draw: bool,
}

impl Story {
    /// A bar over `total` steps; drawn when somebody looks.
    pub(crate) fn bar(&self, what: &str, total: u64) -> ProgressBar {
        let target = if self.draw && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("    {msg:<24} [{bar:32}] {pos}/{len} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// One line about what has been done.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("    {}", line.as_ref());
    }

    /// Begins a step.
    pub(crate) fn begin(&self, step: &'static str, what: &str) -> Timer {
        println!("\n{step}: {what}");
        Timer { step, began_us: self.lake.env().monotonic_us() }
    }
}

/// A step that is under way.
#[must_use = "a step that is not ended is not in the report"]
pub(crate) struct Timer {
    step: &'static str,
    began_us: u64,
}

impl Timer {
    /// Ends the step with what it did.
    pub(crate) fn end(self, story: &Story, report: &mut Report, did: impl Into<String>) {
        let seconds = story.lake.env().monotonic_us().saturating_sub(self.began_us) as f64 / 1e6;
        report.rows.push(Row { step: self.step, did: did.into(), seconds });
    }
}

struct Row {
    step: &'static str,
    did: String,
    seconds: f64,
}

/// What was done, and how long each step took.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Prints the table.
    pub(crate) fn print(&self) {
        let width = self.rows.iter().map(|row| row.did.chars().count()).max().unwrap_or(0);
        println!("\n{:<10} {:<width$} {:>8}", "step", "what it did", "seconds");
        println!("{}", "-".repeat(width + 20));
        for row in &self.rows {
            println!("{:<10} {:<width$} {:>8.1}", row.step, row.did, row.seconds);
        }
        println!("{}", "-".repeat(width + 20));
        println!("{:<10} {:<width$} {:>8.1}", "all", "", self.rows.iter().map(|row| row.seconds).sum::<f64>());
    }
}

/// 336776 as `336,776`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
