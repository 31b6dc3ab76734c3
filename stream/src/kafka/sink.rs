//! Topics as a sink.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boathouse_base::{BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, Error, OutputMode, Result, StreamSink};
use rdkafka::ClientConfig;
use tokio::task::spawn_blocking;

use super::error::KafkaError;
use super::options::refused;
use super::transactions::Transactions;

/// Settings of the client that the sink itself decides.
const OURS: [&str; 4] = ["bootstrap.servers", "transactional.id", "enable.idempotence", "acks"];

/// Where a [`KafkaSink`] writes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSinkOptions {
    /// Brokers to ask first: `host:port`, separated by commas (`kafka.bootstrap.servers`).
    pub bootstrap_servers: String,
    /// The topic of all rows; without it the column `topic` names one for each.
    pub topic: Option<String>,
    /// The topic of the marks of epochs. It must be there, with one partition and `cleanup.policy=compact`.
    pub epochs_topic: String,
    /// How long to wait for the brokers.
    pub timeout: Duration,
    /// Settings of the client, without the `kafka.` before them. `transaction.timeout.ms` is a minute unless it is set: an epoch that takes longer
    /// fails.
    pub client: BTreeMap<String, String>,
}

impl KafkaSinkOptions {
    /// Rows to these brokers, each to the topic that it names; marks of epochs to `boathouse-epochs`.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            topic: None,
            epochs_topic: "boathouse-epochs".to_owned(),
            timeout: Duration::from_secs(60),
            client: BTreeMap::new(),
        }
    }

    /// Options by Spark's names, in any letter case: `topic` and settings of the client after `kafka.`; and `epochsTopic`.
    ///
    /// **Errors**: `Invalid` for an option that is not known.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KafkaError> {
        let mut options = Self::new("");
        for (option, value) in pairs {
            match option.to_ascii_lowercase().as_str() {
                "kafka.bootstrap.servers" => options.bootstrap_servers = value.to_owned(),
                "topic" => options.topic = Some(value.to_owned()),
                "epochstopic" => options.epochs_topic = value.to_owned(),
                name => match name.strip_prefix("kafka.") {
                    Some(name) => drop(options.client.insert(name.to_owned(), value.to_owned())),
                    None => return Err(refused(option, value, "the Kafka sink has no such option")),
                },
            }
        }
        if options.bootstrap_servers.is_empty() {
            return Err(refused("kafka.bootstrap.servers", "", "name a broker: `host:9092`"));
        }
        Ok(options)
    }
}

/// Rows into topics, each epoch in one transaction: readers of committed rows see every row once, whatever happens.
///
/// The transaction also writes a mark of the epoch, with the position of the query, to a topic of marks. After a crash the last mark that was
/// committed says where the query is. A run that asks for it, or commits, takes the transactions of the query over: a run before it can commit
/// nothing any more and ends with `Conflict`.
///
/// **Shape**: columns `value` (text or binary), and if wanted `key`, `topic`, `partition` and `headers`. The complete mode is refused; in the update
/// mode changed rows are added.
///
/// **Cost**: a transaction an epoch, some requests to its coordinator. The first gesture of a run reads the topic of marks.
///
/// **Source**: columns of Spark's Kafka integration guide, whose own sink may write rows twice.
#[derive(Clone)]
pub struct KafkaSink(Arc<Inner>);

struct Inner {
    options: KafkaSinkOptions,
    config: ClientConfig,
    /// Producers between two epochs. One that is at work is taken out, and only comes back when its transaction is over.
    idle: Mutex<BTreeMap<String, Transactions>>,
}

