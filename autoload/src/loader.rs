//! The source itself: plan, read, quarantine.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Fields;
use boathouse_base::{BatchStream, BoxFuture, Env, Error, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use boathouse_storage::Storage;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::AutoLoaderBuilder;
use crate::clean::{CleanSource, clean};
use crate::decode::{SourceFile, Stop, Target, UnknownFields, decode, misfits_of_path};
use crate::discovery::Finder;
use crate::error::AutoLoadError;
use crate::evidence::ColumnEvidence;
use crate::files_state::files_state;
use crate::landing::{Fetched, Landing};
use crate::ledger::{Addition, Appended, Landed, Ledger};
use crate::offset::{from_offset, to_offset};
use crate::plan::{blocking, groups, schemas};
use crate::quarantine::{Quarantine, QuarantineCounts};
use crate::settings::{CorruptFiles, SchemaEvolution, Settings};

/// A plan is made anew so often when another process writes to the same state.
const PLAN_ATTEMPTS: u32 = 10;

/// A growing folder as a [`StreamSource`]. Made by [`AutoLoader::over`].
///
/// # Positions
/// An offset is a number of files: `{"v":1,"source":"…","files":N}`. Files are numbered as they are
/// planned; a plan looks for new files, and those that the batch takes get the next numbers, in the
/// order of paths. This is durable before the plan returns. A late file with an early name is a new file.
///
/// # Which schema a range has
/// Every schema version is bound to the first file that needs it. A file is always decoded with the
/// version that holds for it, and then widened to the newest version within the range (columns that came
/// later are null). So rows do not depend on where ranges begin and end.
///
/// # A file is read once
/// Files are told apart by path. A file that is overwritten or appended to after it was discovered is not
/// read again unless [`Overwrites::Read`](crate::Overwrites::Read) is asked for; which of its states is read is not
/// defined. Write files elsewhere and move them here, or
/// give them a name that begins with `_` or `.` until they are whole.
///
/// # Dropping futures
/// Every future may be dropped at any time. A plan that was dropped may have become durable; the next plan
/// takes it into account.
pub struct AutoLoader {
    shared: Arc<Shared>,
    inner: Arc<Mutex<Inner>>,
    source: String,
    state: Storage,
    clean: Option<CleanSource>,
    env: Env,
}

/// What one plan at a time uses.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) finder: Finder,
}

/// What the reading task needs as well.
#[derive(Debug)]
struct Shared {
    landing: Arc<Landing>,
    settings: Settings,
    quarantine: Quarantine,
}

impl AutoLoader {
    /// Begins to describe a source over this folder.
    pub fn over(landing: Storage) -> AutoLoaderBuilder {
        AutoLoaderBuilder::new(landing)
    }

    pub(crate) fn new(
        landing: Landing,
        settings: Settings,
        state: Storage,
        source: String,
        inner: Inner,
        clean: Option<CleanSource>,
        env: Env,
    ) -> Self {
        let quarantine = Quarantine::new(state.clone());
        let shared = Arc::new(Shared { landing: Arc::new(landing), settings, quarantine });
        Self { shared, inner: Arc::new(Mutex::new(inner)), source, state, clean, env }
    }

    /// What could not be read: lines that are no records, and files that could not be opened.
    ///
    /// **Shape**: `file_sequence` (int64), `file_path`, `line` (int64 from 1; null for a whole file),
    /// `byte_offset` (int64, of the line in the unpacked file), `reason`, `raw` (the first 4,096 bytes of the
    /// line), ordered by file and line.
    ///
    /// Entries appear when a file is read, and once each however often it is read.
    ///
    /// **Cost**: one LIST, and one GET for each file with bad lines.
    pub async fn quarantine(&self) -> Result<BatchStream> {
        Ok(self.shared.quarantine.stream().await?)
    }

    /// How much [`quarantine`](Self::quarantine) holds. The cost is the same.
    pub async fn quarantine_counts(&self) -> Result<QuarantineCounts> {
        Ok(self.shared.quarantine.counts().await?)
    }

