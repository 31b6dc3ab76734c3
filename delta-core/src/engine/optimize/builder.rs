//! The gesture.

use boathouse_delta_protocol::features::{self, RowChange};
use boathouse_delta_table::{DataFile, DeltaError, DeltaTable, Snapshot, Transaction};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, stream};

use super::auto;
use super::bin::{self, Bin, Rewritten, Stop};
use super::choose::{self, Aim};
use super::cluster::{self, Extent};
use super::column::order_columns;
use super::compact::compact;
use super::curve::Curve;
use super::order::{Order, order};
use super::purge;
use super::report::{OptimizeReport, metrics};
use super::settings::{OptimizeCommits, OptimizeSettings};
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::formula::{Filter, Formula};
use crate::engine::rewrite;
use crate::engine::touched::partition_row;

/// Tidies a table: the rows stay the same, and lie better. Made by [`DeltaTableExt::optimize`](crate::DeltaTableExt::optimize),
/// [`DeltaTableExt::auto_compact`](crate::DeltaTableExt::auto_compact) and [`DeltaTableExt::purge`](crate::DeltaTableExt::purge).
///
/// | asked for | what it does |
/// | --- | --- |
/// | nothing | puts small files together, in the order of their rows; on a clustered table, clusters what is new |
/// | [`z_order`](Self::z_order) | writes all files again, so that similar values of several columns are in the same files |
/// | [`full`](Self::full) | on a clustered table, clusters again also what is ordered by other columns |
/// | `auto_compact` | puts small files together where the table asks for it and 50 of them are in a partition |
/// | `purge` | writes files again that hold deleted rows, or columns that were dropped |
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, DeltaTableExt};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let batch = |id: i64| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)]).unwrap();
/// # for id in 0..3 { table.append(batch(id).into()).create_if_absent().run().await?; }
/// // Three appends made three files.
/// let report = table.optimize().run().await?;
/// assert_eq!((report.num_files_removed(), report.num_files_added()), (3, 1));
/// // Again there is nothing to do.
/// assert!(!table.optimize().run().await?.committed());
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is tidied before `run`"]
pub struct OptimizeBuilder {
    table: DeltaTable,
    session: Option<SessionContext>,
    goal: Goal,
    condition: Option<Formula>,
    settings: OptimizeSettings,
}

/// What is asked for.
#[derive(Debug, Clone)]
enum Goal {
    Optimize,
    Full,
    ZOrder(Vec<String>),
    Purge,
    /// What the table asks for after commits.
    Auto,
}

/// How the rows of bins are to lie.
enum Plan {
    Compact,
    Order(Order),
    Cluster(Order),
    Purge,
}