impl KafkaSink {
    /// A sink with these options. Connects when it is used.
    ///
    /// **Errors**: `Invalid` when an option is one that the sink decides itself.
    pub fn open(options: KafkaSinkOptions) -> Result<Self, KafkaError> {
        if let Some((name, value)) = options.client.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
            return Err(refused(&format!("kafka.{name}"), value, "the sink decides this itself; leave it out"));
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &options.bootstrap_servers);
        Ok(Self(Arc::new(Inner { options, config, idle: Mutex::default() })))
    }

    async fn write(&self, epoch: EpochCommit, mut data: BatchStream) -> Result<EpochReport> {
        if epoch.mode == OutputMode::Complete {
            return Err(KafkaError::Complete.into());
        }
        let mut transactions = self.transactions(&epoch.query_id).await?;
        let mut report = EpochReport::default();
        if transactions.last.as_ref().is_some_and(|last| last.epoch >= epoch.epoch) {
            self.0.give_back(&epoch.query_id, transactions);
            return Ok(EpochReport { skipped: true, ..report });
        }
        transactions = off_the_runtime(move |_| transactions.begin().map(|()| transactions), &self.0).await?;
        while let Some(batch) = data.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.abort(&epoch.query_id, transactions).await;
                    return Err(error);
                }
            };
            let rows = batch.num_rows() as u64;
            let send = move |sink: &Inner| Ok((transactions.send(&batch, sink.options.topic.as_deref()), transactions));
            let (sent, back) = off_the_runtime(send, &self.0).await?;
            transactions = back;
            match sent {
                Ok(bytes) => (report.rows, report.bytes) = (report.rows + rows, report.bytes + bytes),
                Err(error) => {
                    self.abort(&epoch.query_id, transactions).await;
                    return Err(error.into());
                }
            }
        }
        let query = epoch.query_id.clone();
        // A commit that fails may have happened: the producer is given up, and the next one reads the marks.
        let commit = move |sink: &Inner| transactions.commit(&epoch, &sink.options.epochs_topic).map(|()| transactions);
        let transactions = off_the_runtime(commit, &self.0).await?;
        self.0.give_back(&query, transactions);
        Ok(report)
    }

    /// Ends a transaction without its rows. When that fails the producer is given up: the next one of the query ends the transaction.
    async fn abort(&self, query: &str, transactions: Transactions) {
        let aborted = off_the_runtime(move |_| transactions.abort().map(|()| transactions), &self.0).await;
        if let Ok(transactions) = aborted {
            self.0.give_back(query, transactions);
        }
    }

    /// The producer of a query; a new one takes the query over.
    async fn transactions(&self, query: &str) -> Result<Transactions, KafkaError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(query);
        if let Some(transactions) = idle {
            return Ok(transactions);
        }
        let query = query.to_owned();
        off_the_runtime(move |sink| Transactions::open(&sink.options, &sink.config, &query), &self.0).await
    }

    async fn last(&self, query: &str) -> Result<Option<CommittedEpoch>, KafkaError> {
        // Always asked anew: another run may have committed since.
        let old = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(query);
        let end = move |_: &_| {
            drop(old);
            Ok(())
        };
        off_the_runtime(end, &self.0).await?;
        let transactions = self.transactions(query).await?;
        let last = transactions.last.clone();
        self.0.give_back(query, transactions);
        Ok(last)
    }
}

impl Inner {
    fn give_back(&self, query: &str, transactions: Transactions) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).insert(query.to_owned(), transactions);
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce(&Inner) -> Result<T, KafkaError> + Send + 'static,
    sink: &Arc<Inner>,
) -> Result<T, KafkaError> {
    let sink = Arc::clone(sink);
    let done = spawn_blocking(move || work(&sink)).await;
    done.map_err(|_| KafkaError::Stopped { attempt: "write to Kafka topics".to_owned() })?
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl StreamSink for KafkaSink {
    fn describe(&self) -> String {
        let topic = self.0.options.topic.as_deref().unwrap_or("a topic for each row");
        format!("kafka[{topic}]")
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, Result<Option<CommittedEpoch>>> {
        Box::pin(async move { self.last(query_id).await.map_err(Error::from) })
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, Result<EpochReport>> {
        Box::pin(self.write(epoch, data))
    }
}
