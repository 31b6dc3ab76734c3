//! What the reader is told.

use anyhow::Result;
use arrow::util::pretty::pretty_format_batches;
use boathouse::Lakehouse;
use boathouse::stream::EpochProgress;

use crate::clicks::{Clicks, Time};

/// How many windows are shown at the end.
const SHOWN: usize = 10;

/// An epoch in one line.
pub(crate) fn epoch(epoch: &EpochProgress, clicks: &Clicks, now_us: i64) -> String {
    let version = epoch.sink_version.map_or_else(String::new, |version| format!(", version {version} of the table"));
    let (number, rows, windows) = (epoch.epoch, epoch.input_rows, epoch.output_rows);
    let late = if epoch.late_rows > 0 { format!(", {} late", epoch.late_rows) } else { String::new() };
    let latency = match (clicks.time, epoch.event_time_mean_us) {
        (Time::Played, _) | (_, None) => String::new(),
        (Time::Real, Some(mean_us)) => format!(", {:.1} ms after the clicks", milliseconds(now_us - mean_us)),
    };
    let took = epoch.batch_duration_ms();
    format!("epoch {number}: {rows} clicks{late}, {windows} counts in {took:.1} ms{latency}{version}")
}

/// The counts of the windows that ended last.
pub(crate) async fn newest_windows(lake: &Lakehouse, table: &str) -> Result<String> {
    let session = lake.session([table]).await?;
    let statement = format!(
        "SELECT window_start, window_end, page, clicks FROM {table} ORDER BY window_end DESC, clicks DESC, page LIMIT {SHOWN}"
    );
    let rows = session.sql(&statement).await?.collect().await?;
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return Ok("no window has ended yet".to_owned());
    }
    Ok(format!("the newest windows:\n{}", pretty_format_batches(&rows)?))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(us: i64) -> f64 {
    us as f64 / 1e3
}