    /// Every file that was planned so far, in order, and what became of it (Databricks' `cloud_files_state`).
    ///
    /// **Shape**: `file_sequence` (int64 from 0), `path` (the whole URL), `size_bytes`, `modification_time`, `etag`,
    /// `discovery_time`, `commit_time` (null while the stream has not said that the file is safe downstream),
    /// `archive_time`, `archive_mode` (`DELETE` or `MOVE`). Times are instants in microseconds (UTC).
    ///
    /// The discovery is durable before a batch with the file is read; a commit becomes durable with the next plan that
    /// finds a file, or at the first one that finds none.
    ///
    /// **Cost**: one GET for about each quarter of a million files; memory for one of these at a time.
    pub fn files_state(&self) -> BatchStream {
        files_state(Arc::clone(&self.inner), Arc::clone(&self.shared.landing))
    }

    /// The newest schema of the batches; `None` before the first plan that found a file.
    pub async fn schema(&self) -> Option<arrow_schema::SchemaRef> {
        let inner = self.inner.lock().await;
        inner.ledger.latest().map(|fields| Target::new(fields.clone(), &self.shared.settings).schema)
    }

    /// What the types of the columns were inferred from, in the order of the schema. Empty before the first plan that
    /// found a file, with a given schema, and for files that bring their types.
    pub async fn inference(&self) -> Vec<ColumnEvidence> {
        let inner = self.inner.lock().await;
        inner.ledger.schemas().first().map(|version| version.evidence.clone()).unwrap_or_default()
    }

    async fn plan_batch(&self, start: Option<&Offset>, limit: ReadLimit) -> Result<Option<PlannedBatch>, AutoLoadError> {
        let start = from_offset(&self.source, start)?;
        let mut inner = self.inner.lock().await;
        for _ in 0..PLAN_ATTEMPTS {
            if start > inner.ledger.total() {
                inner.ledger.reload().await?;
                inner.finder.reset();
            }
            if start > inner.ledger.total() {
                return Err(AutoLoadError::UnplannedOffset { files: start, planned: inner.ledger.total() });
            }
            // Whoever goes on from here has everything before it.
            inner.ledger.note_committed(start, self.env.now_us());
            match self.try_plan(&mut inner, start, limit).await? {
                Some(planned) => return Ok(planned),
                None => {
                    inner.finder.reset();
                    tracing::debug!(state = self.state.url(), "autoload.plan: another process was faster");
                }
            }
        }
        Err(AutoLoadError::Contention { state: self.state.url().to_owned(), attempts: PLAN_ATTEMPTS })
    }

