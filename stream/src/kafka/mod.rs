//! Topics of Kafka as sources and sinks (feature `kafka`).
//!
//! [`KafkaSource`] reads topics by offsets that stand in the position of the query: it assigns partitions and joins no consumer group. Options
//! and columns have Spark's names. [`KafkaSink`] writes each epoch in one transaction, together with a mark of it: exactly once for readers of committed
//! rows.
//!
//! It talks to brokers through librdkafka, which blocks: its calls run on the blocking threads of the tokio runtime that awaits the query.
//! Without TLS and SASL, and without topics compressed by zstd: librdkafka is compiled without these.

mod ends;
mod epochs;
mod error;
mod fetch;
mod listing;
mod offsets;
mod options;
mod planning;
mod records;
mod rows;
mod sink;
mod source;
mod transactions;

pub use error::{DataLossReason, KafkaError};
pub use offsets::KafkaOffsets;
pub use options::{EndingOffsets, KafkaSourceOptions, OnDataLoss, StartingOffsets, Subscription, WithoutTimestamp};
pub use rows::kafka_schema;
pub use sink::{KafkaSink, KafkaSinkOptions};
pub use source::KafkaSource;
