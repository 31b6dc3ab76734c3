//! Step 1: the year arrives as one JSON-lines file a day, with what real feeds have.
//!
//! The rows are real; the dirt is added here, always at the same places:
//! - from July on every row has a new column, `seats` (of the plane, from its tail number);
//! - the file of 8 March is cut in the middle of a line;
//! - one row in 1,500 has text where a number belongs (`"distance": "1400 mi"`, `"dep_delay": "2 min"`);
//! - 40 files arrive one month late;
//! - cancelled flights have nulls, as they came.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::json::LineDelimitedWriter;
use boathouse::storage::Storage;
use bytes::Bytes;
use indicatif::ProgressBar;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The day whose file is cut.
const TRUNCATED: (i64, i64) = (3, 8);
/// Every file whose day of the year is a multiple of this arrives one month late, up to November.
const LATE_EVERY: usize = 8;
const LATE_FILES: usize = 40;

/// One day's file.
pub(crate) struct DayFile {
    /// `2013-03-08.jsonl`
    pub(crate) name: String,
    /// The month whose landing brings it (1 to 12).
    pub(crate) arrives: i64,
    rows: Vec<u32>,
    month: i64,
    day: i64,
}

impl DayFile {
    /// Whether it comes with the landing of the next month.
    pub(crate) fn is_late(&self) -> bool {
        self.arrives != self.month
    }
}

/// The feed: all flights of the year, and the files that they arrive in.
pub(crate) struct Feed {
    flights: RecordBatch,
    seats: ArrayRef,
    /// In the order of days.
    pub(crate) files: Vec<DayFile>,
}

impl Feed {
    /// Reads the shipped flights; of each day only every `sample_every`-th.
    pub(crate) fn open(data: &Path, sample_every: usize) -> Result<Self> {
        let flights = read_parquet(&data.join("flights.parquet"))?;
        let planes = read_parquet(&data.join("planes.parquet"))?;
        let seats = seats_of(&flights, &planes)?;
        let (months, days) = (int_column(&flights, "month")?, int_column(&flights, "day")?);
        let mut by_day: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for row in 0..flights.num_rows() {
            if row % sample_every == 0 {
                by_day.entry((months.value(row), days.value(row))).or_default().push(u32::try_from(row)?);
            }
        }
        let mut late = 0;
        let files = by_day
            .into_iter()
            .enumerate()
            .map(|(nth, ((month, day), rows))| {
                let is_late = (nth + 1) % LATE_EVERY == 0 && month < 12 && late < LATE_FILES;
                late += usize::from(is_late);
                let arrives = month + i64::from(is_late);
                DayFile { name: format!("2013-{month:02}-{day:02}.jsonl"), arrives, rows, month, day }
            })
            .collect();
        Ok(Self { flights, seats, files })
    }

    /// The content of one file.
    fn render(&self, file: &DayFile) -> Result<Bytes> {
        let rows = take_record_batch(&self.flights, &UInt32Array::from(file.rows.clone()))?;
        let rows = if file.month >= 7 {
            let seats = arrow::compute::take(&self.seats, &UInt32Array::from(file.rows.clone()), None)?;
            with_column(&rows, "seats", seats)?
        } else {
            rows
        };
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&rows)?;
        writer.finish()?;
        let mut text = String::from_utf8(writer.into_inner())?;
        for (line, row) in text.clone().lines().zip(&file.rows) {
            if let Some(dirty) = soil(line, *row) {
                text = text.replacen(line, &dirty, 1);
            }
        }
        if (file.month, file.day) == TRUNCATED {
            text.truncate(cut(&text));
        }
        Ok(Bytes::from(text))
    }
}

/// The files of one month that are not there yet. Landing a file is atomic, so this may be killed and run again.
pub(crate) async fn land_month(
    feed: &Feed,
    landing: &Storage,
    month: i64,
    present: &[String],
    bar: &ProgressBar,
) -> Result<usize> {
    let mut landed = 0;
    for file in feed.files.iter().filter(|file| file.arrives == month) {
        if present.binary_search(&file.name).is_err() {
            landing.put(&file.name, feed.render(file)?).await?;
            landed += 1;
        }
        bar.inc(1);
    }
    Ok(landed)
}

/// Lines in the landing folder, blank ones aside, and the files that hold them.
pub(crate) async fn count_lines(landing: &Storage) -> Result<(u64, usize)> {
    let files = landing.list("").await?;
    let mut lines = 0;
    for file in &files {
        let bytes = landing.get(&file.path).await?;
        lines += bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    }
    Ok((lines, files.len()))
}

/// A few values of the wrong type: text with a unit where a number belongs.
fn soil(line: &str, row: u32) -> Option<String> {
    let (field, unit) = match row % 3_000 {
        0 => ("\"distance\":", " mi"),
        1_500 => ("\"dep_delay\":", " min"),
        _ => return None,
    };
    let start = line.find(field)? + field.len();
    let end = start + line[start..].find([',', '}'])?;
    Some(format!("{}\"{}{unit}\"{}", &line[..start], &line[start..end], &line[end..]))
}

/// Where the file is cut: in the middle of a line, at four fifths of its length.
fn cut(text: &str) -> usize {
    let near = text.len() * 4 / 5;
    let line_start = text[..near].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
    line_start + (line_end - line_start) / 2
}

fn seats_of(flights: &RecordBatch, planes: &RecordBatch) -> Result<ArrayRef> {
    let tails = planes.column_by_name("tailnum").context("planes have no column `tailnum`")?;
    let tails = arrow::compute::cast(tails, &arrow::datatypes::DataType::Utf8)?;
    let seats = int_column(planes, "seats")?;
    let by_tail: HashMap<&str, i64> =
        tails.as_string::<i32>().iter().zip(seats.iter()).filter_map(|(tail, seats)| Some((tail?, seats?))).collect();
    let tails = flights.column_by_name("tailnum").context("flights have no column `tailnum`")?;
    let tails = arrow::compute::cast(tails, &arrow::datatypes::DataType::Utf8)?;
    let seats: Int64Array = tails.as_string::<i32>().iter().map(|tail| by_tail.get(tail?).copied()).collect();
    Ok(Arc::new(seats))
}

/// Reads a whole Parquet file.
pub(crate) fn read_parquet(path: &Path) -> Result<RecordBatch> {
    let file = File::open(path).with_context(|| format!("open the shipped data {}", path.display()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(65_536).build()?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    let schema = batches.first().context("the shipped data has no rows")?.schema();
    Ok(concat_batches(&schema, &batches)?)
}

fn int_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    let column = batch.column_by_name(name).with_context(|| format!("the shipped data has no column `{name}`"))?;
    column.as_primitive_opt::<Int64Type>().with_context(|| format!("the column `{name}` is {} and not Int64", column.data_type()))
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef, bool)> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column), field.is_nullable()))
        .collect();
    columns.push((name.to_owned(), column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
