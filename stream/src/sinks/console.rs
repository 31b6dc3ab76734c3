//! Rows as a table of text.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{BoxFuture, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::batch_writer::{BatchWriter, EpochBatch};
use super::error::SinkError;

/// Of a value that is cut, in characters.
const WIDEST: usize = 20;

/// How much of an epoch is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// At most so many rows (`numRows`).
    pub rows: usize,
    /// Whether values are cut after 20 characters (`truncate`).
    pub truncate: bool,
}

impl Default for ConsoleOptions {
    /// 20 rows, cut.
    fn default() -> Self {
        Self { rows: 20, truncate: true }
    }
}

/// Prints each epoch: the first rows, and how many there are.
///
/// **Cost**: all rows are computed, and no more than those that are shown are kept.
///
/// **Source**: Spark's console sink.
#[derive(Clone)]
pub struct ConsoleWriter {
    options: ConsoleOptions,
    to: Arc<Mutex<dyn Write + Send>>,
}

impl ConsoleWriter {
    /// To the standard output.
    pub fn new(options: ConsoleOptions) -> Self {
        Self::to(options, std::io::stdout())
    }

    /// To something else.
    pub fn to(options: ConsoleOptions, to: impl Write + Send + 'static) -> Self {
        Self { options, to: Arc::new(Mutex::new(to)) }
    }

    async fn show(&self, mut batch: EpochBatch) -> Result<()> {
        let schema = batch.schema();
        let mut table = Table { lines: vec![schema.fields().iter().map(|field| field.name().clone()).collect()] };
        let mut rows = 0;
        while let Some(batch) = batch.rows.next().await {
            let batch = batch?;
            let shown = self.options.rows.saturating_sub(rows).min(batch.num_rows());
            table
                .add(&batch.slice(0, shown), self.options.truncate)
                .map_err(|source| SinkError::Print { source: source.into() })?;
            rows += batch.num_rows();
        }
        let again = if batch.again { " (again)" } else { "" };
        let mut text = format!("-------------------------------------------\nBatch: {}{again}\n", batch.epoch);
        text.push_str("-------------------------------------------\n");
        text.push_str(&table.to_string());
        if rows > self.options.rows {
            text.push_str(&format!("only showing top {} of {rows} rows\n", self.options.rows));
        }
        text.push('\n');
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        written.map_err(|source| SinkError::Print { source: source.into() }.into())
    }
}

/// Cells by line, the first line with the names.
struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    fn add(&mut self, batch: &RecordBatch, cuts: bool) -> Result<(), datafusion::arrow::error::ArrowError> {
        let options = FormatOptions::default().with_null("NULL");
        let columns =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayFormatter<'_>| {
                let text = column.value(row).try_to_string()?;
                Ok(if cuts && text.chars().count() > WIDEST {
                    text.chars().take(WIDEST - 3).chain("...".chars()).collect()
                } else {
                    text
                })
            };
            self.lines.push(columns.iter().map(cell).collect::<Result<_, datafusion::arrow::error::ArrowError>>()?);
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(*width))).chain(["+\n".to_owned()]).collect();
        f.write_str(&rule)?;
        for (n, line) in self.lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "|{cell:>width$}")?;
            }
            f.write_str("|\n")?;
            if n == 0 {
                f.write_str(&rule)?;
            }
        }
        f.write_str(&rule)
    }
}

impl fmt::Debug for ConsoleWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleWriter").field("options", &self.options).finish_non_exhaustive()
    }
}

impl BatchWriter for ConsoleWriter {
    fn describe(&self) -> String {
        "console".to_owned()
    }

    fn write(&self, batch: EpochBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.show(batch))
    }
}
