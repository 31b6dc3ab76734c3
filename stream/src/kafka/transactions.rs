//! The producer of a query and its transactions. Everything here blocks.

use std::fmt;
use std::time::Duration;

use boathouse_base::{CommittedEpoch, EpochCommit};
use datafusion::arrow::array::RecordBatch;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::epochs::{Epochs, PARTITION, mark};
use super::error::KafkaError;
use super::records::Records;
use super::sink::KafkaSinkOptions;

/// How long a full queue is waited for before a record is tried again.
const QUEUE_WAIT: Duration = Duration::from_millis(10);

/// The one producer that may write for a query: its transactional id is the query's, so that a later one fences it off.
pub(crate) struct Transactions {
    query: String,
    servers: String,
    timeout: Duration,
    producer: BaseProducer,
    /// The last epoch in Kafka. Nobody else can commit one while this producer is not fenced off.
    pub(crate) last: Option<CommittedEpoch>,
}

impl Transactions {
    /// Takes the query over: ends what an earlier producer left open, then reads which epoch is the last.
    pub(crate) fn open(options: &KafkaSinkOptions, config: &ClientConfig, query: &str) -> Result<Self, KafkaError> {
        let mut settings = config.clone();
        settings
            .set("transactional.id", format!("boathouse-{query}"))
            // Keys go where Kafka's own clients put them.
            .set("partitioner", "murmur2_random");
        for (name, value) in &options.client {
            settings.set(name, value);
        }
        let servers = options.bootstrap_servers.clone();
        let producer = settings.create().map_err(|source| KafkaError::Client {
            attempt: format!("make a producer of the query `{query}`"),
            servers: servers.clone(),
            source: Box::new(source),
        })?;
        let mut opened = Self { query: query.to_owned(), servers, timeout: options.timeout, producer, last: None };
        opened.producer.init_transactions(opened.timeout).map_err(|error| opened.failed("begin the transactions", error))?;
        let epochs = Epochs { config, servers: &opened.servers, topic: &options.epochs_topic, timeout: options.timeout };
        opened.last = epochs.last(query)?;
        Ok(opened)
    }

    pub(crate) fn begin(&self) -> Result<(), KafkaError> {
        self.producer.begin_transaction().map_err(|error| self.failed("begin a transaction", error))
    }

    /// Gives how many bytes the rows have.
    pub(crate) fn send(&self, batch: &RecordBatch, topic: Option<&str>) -> Result<u64, KafkaError> {
        let records = Records::of(batch, topic)?;
        let mut bytes = 0;
        for row in 0..records.len() {
            let (record, length) = records.record(row)?;
            self.put(record)?;
            bytes += length;
        }
        // Serves what the brokers have answered; nothing is waited for.
        self.producer.poll(Duration::ZERO);
        Ok(bytes)
    }

    fn put(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaError> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => record = again,
                Err((error, _)) => return Err(self.failed("write a record", error)),
            }
            self.producer.poll(QUEUE_WAIT);
        }
    }

    /// Marks the epoch and commits the transaction. Every record was taken by the brokers, or it fails.
    pub(crate) fn commit(&mut self, epoch: &EpochCommit, epochs_topic: &str) -> Result<(), KafkaError> {
        let mark = mark(epoch)?;
        let record = BaseRecord::to(epochs_topic).partition(PARTITION).key(self.query.as_bytes()).payload(mark.as_bytes());
        self.put(record)?;
        self.producer.flush(self.timeout).map_err(|error| self.failed("write the rows of an epoch", error))?;
        self.producer.commit_transaction(self.timeout).map_err(|error| self.failed("commit an epoch", error))?;
        self.last = Some(CommittedEpoch { epoch: epoch.epoch, payload: Some(epoch.payload.clone()) });
        Ok(())
    }

    pub(crate) fn abort(&self) -> Result<(), KafkaError> {
        // What was not sent yet is not needed; the client only aborts when it has told what became of every record.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.flush(self.timeout).map_err(|error| self.failed("give up the rows of an epoch", error))?;
        self.producer.abort_transaction(self.timeout).map_err(|error| self.failed("abort a transaction", error))
    }

    fn failed(&self, attempt: &str, source: ClientError) -> KafkaError {
        let code = match &source {
            ClientError::Transaction(error) => Some(error.code()),
            other => other.rdkafka_error_code(),
        };
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let fenced = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];
        if [code, fatal].into_iter().flatten().any(|code| fenced.contains(&code)) {
            return KafkaError::Fenced { attempt: attempt.to_owned(), query: self.query.clone() };
        }
        KafkaError::Client {
            attempt: format!("{attempt} of the query `{}`", self.query),
            servers: self.servers.clone(),
            source: Box::new(source),
        }
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("query", &self.query).field("last", &self.last).finish_non_exhaustive()
    }
}
