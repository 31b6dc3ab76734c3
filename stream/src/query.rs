//! Declaring a streaming query.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use boathouse_base::{Env, OutputMode, Progress, ReadLimit, StreamSink, StreamSource};
use boathouse_storage::Storage;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::checkpoint::Identity;
use crate::crash::CrashPoints;
use crate::definition::{NamedSource, Target};
use crate::error::StreamError;
use crate::event_time::Watermark;
use crate::listener::StreamListener;
use crate::progress::{EpochProgress, RunReport};
use crate::running::RunningQuery;
use crate::session::SOURCE;
use crate::sinks::{BatchWriter, ConsoleOptions, ConsoleWriter, EpochBatch, ForeachBatch};
use crate::spark::SparkCheckpoint;
use crate::transform::Transform;
use crate::trigger::Trigger;
use crate::watermarks::WatermarkPolicy;
use crate::window::TumblingWindow;

/// Called after each epoch.
pub(crate) type Observer = Arc<dyn Fn(&EpochProgress) + Send + Sync>;

/// A query that reads a source forever, and writes what it computes to a sink, exactly once.
///
/// Declaring it does nothing; [`open`](Self::open) finds out where it was. It can be cloned and opened again.
#[derive(Clone)]
#[must_use = "a query does nothing until it is opened"]
pub struct StreamQuery {
    pub(crate) name: String,
    pub(crate) sources: Vec<NamedSource>,
    pub(crate) sink: Option<Target>,
    pub(crate) late_sink: Option<Arc<dyn StreamSink>>,
    pub(crate) checkpoint: Option<Storage>,
    pub(crate) spark: Option<SparkCheckpoint>,
    pub(crate) transform: Transform,
    pub(crate) session: Option<SessionContext>,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) watermark_policy: WatermarkPolicy,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) window: Option<TumblingWindow>,
    pub(crate) output_mode: OutputMode,
    pub(crate) trigger: Trigger,
    pub(crate) read_limit: ReadLimit,
    pub(crate) state_bytes: usize,
    pub(crate) env: Option<Env>,
    pub(crate) progress: Progress,
    pub(crate) observer: Option<Observer>,
    pub(crate) listeners: Vec<Arc<dyn StreamListener>>,
    pub(crate) crash_points: Option<Arc<dyn CrashPoints>>,
}

/// Bytes of state in memory, unless the caller says how many.
const STATE_BYTES: usize = 1 << 30;

