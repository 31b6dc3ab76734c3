//! A table at a location.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::Schema;
use boathouse_base::{BatchStream, BoxFuture, Env, Table, TableSnapshot, TableVersion, WriteMode, WriteReport, WriteRequest};
use boathouse_storage::Storage;

use crate::checkpoint::{self, CheckpointReport};
use crate::create::CreateBuilder;
use crate::error::{DeltaError, Result};
use crate::history::{self, CommitSummary};
use crate::layout::Layout;
use crate::log::load::{self, LoadedLog};
use crate::restore::RestoreBuilder;
use crate::snapshot::{Loaded, Snapshot};
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
}

struct Inner {
    storage: Storage,
    env: Env,
    /// The newest version that was loaded. A later load goes on from it.
    newest: Mutex<Option<Arc<Loaded>>>,
}

impl DeltaTable {
    /// A table at this folder. Does no I/O.
    pub fn at(storage: Storage, env: Env) -> Self {
        Self { inner: Arc::new(Inner { storage, env, newest: Mutex::new(None) }) }
    }

    /// The folder.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    /// Where time and ids come from.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// The location, as a URL.
    pub fn url(&self) -> &str {
        self.inner.storage.url()
    }

    /// The newest version.
    ///
    /// **Cost**: the first time what [`snapshot_at`](Self::snapshot_at) costs; later a LIST from the last version
    /// on, and a GET for each new commit.
    ///
    /// **Errors**: `NotFound` when there is no table; `Unsupported` names the feature that cannot be read;
    /// `Corrupt` names the commit and the line.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let known = self.newest().clone();
        if let Some(known) = known {
            match load::refresh(self.storage(), &known.log).await? {
                Some(log) if log.state.version == known.log.state.version => return Ok(self.wrap(known)),
                Some(log) => return self.remember(log, Some(&known)),
                None => {}
            }
        }
        self.remember(load::load(self.storage(), None).await?, None)
    }

    /// A version: by number, or the last one at or before a time.
    ///
    /// **Cost**: a GET of `_last_checkpoint`, a LIST, GETs for a checkpoint and at most
    /// `delta.checkpointInterval` commits, whatever the number of files. By time, a LIST of the whole log more.
    ///
    /// **Errors**: `NotFound` when there is no table, no such version, none that early, or none any more.
    pub async fn snapshot_at(&self, version: TableVersion) -> Result<Snapshot> {
        let number = match version {
            TableVersion::Latest => return self.snapshot().await,
            TableVersion::Number(number) => number,
            TableVersion::AtUs(at_us) => history::version_at(self.storage(), at_us).await?,
        };
        let known = self.newest().clone();
        if let Some(known) = known.filter(|k| k.log.state.version == number)
            && load::refresh(self.storage(), &known.log).await?.is_some()
        {
            return Ok(self.wrap(known));
        }
        let log = load::load(self.storage(), Some(number)).await?;
        let layout = Arc::new(Layout::new(self.url(), &log.state.protocol, &log.state.metadata)?);
        Ok(self.wrap(Arc::new(Loaded { log, layout })))
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

    /// Writes a checkpoint of the newest version. Writers do that by themselves every
    /// `delta.checkpointInterval` commits.
    pub async fn checkpoint(&self) -> Result<CheckpointReport> {
        checkpoint::write(&self.snapshot().await?).await
    }

    /// Deletes files that no version within the retention needs.
    pub fn vacuum(&self) -> VacuumBuilder {
        VacuumBuilder::new(self.clone())
    }

    fn remember(&self, log: LoadedLog, before: Option<&Arc<Loaded>>) -> Result<Snapshot> {
        let unchanged = before
            .filter(|b| Arc::ptr_eq(&b.log.state.metadata, &log.state.metadata) && b.log.state.protocol == log.state.protocol);
        let layout = match unchanged {
            Some(before) => Arc::clone(&before.layout),
            None => Arc::new(Layout::new(self.url(), &log.state.protocol, &log.state.metadata)?),
        };
        let loaded = Arc::new(Loaded { log, layout });
        *self.newest() = Some(Arc::clone(&loaded));
        Ok(self.wrap(loaded))
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