impl OptimizeBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table, session: None, goal: Goal::Optimize, condition: None, settings: OptimizeSettings::default() }
    }

    pub(crate) fn purging(table: DeltaTable) -> Self {
        Self { goal: Goal::Purge, ..Self::new(table) }
    }

    pub(crate) fn automatic(table: DeltaTable) -> Self {
        Self { goal: Goal::Auto, ..Self::new(table) }
    }

    /// Looks only at partitions for which this is true. It may speak of partition columns alone.
    pub fn filter(mut self, condition: impl Into<Formula>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Orders the rows of each partition along a Z-curve through these columns: files and row groups are then skipped by any of them.
    pub fn z_order<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.goal = Goal::ZOrder(columns.into_iter().map(Into::into).collect());
        self
    }

    /// On a clustered table, takes also files that were clustered by other columns, or by somebody else.
    pub fn full(mut self) -> Self {
        self.goal = Goal::Full;
        self
    }

    /// Evaluates the condition with this session.
    pub fn with_session(mut self, session: &SessionContext) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// Sets sizes, memory, and how often is committed.
    pub fn with_settings(mut self, settings: OptimizeSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Tidies. The table is at a new version afterwards, or as it was; with
    /// [`OptimizeCommits::EachPartition`](crate::OptimizeCommits::EachPartition) some partitions may be done when others fail.
    ///
    /// No append conflicts with it, and rows that others delete from files which are put together are deleted from the new ones.
    /// Rows that are ordered anew cannot be followed: who deletes some of them meanwhile conflicts.
    ///
    /// **Cost**: reads and writes the files that are chosen once; ordering sorts them, on disk where they exceed
    /// [`memory_bytes`](OptimizeSettings::memory_bytes), and reads the columns of a curve once more.
    ///
    /// **Errors**: `Invalid` for a condition on other columns than those of partitions, and for columns that rows cannot be ordered by;
    /// `Conflict` when another writer changed a file that was to leave.
    pub async fn run(self) -> Result<OptimizeReport> {
        let attempted = if matches!(self.goal, Goal::Purge) { "reorganise" } else { "optimize" };
        let snapshot = self.table.snapshot().await?;
        let attempt = Attempt::new(attempted, snapshot.url());
        rewrite::check(&snapshot, RowChange::Rearrange)?;
        if let Some(feature) = features::catalog_feature(snapshot.protocol()) {
            let operation = "rearrange rows of";
            return Err(DeltaError::MaintenanceByCatalog { url: attempt.url, operation, feature }.into());
        }
        let nothing = OptimizeReport { version: snapshot.version(), ..OptimizeReport::default() };
        let is_auto = matches!(self.goal, Goal::Auto);
        if is_auto && !snapshot.properties().auto_compact {
            return Ok(nothing);
        }
        let plan = self.plan(&snapshot, &attempt)?;
        let (mut files, predicate) = self.candidates(&snapshot, &attempt).await?;
        if is_auto {
            files = auto::piles(files, &self.settings, auto::aim(&self.settings, &snapshot));
        }
        let mut report = OptimizeReport {
            total_considered_files: files.len() as u64,
            preserve_insertion_order: matches!(plan, Plan::Compact | Plan::Purge),
            ..nothing
        };
        let mut batches: Vec<Vec<Bin>> = Vec::new();
        for partition in choose::by_partition(files) {
            let bins = self.bins(&snapshot, &plan, partition, &attempt).await?;
            report.partitions_optimized += u64::from(!bins.is_empty());
            match batches.first_mut().filter(|_| self.settings.commits == OptimizeCommits::One) {
                Some(batch) => batch.extend(bins),
                None => batches.push(bins),
            }
        }
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            let bins = self.rewrite(&snapshot, &plan, batch, &attempt).await?;
            let transaction = bin::stage(&snapshot, &bins).map(|transaction| self.described(transaction, &plan, &predicate));
            let committed = match transaction {
                Ok(transaction) => transaction.metrics(metrics(&bins)).commit().await,
                Err(error) => {
                    bin::discard(&snapshot, bins).await;
                    return Err(error);
                }
            };
            match committed {
                Ok(commit) => {
                    report.add(&bins);
                    report.version = report.version.max(commit.version);
                    report.attempts += commit.attempts;
                }
                Err(error) => {
                    if !bin::may_have_happened(&error) {
                        bin::discard(&snapshot, bins).await;
                    }
                    return Err(error.into());
                }
            }
        }
        report.total_files_skipped = report.total_considered_files - report.num_files_removed();
        let (table, version, files) = (snapshot.url(), report.version, report.num_files_removed());
        tracing::debug!(table, version, attempted, files, added = report.num_files_added(), "done");
        Ok(report)
    }

    fn plan(&self, snapshot: &Snapshot, attempt: &Attempt) -> Result<Plan> {
        let clustering = cluster::columns_of(snapshot)?;
        let clustered = |what| {
            let (attempted, url, columns) = (attempt.attempted, attempt.url.clone(), cluster::names(&clustering).join(", "));
            EngineError::Clustered { attempted, url, columns, what }
        };
        if cluster::is_clustered(snapshot) {
            if self.condition.is_some() && !matches!(self.goal, Goal::Purge) {
                return Err(clustered("a condition"));
            }
            if matches!(self.goal, Goal::ZOrder(_)) {
                return Err(clustered("ZORDER BY"));
            }
        }
        Ok(match &self.goal {
            Goal::Purge => Plan::Purge,
            Goal::ZOrder(columns) => {
                let columns = order_columns(snapshot, columns, attempt)?;
                if columns.is_empty() { Plan::Compact } else { Plan::Order(Order { columns, curve: Curve::Z }) }
            }
            Goal::Full if clustering.is_empty() => {
                return Err(EngineError::NotClustered { attempted: attempt.attempted, url: attempt.url.clone() });
            }
            Goal::Optimize | Goal::Auto if clustering.is_empty() => Plan::Compact,
            Goal::Optimize | Goal::Auto | Goal::Full => Plan::Cluster(Order { columns: clustering, curve: Curve::Hilbert }),
        })
    }

    /// The files that are looked at, and the condition as text.
    async fn candidates(&self, snapshot: &Snapshot, attempt: &Attempt) -> Result<(Vec<DataFile>, Option<String>)> {
        let Some(condition) = &self.condition else { return Ok((snapshot.files(None).await?, None)) };
        let session = self.session.clone().unwrap_or_default();
        let filter = Filter::new(condition, &session, &snapshot.schema(), attempt)?;
        let partitions = snapshot.partition_columns();
        if let Some(column) = filter.columns.iter().find(|column| !partitions.contains(column)) {
            let available = if partitions.is_empty() { "none".to_owned() } else { partitions.join(", ") };
            let (attempted, url, column) = (attempt.attempted, attempt.url.clone(), column.clone());
            return Err(EngineError::NotPartition { attempted, url, column, available });
        }
        let mut matching = Vec::new();
        for file in snapshot.files(filter.predicate.as_ref()).await? {
            if let Some(row) = partition_row(&snapshot.schema(), &file, &filter.columns, attempt)?
                && filter.narrow.is_true(&row, attempt)?.true_count() > 0
            {
                matching.push(file);
            }
        }
        Ok((matching, Some(filter.text)))
    }

    /// What of a partition is written again.
    async fn bins(&self, snapshot: &Snapshot, plan: &Plan, files: Vec<DataFile>, attempt: &Attempt) -> Result<Vec<Bin>> {
        let settings = &self.settings;
        let target_bytes = settings.target_bytes(snapshot);
        let extent = if matches!(self.goal, Goal::Full) { Extent::Full } else { Extent::New };
        Ok(match plan {
            Plan::Compact if matches!(self.goal, Goal::Auto) => choose::bins(&files, auto::aim(settings, snapshot)),
            Plan::Compact => {
                let (min_bytes, max_deleted_percent) = (settings.min_bytes(target_bytes), settings.max_deleted_percent);
                choose::bins(&files, Aim { target_bytes, min_bytes, max_deleted_percent })
            }
            Plan::Order(_) => vec![Bin { files }],
            Plan::Cluster(order) => {
                let (min_bytes, most_bytes) = (settings.min_cube_size_bytes, settings.target_cube_size_bytes);
                cluster::bins(&files, &order.columns, extent, min_bytes, most_bytes)
            }
            Plan::Purge => purge::bins(snapshot, files, attempt).await?,
        })
    }

    /// Writes the new files of all bins. When one fails, those of the others are deleted again.
    async fn rewrite(&self, snapshot: &Snapshot, plan: &Plan, bins: Vec<Bin>, attempt: &Attempt) -> Result<Vec<Rewritten>> {
        let at_once = match plan {
            Plan::Compact | Plan::Purge => self.settings.bins_at_once(),
            // One sort has all the memory.
            Plan::Order(_) | Plan::Cluster(_) => 1,
        };
        let stop = Stop::default();
        let work = stream::iter(bins).map(|bin| async {
            if stop.is_set() {
                return None;
            }
            let done = self.rewrite_bin(snapshot, plan, bin, attempt).await;
            if done.is_err() {
                stop.set();
            }
            Some(done)
        });
        let (mut rewritten, mut failed) = (Vec::new(), None);
        let mut work = std::pin::pin!(work.buffered(at_once));
        while let Some(done) = work.next().await {
            match done {
                Some(Ok(bin)) => rewritten.push(bin),
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => {}
            }
        }
        match failed {
            None => Ok(rewritten),
            Some(error) => {
                bin::discard(snapshot, rewritten).await;
                Err(error)
            }
        }
    }

    async fn rewrite_bin(&self, snapshot: &Snapshot, plan: &Plan, bin: Bin, attempt: &Attempt) -> Result<Rewritten> {
        match plan {
            // What was one file stays one, so that its rows can be followed.
            Plan::Compact => {
                let copy_from_rows = self.settings.copy_row_groups_from_rows;
                compact(snapshot, bin, copy_from_rows, self.settings.writer(u64::MAX), attempt).await
            }
            // Values that nobody shall find any more must not be copied.
            Plan::Purge => compact(snapshot, bin, u64::MAX, self.settings.writer(u64::MAX), attempt).await,
            Plan::Order(by) => order(snapshot, bin, by, &self.settings, attempt).await,
            Plan::Cluster(by) => {
                let mut cube = order(snapshot, bin, by, &self.settings, attempt).await?;
                cluster::tag(&mut cube.written.adds, &snapshot.table().env().uuid(), &by.columns);
                Ok(cube)
            }
        }
    }

    /// The operation and its parameters, as Spark writes them.
    fn described(&self, transaction: Transaction, plan: &Plan, predicate: &Option<String>) -> Transaction {
        let predicate = rewrite::predicate_parameter(predicate.as_deref());
        let list = |order: &Order| serde_json::Value::from(cluster::names(&order.columns)).to_string();
        let none = || "[]".to_owned();
        let (z_order, clustered) = match plan {
            Plan::Purge => {
                return transaction.operation("REORG", [("predicate", predicate), ("applyPurge", "true".to_owned())]);
            }
            Plan::Compact => (none(), none()),
            Plan::Order(order) => (list(order), none()),
            Plan::Cluster(order) => (none(), list(order)),
        };
        let mut parameters = vec![
            ("predicate", predicate),
            ("zOrderBy", z_order),
            ("clusterBy", clustered),
            ("auto", matches!(self.goal, Goal::Auto).to_string()),
        ];
        if matches!(plan, Plan::Cluster(_)) {
            parameters.push(("isFull", matches!(self.goal, Goal::Full).to_string()));
        }
        transaction.operation("OPTIMIZE", parameters)
    }
}

impl std::fmt::Debug for OptimizeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptimizeBuilder")
            .field("table", &self.table)
            .field("goal", &self.goal)
            .field("condition", &self.condition)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
