//! Messages as rows.

use std::sync::Arc;

use datafusion::arrow::array::builder::{BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use datafusion::arrow::array::{ArrayRef, ListArray, RecordBatch, StructArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Bytes of keys, values and headers after which a batch ends before it has [`BATCH_ROWS`] rows.
const BATCH_BYTES: usize = 16 << 20;

/// The columns of a message.
///
/// **Shape**: `key` and `value` (binary), `topic` (text), `partition` (32 bits), `offset` (64 bits), `timestamp` (microseconds, UTC; null
/// when the message has none), `timestampType` (0: of the producer, 1: of the broker, -1: none); with `includeHeaders` also `headers`, a
/// list of `key` and `value`, null when the message has none.
///
/// **Source**: Spark's Kafka integration guide.
pub fn kafka_schema(include_headers: bool) -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", timestamp, true),
        Field::new("timestampType", DataType::Int32, false),
    ];
    if include_headers {
        fields.push(Field::new("headers", DataType::List(header_item()), true));
    }
    Arc::new(Schema::new(fields))
}

fn header_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(header_fields()), false))
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

/// A batch in the making. Bytes go from the client's buffers to the columns in one copy.
#[derive(Debug)]
pub(crate) struct MessageRows {
    schema: SchemaRef,
    key: BinaryBuilder,
    value: BinaryBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    timestamp_type: Int32Builder,
    headers: Option<HeaderRows>,
    rows: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct HeaderRows {
    key: StringBuilder,
    value: BinaryBuilder,
    lengths: Vec<usize>,
    is_valid: Vec<bool>,
}

impl MessageRows {
    pub(crate) fn new(include_headers: bool) -> Self {
        Self {
            schema: kafka_schema(include_headers),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new(),
            timestamp_type: Int32Builder::new(),
            headers: include_headers.then(HeaderRows::default),
            rows: 0,
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, message: &BorrowedMessage<'_>) {
        self.key.append_option(message.key());
        self.value.append_option(message.payload());
        self.topic.append_value(message.topic());
        self.partition.append_value(message.partition());
        self.offset.append_value(message.offset());
        let (time_ms, kind) = match message.timestamp() {
            Timestamp::NotAvailable => (None, -1),
            Timestamp::CreateTime(time_ms) => (Some(time_ms), 0),
            Timestamp::LogAppendTime(time_ms) => (Some(time_ms), 1),
        };
        self.timestamp.append_option(time_ms.map(|time_ms| time_ms.saturating_mul(1_000)));
        self.timestamp_type.append_value(kind);
        self.bytes += message.key_len() + message.payload_len();
        if let Some(headers) = &mut self.headers {
            self.bytes += headers.push(message);
        }
        self.rows += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// What was pushed since the last batch; `None` when that is nothing.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        (self.rows, self.bytes) = (0, 0);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish().with_timezone("UTC")),
            Arc::new(self.timestamp_type.finish()),
        ];
        if let Some(headers) = &mut self.headers {
            columns.push(Arc::new(headers.take()?));
        }
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map(Some)
    }
}

impl HeaderRows {
    /// Gives how many bytes were added.
    fn push(&mut self, message: &BorrowedMessage<'_>) -> usize {
        let (mut bytes, mut count) = (0, 0);
        let headers = message.headers();
        for header in headers.into_iter().flat_map(Headers::iter) {
            bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
            self.key.append_value(header.key);
            self.value.append_option(header.value);
            count += 1;
        }
        self.lengths.push(count);
        self.is_valid.push(headers.is_some());
        bytes
    }

    fn take(&mut self) -> Result<ListArray, ArrowError> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.key.finish()), Arc::new(self.value.finish())];
        let items = StructArray::try_new(header_fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        let nulls = NullBuffer::from(std::mem::take(&mut self.is_valid));
        ListArray::try_new(header_item(), offsets, Arc::new(items), Some(nulls))
    }
}
