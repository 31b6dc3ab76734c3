//! A table at a location.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::Schema;
use boathouse_base::{BatchStream, BoxFuture, Env, Table, TableSnapshot, TableVersion, WriteMode, WriteReport, WriteRequest};
use boathouse_delta_protocol::action::Protocol;
use boathouse_delta_protocol::features;
use boathouse_storage::Storage;
use bytes::Bytes;

use crate::alter::AlterBuilder;
use crate::changes::{ChangeRange, ChangesBuilder};
use crate::checkpoint::CheckpointBuilder;
use crate::clone_table::CloneBuilder;
use crate::cluster::ClusterByBuilder;
use crate::committer::{Committer, LogView, Management, PutIfAbsent};
use crate::convert::ConvertBuilder;
use crate::create::CreateBuilder;
use crate::drop_feature::DropFeatureBuilder;
use crate::erase::{EraseReport, erase};
use crate::error::{DeltaError, Result};
use crate::expressions::Expressions;
use crate::fsck::FsckBuilder;
use crate::history::{self, CommitSummary};
use crate::layout::Layout;
use crate::log::load::{self, LoadedLog};
use crate::log_cleanup::LogCleanupBuilder;
use crate::manifest::ManifestBuilder;
use crate::restore::RestoreBuilder;
use crate::snapshot::{Loaded, Snapshot};
use crate::transaction::{CommitQueue, RecentCommits};
use crate::upkeep::{Upkeep, UpkeepSettings};
use crate::vacuum::VacuumBuilder;
use crate::write::WriteBuilder;

/// A table at a location: it may not exist yet. Cheap to clone; clones share one cache of the newest snapshot.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::{BatchStream, ScanRequest};
/// use boathouse_delta_table::DeltaTable;
/// use boathouse_storage::{Storage, system_env};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let table = DeltaTable::at(Storage::memory(), system_env());
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)])?;
/// let report = table.append(BatchStream::from_batches(batch.schema(), vec![batch])).create_if_absent().run().await?;
/// assert_eq!((report.version, report.rows), (0, 3));
///
/// let rows = table.snapshot().await?.scan(ScanRequest::default())?.collect().await?;
/// assert_eq!(rows.iter().map(|b| b.num_rows()).sum::<usize>(), 3);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeltaTable {
    inner: Arc<Inner>,
    expressions: Option<Arc<dyn Expressions>>,
}

struct Inner {
    storage: Storage,
    /// The same folder, with the log as the committer sees it.
    log: Storage,
    /// What the committer has told of it, when the log's folder is not all there is.
    view: Option<LogView>,
    env: Env,
    /// The newest version that was loaded. A later load goes on from it.
    newest: Mutex<Option<Arc<Loaded>>>,
    /// Appends that wait for their commit.
    queue: CommitQueue,
    /// Commits that were made or met lately.
    recent: RecentCommits,
    /// Who decides which commit becomes a version.
    committer: Arc<dyn Committer>,
    /// What is done after commits.
    upkeep: Upkeep,
}

impl DeltaTable {
    /// A table at this folder. Does no I/O.
    pub fn at(storage: Storage, env: Env) -> Self {
        Self::new(storage, env, Arc::new(PutIfAbsent), UpkeepSettings::default())
    }

    fn new(storage: Storage, env: Env, committer: Arc<dyn Committer>, upkeep: UpkeepSettings) -> Self {
        let view = match committer.management() {
            Management::Catalog => LogView::of(&storage),
            Management::Files => None,
        };
        let (view, log) = view.map_or_else(|| (None, storage.clone()), |(view, log)| (Some(view), log));
        let (newest, queue, recent) = (Mutex::new(None), CommitQueue::default(), RecentCommits::default());
        Self {
            inner: Arc::new(Inner { storage, log, view, env, newest, queue, recent, committer, upkeep: Upkeep::new(upkeep) }),
            expressions: None,
        }
    }

    /// The same folder, whose commits this one decides. Every handle of a table must be given the same.
    #[must_use]
    pub fn with_committer(&self, committer: Arc<dyn Committer>) -> Self {
        let settings = self.upkeep().settings.clone();
        let expressions = self.expressions.clone();
        Self { expressions, ..Self::new(self.storage().clone(), self.env().clone(), committer, settings) }
    }

