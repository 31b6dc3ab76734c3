//! The rows that are there when a stream begins, in parts: files, or intervals of an event time.

use std::ops::Range;

use boathouse_base::{Comparison, Predicate, Value};
use boathouse_delta_protocol::schema::PrimitiveType;
use boathouse_delta_table::{DataFile, Snapshot};

use super::error::DeltaSourceError;
use super::options::EventTime;

/// The most intervals.
const MOST_INTERVALS: u64 = 10_000;
/// Statistics of times are cut to milliseconds: a value may be so much above its maximum.
const CUT_US: i64 = 999;

/// The parts of a snapshot, in the order in which they are streamed.
#[derive(Debug)]
pub(super) struct Initial {
    files: Vec<DataFile>,
    intervals: Option<Intervals>,
}

/// Intervals of time, and the files that have rows of each.
#[derive(Debug)]
struct Intervals {
    column: String,
    /// Makes a value of the column from microseconds.
    value: fn(i64) -> Value,
    first_us: i64,
    width_us: i64,
    /// For each file the intervals that it may have rows of.
    spans: Vec<Range<u64>>,
    count: u64,
}

/// Files, and which of their rows.
pub(super) type Part<'a> = (Vec<&'a DataFile>, Option<Predicate>);

impl Initial {
    pub(super) async fn of(snapshot: &Snapshot, event_time: Option<&EventTime>) -> Result<Self, DeltaSourceError> {
        let files = snapshot.files(None).await?;
        let intervals = event_time.map(|by| Intervals::new(snapshot, &files, by)).transpose()?;
        Ok(Self { files, intervals })
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> u64 {
        self.intervals.as_ref().map_or(self.files.len() as u64, |intervals| intervals.count)
    }

    /// One of them.
    pub(super) fn part(&self, at: u64) -> Part<'_> {
        match &self.intervals {
            None => (usize::try_from(at).ok().and_then(|at| self.files.get(at)).into_iter().collect(), None),
            Some(intervals) => {
                let files = self.files.iter().zip(&intervals.spans).filter(|(_, span)| span.contains(&at));
                (files.map(|(file, _)| file).collect(), intervals.predicate(at))
            }
        }
    }
}

impl Intervals {
    fn new(snapshot: &Snapshot, files: &[DataFile], by: &EventTime) -> Result<Self, DeltaSourceError> {
        let unfit = || DeltaSourceError::EventTime { url: snapshot.url().to_owned(), column: by.column.clone() };
        let primitive = snapshot.delta_schema().field(&by.column).and_then(|field| field.data_type.as_primitive());
        let value: fn(i64) -> Value = match primitive {
            Some(PrimitiveType::Timestamp) => Value::Timestamp,
            Some(PrimitiveType::TimestampNtz) => Value::TimestampNtz,
            Some(PrimitiveType::Date) => |us| Value::Date(i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX)),
            _ => return Err(unfit()),
        };
        let is_date = primitive == Some(PrimitiveType::Date);
        let known: Vec<Option<(i64, i64)>> = files.iter().map(|file| bounds(file, &by.column)).collect();
        let first_us = known.iter().flatten().map(|(least, _)| *least).min().unwrap_or_default();
        let last_us = known.iter().flatten().map(|(_, greatest)| *greatest).max().unwrap_or_default();
        let span = last_us.abs_diff(first_us);
        // A date is a day: what is shorter would cut none.
        let least = if is_date { DAY_US.unsigned_abs() } else { 1 };
        let width = by.interval_us.max(least).max(span / MOST_INTERVALS + 1);
        let width = if is_date { width.div_ceil(DAY_US.unsigned_abs()) * DAY_US.unsigned_abs() } else { width };
        let count = if files.is_empty() { 0 } else { span / width + 1 };
        let place = |us: i64| (us.abs_diff(first_us) / width).min(count.saturating_sub(1));
        // Of a file without statistics any row may be anywhere, and nulls come first.
        let all = || 0..count;
        let spans = files.iter().zip(known).map(|(file, known)| match known {
            Some((least, greatest)) if !has_nulls(file, &by.column) => place(least)..place(greatest) + 1,
            Some((_, greatest)) => 0..place(greatest) + 1,
            None => all(),
        });
        let spans = spans.collect();
        Ok(Self { column: by.column.clone(), value, first_us, width_us: i64::try_from(width).unwrap_or(i64::MAX), spans, count })
    }

    /// Which rows an interval has: the first one those without a time and all before, the last one all after.
    fn predicate(&self, at: u64) -> Option<Predicate> {
        let edge = |at: u64| {
            let steps = i64::try_from(at).unwrap_or(i64::MAX);
            (self.value)(self.first_us.saturating_add(self.width_us.saturating_mul(steps)))
        };
        let from = Predicate::compare(self.column.as_str(), Comparison::GtEq, edge(at));
        let to = Predicate::compare(self.column.as_str(), Comparison::Lt, edge(at + 1));
        match (at == 0, at + 1 >= self.count) {
            (true, true) => None,
            (true, false) => Some(to.or(Predicate::IsNull(self.column.clone()))),
            (false, true) => Some(from),
            (false, false) => Some(from.and(to)),
        }
    }
}

const DAY_US: i64 = 86_400_000_000;

fn micros(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(us) | Value::TimestampNtz(us) => Some(*us),
        Value::Date(days) => i64::from(*days).checked_mul(DAY_US),
        _ => None,
    }
}

/// The least and the greatest time of a file.
fn bounds(file: &DataFile, column: &str) -> Option<(i64, i64)> {
    if let Some(value) = file.partition_value(column) {
        return micros(value).map(|us| (us, us));
    }
    let stats = file.stats()?;
    let of_column = stats.columns.get(&column.into())?;
    Some((micros(of_column.min.as_ref()?)?, micros(of_column.max.as_ref()?)?.saturating_add(CUT_US)))
}

fn has_nulls(file: &DataFile, column: &str) -> bool {
    if file.partition_value(column).is_some() {
        return false;
    }
    let nulls = file.stats().and_then(|stats| stats.columns.get(&column.into()).and_then(|column| column.null_count));
    nulls != Some(0)
}