    /// `None`: somebody else wrote meanwhile, and the ledger is fresh again.
    async fn try_plan(
        &self,
        inner: &mut Inner,
        start: u64,
        limit: ReadLimit,
    ) -> Result<Option<Option<PlannedBatch>>, AutoLoadError> {
        let (landing, settings) = (&self.shared.landing, &self.shared.settings);
        let Inner { ledger, finder } = inner;
        let max_files = limit.files.unwrap_or(settings.max_files).max(1);
        let max_bytes = limit.bytes.or(settings.max_bytes);
        let planned = ledger.total();
        // A full batch is known already: the folder is listed when it is behind us.
        if planned - start + finder.waiting() as u64 <= max_files {
            finder.scan(ledger, landing).await?;
        }
        let (mut end, mut bytes) = (start, 0_u64);
        let mut admits = |file: &Landed| {
            let over = max_bytes.is_some_and(|most| bytes.saturating_add(file.size_bytes) > most);
            if end > start && (end - start >= max_files || over) {
                return false;
            }
            end += 1;
            bytes = bytes.saturating_add(file.size_bytes);
            true
        };
        let known = ledger.files(start..planned.min(start.saturating_add(max_files))).await?;
        let full = known.iter().any(|file| !admits(file));
        let mut new = Vec::new();
        if !full && known.len() as u64 == planned - start {
            let room = usize::try_from(max_files - known.len() as u64).unwrap_or(usize::MAX);
            new = finder.front(room, landing).await?;
            let fits = new.iter().take_while(|file| admits(file)).count();
            new.truncate(fits);
        }
        if end == start {
            finder.settle_if_done().await;
            if ledger.has_pending_commits() && ledger.append(Addition::default(), self.env.now_us()).await? == Appended::Raced {
                return Ok(None);
            }
            return Ok(Some(None));
        }
        let mut stop = None;
        if !new.is_empty() {
            let first = settings.schema.is_none() && ledger.latest().is_none_or(|fields| fields.is_empty());
            let more = if first { finder.front(settings.inference_files.max(new.len()), landing).await? } else { Vec::new() };
            let more = more.get(new.len()..).unwrap_or_default();
            let found = schemas(landing, settings, ledger.latest(), planned, &new, more).await?;
            stop = found.stop;
            let discovered = new.len();
            let addition = Addition { discovered: new, schemas: found.versions, ..Addition::default() };
            if ledger.append(addition, self.env.now_us()).await? == Appended::Raced {
                return Ok(None);
            }
            finder.took(discovered).await;
            tracing::debug!(source = %self.source, files = discovered, total = ledger.total(), "autoload.discovered");
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        let end_offset = to_offset(&self.source, end);
        let more = end < ledger.total() || finder.has_more();
        Ok(Some(Some(PlannedBatch { end: end_offset, files: end - start, bytes, more })))
    }

    async fn read_range(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream, AutoLoadError> {
        let start = from_offset(&self.source, start)?;
        let end = from_offset(&self.source, Some(end))?;
        if end < start {
            return Err(AutoLoadError::BackwardRange { start, end });
        }
        let (target, work) = {
            let mut inner = self.inner.lock().await;
            if end > inner.ledger.total() {
                inner.ledger.reload().await?;
                inner.finder.reset();
            }
            if end > inner.ledger.total() {
                return Err(AutoLoadError::UnplannedOffset { files: end, planned: inner.ledger.total() });
            }
            let fields = inner.ledger.schema_of(end.saturating_sub(1));
            let target = Arc::new(Target::new(fields, &self.shared.settings));
            let files = inner.ledger.files(start..end).await?;
            (target, work(&inner.ledger, start, files))
        };
        let schema = Arc::clone(&target.schema);
        if work.is_empty() {
            return Ok(BatchStream::empty(schema));
        }
        let (sender, receiver) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(produce(Arc::clone(&self.shared), target, work, sender));
        // The task lives in the stream: dropping the stream aborts it.
        let batches = futures::stream::unfold((receiver, tasks), |(mut receiver, mut tasks)| async move {
            let item = match receiver.recv().await {
                Some(batch) => Ok(batch),
                // An end counts only when the task says that it reached it.
                None => match tasks.join_next().await? {
                    Ok(Ok(())) => return None,
                    Ok(Err(error)) => Err(Error::from(error)),
                    Err(error) => Err(Error::from(AutoLoadError::TaskEnded { reason: error.to_string() })),
                },
            };
            Some((item, (receiver, tasks)))
        });
        Ok(BatchStream::new(schema, batches))
    }

    async fn commit_files(&self, end: &Offset) -> Result<(), AutoLoadError> {
        let end = from_offset(&self.source, Some(end))?;
        let mut inner = self.inner.lock().await;
        inner.ledger.note_committed(end, self.env.now_us());
        if let Some(rule) = &self.clean {
            clean(&mut inner.ledger, &self.shared.landing, rule, &self.env).await?;
        }
        Ok(())
    }
}

/// The files of a range, in groups of one schema version that are fetched and decoded together.
fn work(ledger: &Ledger, start: u64, files: Vec<Landed>) -> Vec<Work> {
    let mut work: Vec<Work> = Vec::new();
    for group in groups(&files) {
        let mut open: Option<Work> = None;
        for (sequence, file) in (start + group.start as u64..).zip(&files[group]) {
            let fields = ledger.schema_of(sequence);
            match &mut open {
                Some(open) if open.fields == fields => open.files.push(file.clone()),
                _ => work.extend(open.replace(Work { sequence, fields, files: vec![file.clone()] })),
            }
        }
        work.extend(open);
    }
    work
}

/// Files that are fetched and decoded together.
#[derive(Debug)]
struct Work {
    /// Of the first file.
    sequence: u64,
    fields: Fields,
    files: Vec<Landed>,
}

type FetchedFiles = (Fields, Vec<(Arc<SourceFile>, bytes::Bytes)>);

async fn fetch(shared: Arc<Shared>, work: Work) -> Result<FetchedFiles, AutoLoadError> {
    let fetched = shared.landing.fetch(&work.files).await?;
    let mut files = Vec::with_capacity(fetched.len());
    for ((sequence, file), fetched) in (work.sequence..).zip(work.files).zip(fetched) {
        match fetched {
            Fetched::Bytes(bytes) => {
                let file = SourceFile {
                    sequence,
                    path: file.path.to_string(),
                    url: shared.landing.url_of(&file.path),
                    size_bytes: file.size_bytes,
                    modified_us: file.modified_us,
                    rest: misfits_of_path(&file.path, &work.fields),
                };
                files.push((Arc::new(file), bytes));
            }
            gone @ (Fetched::Missing | Fetched::Replaced) => {
                tracing::info!(url = shared.landing.url_of(&file.path), ?gone, "autoload.read: the file gives no rows");
            }
        }
    }
    Ok((work.fields, files))
}

/// Fetches a group while the one before is decoded, and sends its batches in order. Bad lines are durable
/// before the end is reported.
async fn produce(
    shared: Arc<Shared>,
    target: Arc<Target>,
    work: Vec<Work>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<(), AutoLoadError> {
    let unknown = match shared.settings.evolution() {
        SchemaEvolution::None => UnknownFields::Ignore,
        _ => UnknownFields::Rescue,
    };
    let fetching = Arc::clone(&shared);
    let mut fetched = futures::stream::iter(work).then(move |work| fetch(Arc::clone(&fetching), work)).boxed();
    let mut next = fetched.next().await;
    while let Some(group) = next {
        let (fields, files) = group?;
        let (format, target, sender) = (shared.settings.format.clone(), Arc::clone(&target), sender.clone());
        let decoding = blocking(move || {
            let mut emit = |batch| sender.blocking_send(batch).map_err(|_| Stop::Cancelled);
            decode(&format, unknown, &fields, &target, &files, &mut emit)
        });
        let (decoded, then) = futures::future::join(decoding, fetched.next()).await;
        match decoded? {
            Ok(mut bad) => {
                match shared.settings.corrupt_files {
                    CorruptFiles::Quarantine => {}
                    CorruptFiles::Ignore => bad.retain(|entry| !entry.is_file()),
                    CorruptFiles::Fail => {
                        if let Some(entry) = bad.iter().find(|entry| entry.is_file()) {
                            return Err(entry.as_error());
                        }
                    }
                }
                shared.quarantine.put(&bad).await?;
            }
            Err(Stop::Cancelled) => return Ok(()),
            Err(Stop::Arrow(error)) => return Err(AutoLoadError::Assemble(error)),
        }
        next = then;
    }
    Ok(())
}

impl StreamSource for AutoLoader {
    fn describe(&self) -> String {
        format!("autoload[{}]", self.shared.landing.url())
    }

    /// Those of the newest batches; none before the first plan that found a file.
    fn schema(&self) -> BoxFuture<'_, Result<Option<arrow_schema::SchemaRef>>> {
        Self::schema(self).map(Ok).boxed()
    }

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        self.plan_batch(start, limit).map(|planned| planned.map_err(Error::from)).boxed()
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        self.read_range(start, end).map(|stream| stream.map_err(Error::from)).boxed()
    }

    /// Remembers when files were committed, and cleans those whose time has come.
    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        self.commit_files(end).map(|done| done.map_err(Error::from)).boxed()
    }
}

impl fmt::Debug for AutoLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoLoader")
            .field("landing", &self.shared.landing.url())
            .field("state", &self.state.url())
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