    /// The same table with other [upkeep](UpkeepSettings) after commits. A handle of its own: it shares no cache with
    /// this one.
    #[must_use]
    pub fn with_upkeep(&self, settings: UpkeepSettings) -> Self {
        let committer = Arc::clone(&self.inner.committer);
        let expressions = self.expressions.clone();
        Self { expressions, ..Self::new(self.storage().clone(), self.env().clone(), committer, settings) }
    }

    /// Waits until the upkeep after commits of this handle is done: checksums, checkpoints, cleaning.
    ///
    /// Nothing depends on it. A process that ends without it leaves the rest to the next writer.
    pub async fn settle(&self) {
        self.upkeep().settle().await;
    }

    /// The folder.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    /// Where time and ids come from.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// The same table, written to with somebody who understands the SQL of its constraints, generated columns and
    /// defaults. Without, a table that has such rules is read, and not written to.
    #[must_use]
    pub fn with_expressions(mut self, expressions: Arc<dyn Expressions>) -> Self {
        self.expressions = Some(expressions);
        self
    }

    /// Who understands the SQL of the table's rules.
    pub fn expressions(&self) -> Option<&Arc<dyn Expressions>> {
        self.expressions.as_ref()
    }

    /// The location, as a URL.
    pub fn url(&self) -> &str {
        self.inner.storage.url()
    }

