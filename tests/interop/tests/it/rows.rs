//! Rows as JSON: how they become Arrow, how Arrow becomes them, and how they are compared.
//!
//! A value is null, a number, text or a bool. Decimals are their digits without the point, dates are days, timestamps are
//! microseconds, NaN is a text: two engines that mean the same say the same.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use serde_json::{Value, json};

/// A row of values.
pub(crate) type Row = Vec<Value>;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Long,
    Integer,
    Text,
    Double,
    Decimal,
    Date,
    Timestamp,
    Bool,
}

/// A column of a table.
pub(crate) type Column = (&'static str, Kind);

impl Kind {
    /// What the scripts of the peers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Integer => "integer",
            Self::Text => "string",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Bool => "boolean",
        }
    }

    /// In a CREATE TABLE of ours.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Long => "BIGINT",
            Self::Integer => "INT",
            Self::Text => "STRING",
            Self::Double => "DOUBLE",
            Self::Decimal => "DECIMAL(12, 2)",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMP",
            Self::Bool => "BOOLEAN",
        }
    }

    fn array<'v>(self, values: impl Iterator<Item = &'v Value>) -> ArrayRef {
        let double = |value: &Value| value.as_f64().or_else(|| value.is_string().then_some(f64::NAN));
        let int = |value: &Value| value.as_i64().map(|number| i32::try_from(number).unwrap());
        match self {
            Self::Long => Arc::new(values.map(Value::as_i64).collect::<Int64Array>()),
            Self::Integer => Arc::new(values.map(int).collect::<Int32Array>()),
            Self::Text => Arc::new(values.map(|value| value.as_str().map(str::to_owned)).collect::<StringArray>()),
            Self::Double => Arc::new(values.map(double).collect::<Float64Array>()),
            Self::Decimal => {
                let digits: Decimal128Array = values.map(|value| value.as_i64().map(i128::from)).collect();
                Arc::new(digits.with_precision_and_scale(12, 2).unwrap())
            }
            Self::Date => Arc::new(values.map(int).collect::<Date32Array>()),
            Self::Timestamp => Arc::new(values.map(Value::as_i64).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Self::Bool => Arc::new(values.map(Value::as_bool).collect::<BooleanArray>()),
        }
    }
}

/// Columns as the scripts of the peers take them.
pub(crate) fn named(columns: &[Column]) -> Value {
    columns.iter().map(|(name, kind)| json!([name, kind.name()])).collect()
}

/// Rows as Arrow.
pub(crate) fn batch(columns: &[Column], rows: &[Row]) -> RecordBatch {
    let column = |(at, (name, kind)): (usize, &Column)| (*name, kind.array(rows.iter().map(|row| &row[at])), true);
    RecordBatch::try_from_iter_with_nullable(columns.iter().enumerate().map(column)).unwrap()
}

/// Rows as JSON objects, sorted: what all readers are compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bag(pub(crate) Vec<String>);

impl Bag {
    pub(crate) fn of(columns: &[String], rows: impl Iterator<Item = Row>) -> Self {
        let text = |row: Row| columns.iter().cloned().zip(row).collect::<serde_json::Map<String, Value>>();
        Self::sorted(rows.map(|row| Value::Object(text(row)).to_string()).collect())
    }

    fn sorted(mut rows: Vec<String>) -> Self {
        rows.sort();
        Self(rows)
    }

    /// Of rows of Arrow, however texts are laid out. None is the empty bag.
    pub(crate) fn of_batches(batches: &[RecordBatch]) -> Self {
        let Some(first) = batches.first() else { return Self(Vec::new()) };
        let names: Vec<String> = first.schema().fields().iter().map(|field| field.name().clone()).collect();
        let rows = |batch: &RecordBatch| -> Vec<Row> {
            let columns: Vec<Vec<Value>> = batch.columns().iter().map(values).collect();
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
        };
        Self::of(&names, batches.iter().flat_map(rows))
    }

    /// The same where these columns are null in all rows: what a reader finds that cannot read them.
    pub(crate) fn without(&self, columns: &[&str]) -> Self {
        let blank = |row: &String| {
            let blank = |(name, value): (&String, &Value)| {
                (name.clone(), if columns.contains(&name.as_str()) { Value::Null } else { value.clone() })
            };
            let row: serde_json::Map<String, Value> = serde_json::from_str(row).unwrap();
            Value::Object(row.iter().map(blank).collect()).to_string()
        };
        Self::sorted(self.0.iter().map(blank).collect())
    }

    /// The rows that do not hold a text.
    pub(crate) fn without_rows(&self, text: &str) -> Self {
        Self(self.0.iter().filter(|row| !row.contains(text)).cloned().collect())
    }

    /// Of an answer of a peer: `{"columns": …, "rows": …}`.
    pub(crate) fn of_answer(answer: &Value) -> Self {
        assert!(answer.get("refused").is_none(), "the peer refuses: {answer}");
        let columns: Vec<String> = serde_json::from_value(answer["columns"].clone()).unwrap();
        let rows: Vec<Row> = serde_json::from_value(answer["rows"].clone()).unwrap();
        Self::of(&columns, rows.into_iter())
    }

    /// Where two bags differ: rows that only the first has, and those that only the second has. Nothing where they are one.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let only = |these: &Self, those: &Self| {
            let mut left = those.0.clone();
            let kept = these.0.iter().filter(|row| match left.iter().position(|other| other == *row) {
                Some(at) => {
                    left.swap_remove(at);
                    false
                }
                None => true,
            });
            kept.take(5).cloned().collect::<Vec<_>>()
        };
        (self != other).then(|| format!("only here: {:#?}\nonly there: {:#?}", only(self, other), only(other, self)))
    }
}

fn values(array: &ArrayRef) -> Vec<Value> {
    let array = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => cast(array, &DataType::Utf8).unwrap(),
        DataType::Timestamp(_, zone) => cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone())).unwrap(),
        _ => Arc::clone(array),
    };
    let value = |row: usize| match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::UInt64 => json!(array.as_primitive::<datafusion::arrow::datatypes::UInt64Type>().value(row)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Float64 => match array.as_primitive::<Float64Type>().value(row) {
            number if number.is_nan() => json!("NaN"),
            number => json!(number),
        },
        DataType::Decimal128(_, _) => json!(i64::try_from(array.as_primitive::<Decimal128Type>().value(row)).unwrap()),
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => json!(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Boolean => json!(array.as_boolean().value(row)),
        other => panic!("no test has a column of {other}"),
    };
    (0..array.len()).map(value).collect()
}
