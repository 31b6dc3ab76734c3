//! Rows as records.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, ListArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::error::KafkaError;

/// A batch whose rows are records.
///
/// **Shape**: `value`, text or binary, is needed; `key` (text or binary), `topic`, `partition` and `headers` (a list of `key` and `value`) may be
/// there. Other columns are refused.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    topic: Option<&'a str>,
    value: BinaryArray,
    key: Option<BinaryArray>,
    topics: Option<StringArray>,
    partition: Option<Int32Array>,
    headers: Option<ListArray>,
}

impl<'a> Records<'a> {
    /// `topic` holds for all rows; without it each row names its own.
    pub(crate) fn of(batch: &RecordBatch, topic: Option<&'a str>) -> Result<Self, KafkaError> {
        let names = ["key", "value", "topic", "partition", "headers"];
        if let Some(other) = batch.schema().fields().iter().find(|field| !names.contains(&field.name().as_str())) {
            return Err(column(
                other.name(),
                other.data_type(),
                "no column of this name; a row has key, value, topic, partition and headers",
            ));
        }
        let column_as =
            |name: &str, wanted: &DataType| batch.column_by_name(name).map(|found| cast_to(name, found, wanted)).transpose();
        let value = column_as("value", &DataType::Binary)?
            .ok_or_else(|| column("value", &DataType::Null, "the bytes or the text of each record"))?;
        let topics = column_as("topic", &DataType::Utf8)?;
        if topic.is_none() && topics.is_none() {
            return Err(column("topic", &DataType::Null, "a column that names the topic of each row, or the option `topic`"));
        }
        Ok(Self {
            topic,
            value: value.as_binary().clone(),
            key: column_as("key", &DataType::Binary)?.map(|keys| keys.as_binary().clone()),
            topics: topics.map(|topics| topics.as_string().clone()),
            partition: column_as("partition", &DataType::Int32)?.map(|numbers| numbers.as_primitive::<Int32Type>().clone()),
            headers: column_as("headers", &headers_type())?.map(|headers| headers.as_list().clone()),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.value.len()
    }

    /// The record of a row, and its bytes.
    pub(crate) fn record(&self, row: usize) -> Result<(Record<'_>, u64), KafkaError> {
        let of_row = self.topics.as_ref().filter(|topics| topics.is_valid(row)).map(|topics| topics.value(row));
        let topic = self.topic.or(of_row).ok_or(KafkaError::RowWithoutTopic { row })?;
        let mut record = BaseRecord::to(topic);
        let mut bytes = 0_usize;
        if self.value.is_valid(row) {
            bytes += self.value.value(row).len();
            record = record.payload(self.value.value(row));
        }
        if let Some(keys) = self.key.as_ref().filter(|keys| keys.is_valid(row)) {
            bytes += keys.value(row).len();
            record = record.key(keys.value(row));
        }
        if let Some(numbers) = self.partition.as_ref().filter(|numbers| numbers.is_valid(row)) {
            record = record.partition(numbers.value(row));
        }
        if let Some(headers) = self.headers.as_ref().filter(|headers| headers.is_valid(row)) {
            record = record.headers(owned_headers(&headers.value(row)));
        }
        Ok((record, bytes as u64))
    }
}

/// Key and value are bytes.
pub(crate) type Record<'a> = BaseRecord<'a, [u8], [u8]>;

fn owned_headers(of_row: &ArrayRef) -> OwnedHeaders {
    let fields = of_row.as_struct();
    let (keys, values) = (fields.column(0).as_string::<i32>(), fields.column(1).as_binary::<i32>());
    (0..fields.len()).fold(OwnedHeaders::new_with_capacity(fields.len()), |headers, n| {
        let value = values.is_valid(n).then(|| values.value(n));
        headers.insert(Header { key: keys.value(n), value })
    })
}

fn headers_type() -> DataType {
    let fields = vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)];
    DataType::List(Arc::new(Field::new("element", DataType::Struct(Fields::from(fields)), true)))
}

/// Text is text of any width and becomes bytes; nothing else is turned into something else.
fn cast_to(name: &str, found: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, KafkaError> {
    let of = found.data_type();
    let is_text = matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let fits = match wanted {
        DataType::Binary => is_text || matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView),
        DataType::Utf8 => is_text,
        DataType::Int32 => of == wanted,
        _ => matches!(of, DataType::List(item) if matches!(item.data_type(), DataType::Struct(fields) if fields.len() == 2)),
    };
    if !fits {
        return Err(column(name, of, &format!("{wanted}; cast it in the statement")));
    }
    cast(found, wanted).map_err(|source| KafkaError::Rows { source })
}

fn column(name: &str, found: &DataType, expected: &str) -> KafkaError {
    KafkaError::Column { column: name.to_owned(), found: found.clone(), expected: expected.to_owned() }
}