impl StreamQuery {
    /// Begins a query. The name is for people: it stands in reports and errors, and may change.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sources: Vec::new(),
            sink: None,
            late_sink: None,
            checkpoint: None,
            spark: None,
            transform: Transform::Identity,
            session: None,
            watermark: None,
            watermark_policy: WatermarkPolicy::default(),
            idle_timeout: None,
            window: None,
            output_mode: OutputMode::Append,
            trigger: Trigger::AvailableNow,
            read_limit: ReadLimit::default(),
            state_bytes: STATE_BYTES,
            env: None,
            progress: Progress::none(),
            observer: None,
            listeners: Vec::new(),
            crash_points: None,
        }
    }

    /// Where it reads: the table `source` in SQL.
    pub fn source(self, source: Arc<dyn StreamSource>) -> Self {
        self.source_named(SOURCE, source)
    }

    /// One of several places where it reads, by its name in SQL. The name stands in the checkpoint.
    pub fn source_named(mut self, name: impl Into<String>, source: Arc<dyn StreamSource>) -> Self {
        self.sources.push(NamedSource { name: name.into(), source, watermark: None });
        self
    }

    /// As [`source_named`](Self::source_named), for a source whose event time stands in `column`: waits `delay` for late rows.
    ///
    /// With several, the watermark of the query is the earliest: a row of the slower source is not late because the other was ahead.
    pub fn source_with_watermark(
        mut self,
        name: impl Into<String>,
        source: Arc<dyn StreamSource>,
        column: impl Into<String>,
        delay: Duration,
    ) -> Self {
        let watermark = Some(Watermark { column: column.into(), delay });
        self.sources.push(NamedSource { name: name.into(), source, watermark });
        self
    }

    /// Where it writes. The position is committed there, together with the rows.
    pub fn sink(mut self, sink: Arc<dyn StreamSink>) -> Self {
        self.sink = Some(Target::Sink(sink));
        self
    }

    /// Gives each epoch to a function, at least once: an epoch that a crash has interrupted comes again with its number and the same rows.
    ///
    /// The checkpoint says which epochs are done. **Source**: Spark's `foreachBatch`.
    ///
    /// # Example
    /// ```
    /// # use boathouse_stream::{StreamQuery, sinks::EpochBatch};
    /// # fn query(query: StreamQuery) -> StreamQuery {
    /// query.foreach_batch(|batch: EpochBatch| async move {
    ///     let (query, epoch) = (batch.query_id.clone(), batch.epoch);
    ///     let rows = batch.collect().await?;
    ///     // Write them where (query, epoch) is remembered: each row is there once.
    ///     println!("{} batches of epoch {epoch} of {query}", rows.len());
    ///     Ok::<_, boathouse_base::Error>(())
    /// })
    /// # }
    /// ```
    pub fn foreach_batch<F, E>(self, function: impl Fn(EpochBatch) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.writer(Arc::new(ForeachBatch::new(function)))
    }

    /// Prints each epoch to the standard output.
    pub fn console(self, options: ConsoleOptions) -> Self {
        self.writer(Arc::new(ConsoleWriter::new(options)))
    }

    /// Gives each epoch to a writer, at least once; see [`foreach_batch`](Self::foreach_batch).
    pub fn writer(mut self, writer: Arc<dyn BatchWriter>) -> Self {
        self.sink = Some(Target::Writer(writer));
        self
    }

    /// Where rows go that the watermark drops: each exactly once, after the epoch that dropped it is committed.
    ///
    /// **Shape**: `query` (its name), `epoch`, `operator` (as in progress), `watermark` (which the row was behind), `over_at` (when the row
    /// was over: its event time, or the end of its window), and `row`, the row as it came to the operator, as JSON. In queries that join
    /// streams it has the columns that the query uses, else all that there are.
    ///
    /// **Cost**: a file of the checkpoint and a commit of this sink for each epoch that drops rows. All columns are read.
    ///
    /// **Errors**: when this sink fails the step fails, after the epoch was committed; the next one begins with what was not taken.
    pub fn late_rows_to(mut self, sink: Arc<dyn StreamSink>) -> Self {
        self.late_sink = Some(sink);
        self
    }

    /// A folder of its own, where the query keeps its id and the state of its windows.
    pub fn checkpoint(mut self, folder: Storage) -> Self {
        self.checkpoint = Some(folder);
        self
    }

    /// Begins where a query of Spark was: after its last committed batch. Once this query has a position of its own, that counts.
    ///
    /// Sources are matched by their order, or by their names where Spark has given them. What Spark's operators remember is not taken over.
    ///
    /// **Errors** of [`open`](Self::open): `Invalid` when the sources are others, or when there is state.
    pub fn start_from_spark(mut self, checkpoint: SparkCheckpoint) -> Self {
        self.spark = Some(checkpoint);
        self
    }

    /// A function from the rows of the source to the rows that are aggregated or written.
    ///
    /// It is called when the query is planned: at the first epoch, and again when the source gets new columns. Aggregates, DISTINCT
    /// and joins of streams remember what earlier epochs held; ORDER BY, LIMIT and OVER are refused.
    pub fn transform(
        mut self,
        transform: impl Fn(DataFrame) -> Result<DataFrame, DataFusionError> + Send + Sync + 'static,
    ) -> Self {
        self.transform = Transform::function(transform);
        self
    }

    /// As [`transform`](Self::transform), for a function that must wait: to open a table that it joins with, say.
    pub fn transform_async<F>(mut self, transform: impl Fn(DataFrame) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DataFrame, DataFusionError>> + Send + 'static,
    {
        self.transform = Transform::asynchronous(transform);
        self
    }

    /// As [`transform`](Self::transform), for a function of all sources: each is a table of the session by its name.
    pub fn tables<F>(mut self, build: impl Fn(SessionContext) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DataFrame, DataFusionError>> + Send + 'static,
    {
        self.transform = Transform::of_tables(build);
        self
    }

    /// As [`transform`](Self::transform), in SQL over the tables of the sources: `SELECT … FROM source`. The functions
    /// `window(time, '10 minutes'[, '5 minutes'])` and `window_time(window)` are those of Spark.
    ///
    /// An event time is followed by Spark's clause, as by [`watermark`](Self::watermark): `FROM STREAM source WATERMARK at DELAY OF
    /// INTERVAL 10 MINUTES`, with `AS name` after an expression. A place in an error of the engine counts in the statement with
    /// these clauses written as subqueries.
    ///
    /// Other tables are those of [`session`](Self::session). With one of them in it, the statement is planned in every
    /// epoch, so that it sees their newest rows.
    pub fn sql(mut self, statement: impl Into<String>) -> Self {
        self.transform = Transform::Sql(statement.into());
        self
    }

    /// Tables, functions and settings for the transformation. Nothing is registered in it.
    ///
    /// Without one, the query makes a session of one partition: the order of rows then never depends on threads.
    pub fn session(mut self, session: SessionContext) -> Self {
        self.session = Some(session);
        self
    }

    /// Follows the event time in `column` of the transformed rows, and waits `delay` for late rows.
    ///
    /// Without a window it only shows in progress reports.
    pub fn watermark(mut self, column: impl Into<String>, delay: Duration) -> Self {
        self.watermark = Some(Watermark { column: column.into(), delay });
        self
    }

    /// Which watermark the query has when it follows several event times. Without this: the [earliest](WatermarkPolicy::Min).
    ///
    /// May change between runs: the watermark never goes back.
    ///
    /// **Source**: Spark, `spark.sql.streaming.multipleWatermarkPolicy`.
    pub fn multiple_watermark_policy(mut self, policy: WatermarkPolicy) -> Self {
        self.watermark_policy = policy;
        self
    }

    /// An event time that no row had for this long no longer holds the watermark of the query back, until rows have it again. Rows
    /// that then come behind the watermark are late. When all event times are idle, the latest one counts.
    ///
    /// Time is that of the query's clock, and counts from the beginning of the run. Without this a source that falls silent holds
    /// results back for ever.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Aggregates the transformed rows in windows; the sink gets one row for each group of a window that has ended.
    pub fn window(mut self, window: TumblingWindow) -> Self {
        self.window = Some(window);
        self
    }

    /// [`Append`](OutputMode::Append) (the default) gives the sink each window once, when the watermark has passed its
    /// end. [`Complete`](OutputMode::Complete) gives it all windows in every epoch, and never forgets one.
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.output_mode = mode;
        self
    }

    /// When epochs are made by [`RunningQuery::run_until`].
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// How much one epoch reads at most.
    pub fn read_limit(mut self, limit: ReadLimit) -> Self {
        self.read_limit = limit;
        self
    }

    /// How much memory the operators' state may take. Rows beyond it stay in files of the checkpoint, if that is on the local disk, or go to
    /// temporary files of the session; they are read block by block when their keys come. Without this: 1 GiB.
    ///
    /// **Units**: bytes. **Cost**: 9 bytes for each row stay in memory in any case, 17 where rows have an end; and what one epoch reads and changes
    /// comes on top. An epoch reads the blocks of 4,096 rows that its keys are in.
    pub fn state_memory(mut self, bytes: usize) -> Self {
        self.state_bytes = bytes;
        self
    }

    /// Time, ids and chance. Without one: those of the system.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Reports rows while they are written (phase `rows`), and epochs (phase `epochs`).
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Is told what each epoch did. Called between epochs: it should return soon.
    pub fn on_epoch(mut self, observer: impl Fn(&EpochProgress) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Tells a listener what becomes of the query's runs. There may be several.
    pub fn listener(mut self, listener: Arc<dyn StreamListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Makes the query die where a test says.
    pub fn with_crash_points(mut self, points: impl CrashPoints + 'static) -> Self {
        self.crash_points = Some(Arc::new(points));
        self
    }

    /// Finds out where the query was, and is ready to go on.
    ///
    /// The query may have changed since the checkpoint was last used: filters, projections and delays, and the aggregates of a group. An
    /// aggregate that is new counts rows from then on.
    ///
    /// **Cost**: a few small reads of the checkpoint, one question to the sink, and for queries that remember a run of the planner.
    ///
    /// **Errors**: `Invalid` when a part is missing or a window makes no sense, when the checkpoint belongs to another query, or when the
    /// query has [changed](StreamError::Changed) in a way that its state cannot follow; `Corrupt` when sink and checkpoint contradict each other; those of the stores.
    pub async fn open(self) -> Result<RunningQuery, StreamError> {
        let definition = self.complete()?;
        let identity = Identity {
            id: definition.env.uuid(),
            name: definition.name.clone(),
            source: definition.sources.iter().map(|source| source.source.describe()).collect::<Vec<_>>().join(", "),
            sink: definition.sink.describe(),
            output_mode: match definition.output_mode {
                OutputMode::Append => "append".to_owned(),
                OutputMode::Complete => "complete".to_owned(),
                OutputMode::Update => "update".to_owned(),
            },
        };
        let query_id = definition.checkpoint.identify(identity).await?;
        RunningQuery::open(definition, query_id).await
    }

    /// Opens the query, takes everything that is there now, and returns.
    ///
    /// **Errors**: those of [`open`](Self::open) and of [`RunningQuery::run_available_now`].
    pub async fn run_available_now(self) -> Result<RunReport, StreamError> {
        self.open().await?.run_available_now().await
    }
}

impl fmt::Debug for StreamQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamQuery")
            .field("name", &self.name)
            .field("sources", &self.sources)
            .field("transform", &self.transform)
            .field("watermark", &self.watermark)
            .field("window", &self.window)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}
