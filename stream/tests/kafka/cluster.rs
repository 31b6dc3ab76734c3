//! A cluster in this process, and messages for it.

use std::time::Duration;

use boathouse_base::{Offset, ReadLimit, StreamSource};
use boathouse_stream::kafka::{KafkaSource, KafkaSourceOptions};
use datafusion::arrow::array::types::{Int32Type, Int64Type};
use datafusion::arrow::array::{AsArray, RecordBatch};
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) mock: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Cluster {
    /// A cluster with one broker and a topic `clicks` of so many partitions.
    pub(crate) fn with_partitions(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("clicks", partitions, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
        Self { mock, producer }
    }

    pub(crate) fn servers(&self) -> String {
        self.mock.bootstrap_servers()
    }

    /// One message for each value.
    pub(crate) fn send(&self, topic: &str, partition: i32, values: &[&str]) {
        for value in values {
            self.put(BaseRecord::to(topic).partition(partition).key("k").payload(*value));
        }
        self.flush();
    }

    pub(crate) fn put(&self, record: BaseRecord<'_, str, str>) {
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub(crate) fn put_with_headers(&self, record: BaseRecord<'_, str, str>, headers: OwnedHeaders) {
        self.put(record.headers(headers));
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// A source over `clicks`, from its earliest offset unless an option says otherwise.
    pub(crate) fn source(&self, options: &[(&str, &str)]) -> KafkaSource {
        let servers = self.servers();
        let mut pairs = vec![
            ("kafka.bootstrap.servers", servers.as_str()),
            ("kafka.fetch.wait.max.ms", "10"),
            ("kafkaConsumer.pollTimeoutMs", "10000"),
            ("startingOffsets", "earliest"),
        ];
        if !options.iter().any(|(name, _)| ["subscribe", "assign", "subscribePattern"].contains(name)) {
            pairs.push(("subscribe", "clicks"));
        }
        pairs.extend(options);
        KafkaSource::open(KafkaSourceOptions::from_pairs(pairs).unwrap()).unwrap()
    }
}

/// The end of the next epoch without limits; `None` when there is nothing new.
pub(crate) async fn next(source: &KafkaSource, start: Option<&Offset>) -> Option<Offset> {
    source.plan(start, ReadLimit::default()).await.unwrap().map(|planned| planned.end)
}

/// Partition, offset and value of the rows of a range.
pub(crate) async fn rows(source: &KafkaSource, start: Option<&Offset>, end: &Offset) -> Vec<(i32, i64, String)> {
    let batches = source.read(start, end).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(rows_of).collect()
}

pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<(i32, i64, String)> {
    let partitions = batch["partition"].as_primitive::<Int32Type>().values();
    let offsets = batch["offset"].as_primitive::<Int64Type>().values();
    let values = batch["value"].as_binary::<i32>();
    let text = |n: usize| String::from_utf8(values.value(n).to_vec()).unwrap();
    (0..batch.num_rows()).map(|n| (partitions[n], offsets[n], text(n))).collect()
}