    /// The newest version.
    ///
    /// **Cost**: the first time what [`snapshot_at`](Self::snapshot_at) costs; later two HEADs, and when there is a new
    /// version a LIST from the last one on, and a GET for each new commit. Commits of this handle are known without.
    ///
    /// **Errors**: `NotFound` when there is no table; `Unsupported` names the feature that cannot be read;
    /// `Corrupt` names the commit and the line.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.ask_committer().await?;
        let known = self.newest().clone();
        if let Some(known) = known {
            match load::refresh(self.log(), &known.log).await? {
                Some(log) if log.state.version == known.log.state.version && log.last_commit == known.log.last_commit => {
                    return Ok(self.wrap(known));
                }
                Some(log) => return self.remember(log, Some(&known)),
                None => self.recent().forget(),
            }
        }
        self.remember(load::load(self.log(), None).await?, None)
    }

    /// The newest version for somebody who goes through the statistics of all files. Where the table was not open yet,
    /// they come along, and the version is not remembered: they would stay in memory with it.
    pub(crate) async fn snapshot_with_statistics(&self) -> Result<Snapshot> {
        if self.newest().is_some() {
            return self.snapshot().await;
        }
        self.ask_committer().await?;
        Ok(self.wrap(self.loaded(load::load_with_statistics(self.log()).await?, None)?))
    }

    /// A version: by number, or the last one at or before a time, which must not be after the newest one.
    ///
    /// **Cost**: a GET of `_last_checkpoint`, a LIST, GETs for a checkpoint and at most
    /// `delta.checkpointInterval` commits, whatever the number of files. By time, the newest version and a LIST of the whole
    /// log more; with times in commits, the GETs of a binary search.
    ///
    /// **Errors**: `NotFound` when there is no table, no such version, none that early, none that early any more, or none that late yet.
    pub async fn snapshot_at(&self, version: TableVersion) -> Result<Snapshot> {
        if matches!(version, TableVersion::Number(_)) {
            self.ask_committer().await?;
        }
        let number = match version {
            TableVersion::Latest => return self.snapshot().await,
            TableVersion::Number(number) => number,
            TableVersion::AtUs(at_us) => history::version_at(&self.snapshot().await?, at_us).await?,
        };
        let known = self.newest().clone();
        if let Some(known) = known.filter(|k| k.log.state.version == number)
            && let Some(log) = load::refresh(self.log(), &known.log).await?
            && log.state.version == number
        {
            return self.remember(log, Some(&known));
        }
        let log = load::load(self.log(), Some(number)).await?;
        Ok(self.wrap(self.loaded(log, None)?))
    }

    /// Whether there is a table.
    pub async fn exists(&self) -> Result<bool> {
        self.try_snapshot().await.map(|snapshot| snapshot.is_some())
    }

    /// The newest version; `None` when there is no table.
    pub async fn try_snapshot(&self) -> Result<Option<Snapshot>> {
        match self.snapshot().await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(DeltaError::NoTable { .. } | DeltaError::NotATable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an empty table with these columns.
    pub fn create(&self, schema: Schema) -> CreateBuilder {
        CreateBuilder::new(self.clone(), schema)
    }

    /// Adds rows.
    pub fn append(&self, data: BatchStream) -> WriteBuilder {
        WriteBuilder::new(self.clone(), WriteRequest::append(), data)
    }

    /// Replaces rows: all of them, or with [`replace_where`](WriteBuilder::replace_where) those that match.
    pub fn overwrite(&self, data: BatchStream) -> WriteBuilder {
        WriteBuilder::new(self.clone(), WriteRequest { mode: WriteMode::Overwrite, ..WriteRequest::default() }, data)
    }

    /// Writes as a request says.
    pub fn write(&self, request: WriteRequest, data: BatchStream) -> WriteBuilder {
        WriteBuilder::new(self.clone(), request, data)
    }

    /// Changes columns, constraints and properties.
    pub fn alter(&self) -> AlterBuilder {
        AlterBuilder::new(self.clone())
    }

    /// Changes by which columns the table is clustered; with none, it is not clustered any more.
    pub fn cluster_by<S: Into<String>>(&self, columns: impl IntoIterator<Item = S>) -> ClusterByBuilder {
        ClusterByBuilder::new(self.clone(), columns.into_iter().map(Into::into).collect())
    }

    /// Reads which rows came, left and became others, version by version. The table must have `delta.enableChangeDataFeed`.
    pub fn changes(&self, range: impl Into<ChangeRange>) -> ChangesBuilder {
        ChangesBuilder::new(self.clone(), range.into())
    }

    /// The commits, newest first, at most `limit`.
    ///
    /// **Cost**: a LIST of the log, a GET for each commit that is returned.
    pub async fn history(&self, limit: usize) -> Result<Vec<CommitSummary>> {
        history::history(self, limit).await
    }

    /// Makes an earlier version the newest one.
    pub fn restore(&self, version: TableVersion) -> RestoreBuilder {
        RestoreBuilder::new(self.clone(), version)
    }

    /// Makes another table of this one: its files are copied, or only named.
    pub fn clone_to(&self, target: &Self) -> CloneBuilder {
        CloneBuilder::new(self.clone(), target.clone())
    }

    /// Makes a table of the Parquet files that are in its folder.
    pub fn convert_parquet(&self) -> ConvertBuilder {
        ConvertBuilder::new(self.clone())
    }

    /// Takes a feature from the table, so that clients which do not know it can use the table.
    pub fn drop_feature(&self, feature: impl Into<String>) -> DropFeatureBuilder {
        DropFeatureBuilder::new(self.clone(), feature.into())
    }

    /// Takes files out of the table that are gone.
    pub fn fsck(&self) -> FsckBuilder {
        FsckBuilder::new(self.clone())
    }

    /// Writes lists of the files for readers that know Parquet, and not Delta.
    pub fn manifest(&self) -> ManifestBuilder {
        ManifestBuilder::new(self.clone())
    }

    /// Writes a checkpoint of the newest version. Writers do that by themselves every
    /// `delta.checkpointInterval` commits.
    pub fn checkpoint(&self) -> CheckpointBuilder {
        CheckpointBuilder::new(self.clone())
    }

    /// Deletes commits and checkpoints that no version within `delta.logRetentionDuration` needs. Writers do that by
    /// themselves after a checkpoint, unless `delta.enableExpiredLogCleanup` is false.
    pub fn clean_log(&self) -> LogCleanupBuilder {
        LogCleanupBuilder::new(self.clone())
    }

    /// Deletes files that no version within the retention needs.
    pub fn vacuum(&self) -> VacuumBuilder {
        VacuumBuilder::new(self.clone())
    }

    /// Deletes the table: its log, its data files, and whatever else is in its folder. There is no way back.
    ///
    /// It can be called again when it was interrupted. Until the oldest commit is deleted the table is as it was, and from then on it is
    /// none: readers that are under way fail, and never see an older version.
    ///
    /// **Cost**: one LIST of the folder, and a DELETE for each file.
    pub async fn erase(&self) -> Result<EraseReport> {
        erase(self).await
    }

    pub(crate) fn upkeep(&self) -> &Upkeep {
        &self.inner.upkeep
    }

    /// The id of the table, if it was loaded.
    pub(crate) fn known_id(&self) -> Option<String> {
        self.newest().as_ref().map(|loaded| loaded.log.state.metadata.id.clone())
    }

    fn remember(&self, log: LoadedLog, before: Option<&Arc<Loaded>>) -> Result<Snapshot> {
        let loaded = self.loaded(log, before)?;
        let mut newest = self.newest();
        // Another task may have been further already, unless the table is another one now.
        let further = newest.as_ref().is_some_and(|newest| newest.log.state.version > loaded.log.state.version);
        if before.is_none() || !further {
            *newest = Some(Arc::clone(&loaded));
        }
        drop(newest);
        Ok(self.wrap(loaded))
    }

    fn loaded(&self, log: LoadedLog, before: Option<&Arc<Loaded>>) -> Result<Arc<Loaded>> {
        self.check_committer(&log.state.protocol)?;
        let unchanged = before
            .filter(|b| Arc::ptr_eq(&b.log.state.metadata, &log.state.metadata) && b.log.state.protocol == log.state.protocol);
        let layout = match unchanged {
            Some(before) => Arc::clone(&before.layout),
            None => Arc::new(Layout::new(self.url(), &log.state.protocol, &log.state.metadata)?),
        };
        Ok(Arc::new(Loaded { log, layout }))
    }

    /// A table of a catalog needs its committer.
    pub(crate) fn check_committer(&self, protocol: &Protocol) -> Result<()> {
        match features::catalog_feature(protocol) {
            Some(feature) if self.committer().management() == Management::Files => {
                Err(DeltaError::NeedsCatalog { url: self.url().to_owned(), feature })
            }
            _ => Ok(()),
        }
    }

    /// Takes note of a version that this process has just committed, if it follows the newest one that is known.
    pub(crate) fn advance(&self, version: u64, bytes: &Bytes) {
        let Some(known) = self.newest().clone().filter(|known| known.log.state.version + 1 == version) else { return };
        let advanced = load::advanced(self.log(), &known.log, version, bytes).and_then(|log| self.loaded(log, Some(&known)));
        match advanced {
            Ok(loaded) => {
                let mut newest = self.newest();
                if newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, &known)) {
                    *newest = Some(loaded);
                }
            }
            // The next snapshot reads what is there.
            Err(error) => tracing::warn!(table = self.url(), version, %error, "a commit of this process could not be read back"),
        }
    }

    pub(crate) fn committer(&self) -> &dyn Committer {
        self.inner.committer.as_ref()
    }

    /// The same folder, to read the log from: with a catalog, commits that are decided and not published stand in it as if they were,
    /// as of the last [`snapshot`](Self::snapshot) of this handle.
    pub fn log(&self) -> &Storage {
        &self.inner.log
    }

    /// Learns what the committer has decided by now.
    ///
    /// **Cost**: a call of the catalog; nothing where files decide.
    pub(crate) async fn ask_committer(&self) -> Result<()> {
        let Some(view) = &self.inner.view else { return Ok(()) };
        let failed = |source| DeltaError::Decided { url: self.url().to_owned(), source: Box::new(source) };
        match self.committer().decided(self.storage()).await.map_err(failed)? {
            Some(decided) => Ok(view.learn(self.storage(), decided).await?),
            None => Ok(()),
        }
    }

    /// Brings everything that was decided into the log's folder.
    pub(crate) async fn publish(&self) -> Result<()> {
        let failed = |source| DeltaError::Publish { url: self.url().to_owned(), source: Box::new(source) };
        self.committer().publish(self.storage()).await.map_err(failed)
    }

    pub(crate) fn queue(&self) -> &CommitQueue {
        &self.inner.queue
    }

    pub(crate) fn recent(&self) -> &RecentCommits {
        &self.inner.recent
    }

    fn wrap(&self, loaded: Arc<Loaded>) -> Snapshot {
        Snapshot::new(self.clone(), loaded)
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<Arc<Loaded>>> {
        self.inner.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DeltaTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaTable({})", self.url())
    }
}

impl Table for DeltaTable {
    fn location(&self) -> &str {
        self.url()
    }

    fn snapshot(&self, version: TableVersion) -> BoxFuture<'_, boathouse_base::Result<Arc<dyn TableSnapshot>>> {
        Box::pin(async move {
            let snapshot = self.snapshot_at(version).await?;
            Ok(Arc::new(snapshot) as Arc<dyn TableSnapshot>)
        })
    }

    fn write(&self, request: WriteRequest, data: BatchStream) -> BoxFuture<'_, boathouse_base::Result<WriteReport>> {
        Box::pin(async move { Ok(DeltaTable::write(self, request, data).run().await?) })
    }
}
