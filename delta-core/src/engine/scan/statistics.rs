//! What the log knows of files, as statistics of the engine.
//!
//! | known | told as |
//! | --- | --- |
//! | rows, minus those that a deletion vector deletes | exact |
//! | nulls | exact where no row is deleted |
//! | minima and maxima of integers, dates, booleans, short decimals | exact where no row is deleted and the bounds are tight |
//! | those of floats (NaN), texts (cut off), times (cut to milliseconds) | bounds |
//!
//! What is exact answers `count`, `min` and `max` without reading. Bounds help to choose joins and to skip.

use std::sync::Arc;

use boathouse_base::{Bounds, ColumnBounds, Value};
use boathouse_delta_table::protocol::stats::BoundsReader;
use boathouse_delta_table::{DataFile, Snapshot};
use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};

/// Above so many values of statistics, only rows are counted: reading them would take longer than they save.
const MOST_VALUES: usize = 2_000_000;

/// Reads what is known of files, for some columns of a source.
pub(crate) struct KnownFiles {
    reader: BoundsReader,
    /// For each column of the source: its name in the table, when something is to be known of it.
    columns: Vec<Option<String>>,
    types: Vec<DataType>,
}

impl KnownFiles {
    /// For a source of these columns, named as in the table where they are wanted.
    pub(crate) fn new(snapshot: &Snapshot, source: &Schema, mut columns: Vec<Option<String>>, files: usize) -> Self {
        if columns.iter().flatten().count().saturating_mul(files) > MOST_VALUES {
            columns.fill(None);
        }
        let names = columns.iter().flatten().map(String::as_str);
        let reader =
            BoundsReader::for_columns(snapshot.delta_schema(), snapshot.partition_columns(), snapshot.column_mapping(), names);
        let types = source.fields().iter().map(|field| field.data_type().clone()).collect();
        Self { reader, columns, types }
    }

    /// What is known of one file.
    pub(crate) fn of(&self, file: &DataFile) -> Statistics {
        let bounds = file.bounds(&self.reader);
        let deleted = file.deletion_vector().map_or(0, |vector| vector.cardinality);
        let rows = bounds.num_records().map(|rows| rows.saturating_sub(deleted)).and_then(|rows| usize::try_from(rows).ok());
        let whole = deleted == 0 && bounds.is_tight();
        let nothing = rows == Some(0);
        let column = |(name, data_type): (&Option<String>, &DataType)| match name {
            None => ColumnStatistics::new_unknown(),
            Some(_) if nothing => ColumnStatistics::new_unknown(),
            Some(name) => match file.partition_value(name) {
                Some(value) => of_partition(value, rows, data_type),
                None => of_column(&bounds.column(name), data_type, whole),
            },
        };
        Statistics {
            num_rows: rows.map_or(Precision::Absent, Precision::Exact),
            total_byte_size: Precision::Inexact(usize::try_from(file.size_bytes()).unwrap_or(usize::MAX)),
            column_statistics: self.columns.iter().zip(&self.types).map(column).collect(),
        }
    }
}

/// Every row of a file has the same value of a partition column, whatever is deleted.
fn of_partition(value: &Value, rows: Option<usize>, data_type: &DataType) -> ColumnStatistics {
    let unknown = ColumnStatistics::new_unknown();
    match scalar(value, data_type) {
        None => unknown,
        Some(_) if *value == Value::Null => {
            ColumnStatistics { null_count: rows.map_or(Precision::Absent, Precision::Exact), ..unknown }
        }
        Some(value) => {
            let precise = if data_type.is_floating() { Precision::Inexact(value) } else { Precision::Exact(value) };
            ColumnStatistics { null_count: Precision::Exact(0), min_value: precise.clone(), max_value: precise, ..unknown }
        }
    }
}

/// What is known of all files together.
pub(crate) fn of_all<'a>(files: impl IntoIterator<Item = &'a Arc<Statistics>>, schema: &Schema) -> Result<Statistics> {
    let mut files = files.into_iter().map(AsRef::as_ref).peekable();
    if files.peek().is_none() {
        return Ok(Statistics { num_rows: Precision::Exact(0), ..Statistics::new_unknown(schema) });
    }
    Statistics::try_merge_iter(files, schema)
}

fn of_column(bounds: &ColumnBounds, data_type: &DataType, whole: bool) -> ColumnStatistics {
    let exact = whole && is_exact(data_type);
    let precise = |value: &Option<Value>| match value.as_ref().and_then(|value| scalar(value, data_type)) {
        Some(value) if exact => Precision::Exact(value),
        Some(value) => Precision::Inexact(value),
        None => Precision::Absent,
    };
    let nulls = bounds.null_count.and_then(|nulls| usize::try_from(nulls).ok());
    let null_count = nulls.map_or(Precision::Absent, |nulls| match whole || nulls == 0 {
        true => Precision::Exact(nulls),
        false => Precision::Inexact(nulls),
    });
    ColumnStatistics {
        null_count,
        min_value: precise(&bounds.min),
        max_value: precise(&bounds.max),
        ..ColumnStatistics::new_unknown()
    }
}

/// Whether minima and maxima of this type stand in the log as they are.
fn is_exact(data_type: &DataType) -> bool {
    let integer = matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64);
    integer
        || match data_type {
            DataType::Date32 | DataType::Boolean => true,
            // As numbers of JSON, longer ones may have been rounded.
            DataType::Decimal128(precision, _) => *precision <= 15,
            _ => false,
        }
}

/// A value as one of this type; nothing when it is none of it.
pub(crate) fn scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    let text = |text: &String| Some(text.clone());
    Some(match (data_type, value) {
        (_, Value::Null) => ScalarValue::try_new_null(data_type).ok()?,
        (DataType::Boolean, Value::Boolean(v)) => ScalarValue::Boolean(Some(*v)),
        (DataType::Int8, Value::Int(v)) => ScalarValue::Int8(Some(i8::try_from(*v).ok()?)),
        (DataType::Int16, Value::Int(v)) => ScalarValue::Int16(Some(i16::try_from(*v).ok()?)),
        (DataType::Int32, Value::Int(v)) => ScalarValue::Int32(Some(i32::try_from(*v).ok()?)),
        (DataType::Int64, Value::Int(v)) => ScalarValue::Int64(Some(*v)),
        #[expect(clippy::cast_possible_truncation, reason = "the value of a column of 32 bits, kept wider")]
        (DataType::Float32, Value::Float(v)) => ScalarValue::Float32(Some(*v as f32)),
        (DataType::Float64, Value::Float(v)) => ScalarValue::Float64(Some(*v)),
        (DataType::Utf8, Value::String(v)) => ScalarValue::Utf8(text(v)),
        (DataType::Utf8View, Value::String(v)) => ScalarValue::Utf8View(text(v)),
        (DataType::Binary, Value::Binary(v)) => ScalarValue::Binary(Some(v.to_vec())),
        (DataType::BinaryView, Value::Binary(v)) => ScalarValue::BinaryView(Some(v.to_vec())),
        (DataType::Date32, Value::Date(v)) => ScalarValue::Date32(Some(*v)),
        (DataType::Timestamp(TimeUnit::Microsecond, zone), Value::Timestamp(v) | Value::TimestampNtz(v)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (DataType::Decimal128(precision, scale), Value::Decimal { unscaled, scale: found }) if scale == found => {
            ScalarValue::Decimal128(Some(*unscaled), *precision, *scale)
        }
        _ => return None,
    })
}
