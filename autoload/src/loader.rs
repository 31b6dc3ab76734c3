//! The source itself: plan, read, quarantine.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Fields;
use boathouse_base::{BatchStream, BoxFuture, Env, Error, Offset, PlannedBatch, ReadLimit, Result, StreamSource};
use boathouse_storage::Storage;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::AutoLoaderBuilder;
use crate::decode::{SourceFile, Stop, Target, UnknownFields, decode};
use crate::error::AutoLoadError;
use crate::landing::Landing;
use crate::ledger::{Addition, Appended, Landed, Ledger};
use crate::offset::{from_offset, to_offset};
use crate::plan::{blocking, groups, schemas, slice};
use crate::quarantine::{Quarantine, QuarantineCounts};
use crate::settings::{SchemaEvolution, Settings};

/// A plan is made anew so often when another process writes to the same state.
const PLAN_ATTEMPTS: u32 = 10;

/// A growing folder as a [`StreamSource`]. Made by [`AutoLoader::over`].
///
/// # Positions
/// An offset is a number of files: `{"v":1,"source":"…","files":N}`. Files are numbered as they are
/// discovered; a plan lists the folder, and whatever was not seen before gets the next numbers, in the
/// order of paths. This is durable before the plan returns. A late file with an early name is a new file.
///
/// # Which schema a range has
/// Every schema version is bound to the first file that needs it. A file is always decoded with the
/// version that holds for it, and then widened to the newest version within the range (columns that came
/// later are null). So rows do not depend on where ranges begin and end.
///
/// # A file is read once
/// Files are told apart by path. A file that is overwritten or appended to after it was discovered is not
/// read again; which of its states is read is not defined. Write files elsewhere and move them here, or
/// give them a name that begins with `_` or `.` until they are whole.
///
/// # Dropping futures
/// Every future may be dropped at any time. A plan that was dropped may have become durable; the next plan
/// takes it into account.
pub struct AutoLoader {
    shared: Arc<Shared>,
    ledger: Mutex<Ledger>,
    source: String,
    state: Storage,
    env: Env,
}

/// What the reading task needs as well.
#[derive(Debug)]
struct Shared {
    landing: Landing,
    settings: Settings,
    quarantine: Quarantine,
}

/// A file that was discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredFile {
    /// Its place in the order of discovery, from 0.
    pub sequence: u64,
    /// The whole URL.
    pub url: String,
    /// Bytes when it was discovered.
    pub size_bytes: u64,
    /// Modification time when it was discovered, in microseconds since the Unix epoch (UTC).
    pub modified_us: i64,
}

impl AutoLoader {
    /// Begins to describe a source over this folder.
    pub fn over(landing: Storage) -> AutoLoaderBuilder {
        AutoLoaderBuilder::new(landing)
    }

