//! Rows as text, so that rows of two readers can be compared as bags.
//!
//! The text knows values and not their Arrow types: an integer is its digits, an instant its microseconds, a float its
//! bits. So it does not matter in which type the expected rows were stored.

use std::fmt::Write;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

/// The rows of batches, sorted.
pub(crate) fn bag_of_batches(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<String>, String> {
    let mut bag = Vec::new();
    for batch in batches {
        if batch.num_columns() != schema.fields().len() {
            return Err(format!("{} columns, not {}", batch.num_columns(), schema.fields().len()));
        }
        let columns = schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned().ok_or(field.name()));
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>().map_err(|name| format!("no column `{name}`"))?;
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            for column in &columns {
                show(column.as_ref(), row, &mut text);
                text.push('|');
            }
            bag.push(text);
        }
    }
    bag.sort_unstable();
    Ok(bag)
}

/// The rows of Parquet files that hold the columns of this schema, sorted.
pub(crate) fn bag_of_files(schema: &Schema, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut batches = Vec::new();
    for path in files {
        let file = std::fs::File::open(path).unwrap();
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap().build().unwrap();
        batches.extend(reader.map(|batch| batch.unwrap()));
    }
    bag_of_batches(schema, &batches)
}

/// Says where two sorted bags begin to differ.
pub(crate) fn first_difference(found: &[String], expected: &[String]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} rows, expected {}", found.len(), expected.len()));
    }
    match found.iter().zip(expected).find(|(found, expected)| found != expected) {
        Some((found, expected)) => Err(format!("a row is\n  {found}\nand expected\n  {expected}")),
        None => Ok(()),
    }
}

/// Appends a value as text.
pub(crate) fn show(array: &dyn Array, row: usize, into: &mut String) {
    if array.data_type() == &DataType::Null || array.is_null(row) {
        into.push('-');
        return;
    }
    macro_rules! number {
        ($type:ty) => {
            write!(into, "{}", array.as_primitive::<$type>().value(row)).unwrap()
        };
    }
    match array.data_type() {
        DataType::Boolean => write!(into, "{}", array.as_boolean().value(row)).unwrap(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::Float32 => write!(into, "f{:x}", array.as_primitive::<Float32Type>().value(row).to_bits()).unwrap(),
        DataType::Float64 => write!(into, "d{:x}", array.as_primitive::<Float64Type>().value(row).to_bits()).unwrap(),
        DataType::Decimal128(_, scale) => {
            write!(into, "{}e-{scale}", array.as_primitive::<Decimal128Type>().value(row)).unwrap();
        }
        DataType::Utf8 => write!(into, "{:?}", array.as_string::<i32>().value(row)).unwrap(),
        DataType::Binary => array.as_binary::<i32>().value(row).iter().for_each(|byte| write!(into, "{byte:02x}").unwrap()),
        DataType::Date32 => number!(Date32Type),
        DataType::Timestamp(unit, _) => {
            let us = match unit {
                TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row) * 1000,
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
                _ => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000),
            };
            write!(into, "{us}us").unwrap();
        }
        DataType::Struct(fields) => {
            into.push('{');
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                write!(into, "{}:", field.name()).unwrap();
                show(column.as_ref(), row, into);
                into.push(',');
            }
            into.push('}');
        }
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            into.push('[');
            for at in 0..elements.len() {
                show(elements.as_ref(), at, into);
                into.push(',');
            }
            into.push(']');
        }
        DataType::Map(_, _) => {
            // The entries of a map have no order.
            let entries = array.as_map().value(row);
            let mut shown: Vec<String> = (0..entries.len())
                .map(|at| {
                    let mut entry = String::new();
                    show(entries.column(0).as_ref(), at, &mut entry);
                    entry.push('=');
                    show(entries.column(1).as_ref(), at, &mut entry);
                    entry
                })
                .collect();
            shown.sort_unstable();
            write!(into, "<{}>", shown.join(",")).unwrap();
        }
        other => panic!("no text for {other}"),
    }
}
