//! Whole files as values: a row for each.
//!
//! **Source**: Apache Spark, "Binary File Data Source".

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;

use super::SourceFile;

pub(crate) fn fields() -> Fields {
    vec![
        Field::new("path", DataType::Utf8, true),
        Field::new("modificationTime", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("length", DataType::Int64, true),
        Field::new("content", DataType::Binary, true),
    ]
    .into()
}

pub(super) fn to_batch(file: &SourceFile, bytes: &Bytes) -> Result<RecordBatch, ArrowError> {
    if i32::try_from(bytes.len()).is_err() {
        return Err(ArrowError::InvalidArgumentError(format!("the file has {} bytes, a value at most 2 GB", bytes.len())));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values([&file.url])),
        Arc::new(TimestampMicrosecondArray::from(vec![file.modified_us]).with_timezone("UTC")),
        Arc::new(Int64Array::from(vec![i64::try_from(bytes.len()).unwrap_or(i64::MAX)])),
        Arc::new(BinaryArray::from_iter_values([bytes])),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields())), columns)
}