    pub(crate) fn new(landing: Landing, settings: Settings, state: Storage, source: String, ledger: Ledger, env: Env) -> Self {
        let quarantine = Quarantine::new(state.clone());
        Self { shared: Arc::new(Shared { landing, settings, quarantine }), ledger: Mutex::new(ledger), source, state, env }
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

    /// Every file that was discovered so far, in order.
    pub async fn files(&self) -> Vec<DiscoveredFile> {
        let ledger = self.ledger.lock().await;
        let described = |(sequence, file): (u64, &Landed)| DiscoveredFile {
            sequence,
            url: self.shared.landing.url_of(&file.path),
            size_bytes: file.size_bytes,
            modified_us: file.modified_us,
        };
        (0..).zip(ledger.files()).map(described).collect()
    }

    /// The newest schema of the batches; `None` before the first plan that found a file.
    pub async fn schema(&self) -> Option<arrow_schema::SchemaRef> {
        let ledger = self.ledger.lock().await;
        ledger.latest().map(|fields| Target::new(fields.clone(), &self.shared.settings).schema)
    }

    async fn plan_batch(&self, start: Option<&Offset>, limit: ReadLimit) -> Result<Option<PlannedBatch>, AutoLoadError> {
        let start = from_offset(&self.source, start)?;
        let mut ledger = self.ledger.lock().await;
        for _ in 0..PLAN_ATTEMPTS {
            if start > ledger.inspected() {
                *ledger = Ledger::load(self.state.clone()).await?;
            }
            if start > ledger.inspected() {
                return Err(AutoLoadError::UnplannedOffset { files: start, planned: ledger.inspected() });
            }
            match self.try_plan(&mut ledger, start, limit).await? {
                Some(planned) => return Ok(planned),
                None => tracing::debug!(state = self.state.url(), "autoload.plan: another process was faster"),
            }
        }
        Err(AutoLoadError::Contention { state: self.state.url().to_owned(), attempts: PLAN_ATTEMPTS })
    }

    /// `None`: somebody else wrote meanwhile, and the ledger is fresh again.
    async fn try_plan(
        &self,
        ledger: &mut Ledger,
        start: u64,
        limit: ReadLimit,
    ) -> Result<Option<Option<PlannedBatch>>, AutoLoadError> {
        let shared = &self.shared;
        let max_files = limit.files.unwrap_or(shared.settings.max_files).max(1);
        let backlog = ledger.files().len() as u64 - start;
        // A full batch is known already: the folder is listed when it is behind us.
        let new: Vec<Landed> = if backlog > max_files {
            Vec::new()
        } else {
            shared.landing.list().await?.into_iter().filter(|file| !ledger.knows(&file.path)).collect()
        };
        let files: Vec<Landed> = ledger.files().iter().chain(&new).cloned().collect();
        let total = files.len() as u64;
        let (mut end, mut bytes) = (start, 0);
        for file in slice(&files, &(start..total)) {
            let full = end - start >= max_files || limit.bytes.is_some_and(|most| bytes + file.size_bytes > most);
            if end > start && full {
                break;
            }
            end += 1;
            bytes += file.size_bytes;
        }
        if end == start {
            return Ok(Some(None));
        }
        let inspected = ledger.inspected().max(end);
        let mut versions = Vec::new();
        if end > ledger.inspected() {
            let range = ledger.inspected()..end;
            versions = schemas(&shared.landing, &shared.settings, ledger.latest(), &files, range).await?;
        }
        if !new.is_empty() || inspected > ledger.inspected() {
            let discovered = new.len();
            let addition = Addition { discovered: new, skipped: Vec::new(), inspected, schemas: versions };
            if ledger.append(addition, self.env.now_us()).await? == Appended::Raced {
                return Ok(None);
            }
            tracing::debug!(source = %self.source, files = discovered, total, "autoload.discovered");
        }
        let end_offset = to_offset(&self.source, end);
        Ok(Some(Some(PlannedBatch { end: end_offset, files: end - start, bytes, more: end < total })))
    }

    async fn read_range(&self, start: Option<&Offset>, end: &Offset) -> Result<BatchStream, AutoLoadError> {
        let start = from_offset(&self.source, start)?;
        let end = from_offset(&self.source, Some(end))?;
        if end < start {
            return Err(AutoLoadError::BackwardRange { start, end });
        }
        let (target, work) = {
            let mut ledger = self.ledger.lock().await;
            if end > ledger.inspected() {
                *ledger = Ledger::load(self.state.clone()).await?;
            }
            if end > ledger.inspected() {
                return Err(AutoLoadError::UnplannedOffset { files: end, planned: ledger.inspected() });
            }
            let fields = ledger.schema_of(end.saturating_sub(1));
            let target = Arc::new(Target::new(fields, &self.shared.settings));
            (target, self.work(&ledger, start, end))
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

    /// The files of a range, in groups of one schema version that are fetched and decoded together.
    fn work(&self, ledger: &Ledger, start: u64, end: u64) -> Vec<Work> {
        let mut work: Vec<Work> = Vec::new();
        for group in groups(ledger.files(), start..end) {
            let mut open: Option<Work> = None;
            for (sequence, file) in group.clone().zip(slice(ledger.files(), &group)) {
                let fields = ledger.schema_of(sequence);
                let file = Arc::new(SourceFile {
                    sequence,
                    path: file.path.to_string(),
                    url: self.shared.landing.url_of(&file.path),
                    size_bytes: file.size_bytes,
                    modified_us: file.modified_us,
                });
                match &mut open {
                    Some(open) if open.fields == fields => open.files.push(file),
                    _ => work.extend(open.replace(Work { fields, files: vec![file] })),
                }
            }
            work.extend(open);
        }
        work
    }
}

/// Files that are fetched and decoded together.
#[derive(Debug)]
struct Work {
    fields: Fields,
    files: Vec<Arc<SourceFile>>,
}

type Fetched = (Fields, Vec<(Arc<SourceFile>, bytes::Bytes)>);

async fn fetch(shared: Arc<Shared>, work: Work) -> Result<Fetched, AutoLoadError> {
    let files = futures::stream::iter(work.files)
        .map(|file| {
            let shared = Arc::clone(&shared);
            async move {
                let bytes = shared.landing.fetch(&file.path).await?;
                Ok::<_, AutoLoadError>((file, bytes))
            }
        })
        .buffered(shared.settings.concurrent_fetches.max(1))
        .try_collect()
        .await?;
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
            Ok(bad) => shared.quarantine.put(&bad).await?,
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

    fn plan<'a>(&'a self, start: Option<&'a Offset>, limit: ReadLimit) -> BoxFuture<'a, Result<Option<PlannedBatch>>> {
        self.plan_batch(start, limit).map(|planned| planned.map_err(Error::from)).boxed()
    }

    fn read<'a>(&'a self, start: Option<&'a Offset>, end: &'a Offset) -> BoxFuture<'a, Result<BatchStream>> {
        self.read_range(start, end).map(|stream| stream.map_err(Error::from)).boxed()
    }

    /// Checks the offset. Nothing is kept that a commit could free.
    fn commit<'a>(&'a self, end: &'a Offset) -> BoxFuture<'a, Result<()>> {
        let checked = from_offset(&self.source, Some(end)).map(|_| ()).map_err(Error::from);
        futures::future::ready(checked).boxed()
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
