//! The files of a version, when somebody needs them.

use std::ops::Range;
use std::sync::Arc;

use boathouse_delta_protocol::files::{FileIndex, IndexBuilder, Segment, StatsBlockBuilder};
use boathouse_delta_protocol::scan::{CommitScanner, Wanted};
use boathouse_storage::Storage;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::checkpoint_read::{self, CheckpointFile, CheckpointFiles, Columns};
use super::commit::{Kept, LogCommit, ReadCommit, scan_commits, scanned_pieces};
use super::load::{Rejected, is_damage, locate};
use crate::error::{OnTable, Result};

/// Bytes of short commits that are kept until somebody asks for files.
const KEPT_BYTES: u64 = 32 << 20;

/// The files of a version: where they stand in the log, and once somebody asked, the files.
#[derive(Debug)]
pub(crate) struct LazyFiles {
    storage: Storage,
    version: u64,
    start: Start,
    /// Commits after the start, oldest first.
    commits: Vec<LogCommit>,
    loaded: OnceCell<LoadedFiles>,
}

/// Where the files are counted from.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// The beginning of the log.
    Beginning,
    /// A checkpoint.
    Checkpoint(CheckpointFiles),
    /// The files of an earlier version.
    Earlier(LoadedFiles),
}

/// The files, and where their statistics are.
#[derive(Debug, Clone)]
pub(crate) struct LoadedFiles {
    index: Arc<FileIndex>,
    /// Segments without statistics, by where these can be read.
    unread: Arc<Vec<Arc<Unread>>>,
}

/// Segments that came from one place, in order, without their statistics.
#[derive(Debug)]
struct Unread {
    place: Place,
    segments: Vec<Arc<Segment>>,
    read: OnceCell<()>,
}

#[derive(Debug, Clone)]
enum Place {
    Commit(LogCommit),
    Checkpoint(CheckpointFile),
}

impl LazyFiles {
    pub(crate) fn new(storage: &Storage, version: u64, start: Start, mut commits: Vec<LogCommit>) -> Self {
        let mut kept = 0;
        for commit in &mut commits {
            kept += commit.kept_bytes();
            if kept > KEPT_BYTES && commit.kept_bytes() > 0 {
                commit.kept = Kept::Nothing;
            }
        }
        Self { storage: storage.clone(), version, start, commits, loaded: OnceCell::new() }
    }

    /// Where the files stand in the log; nothing when they go on from those of an earlier version.
    pub(crate) fn place(&self) -> Option<(Start, Vec<LogCommit>)> {
        (!matches!(self.start, Start::Earlier(_))).then(|| (self.start.clone(), self.commits.clone()))
    }

    /// The same, and the commits after it.
    pub(crate) fn followed_by(&self, more: Vec<LogCommit>) -> Self {
        let version = more.last().map_or(self.version, |commit| commit.file.to);
        match self.loaded.get() {
            Some(loaded) => Self::new(&self.storage, version, Start::Earlier(loaded.clone()), more),
            None => {
                let commits = self.commits.iter().cloned().chain(more).collect();
                Self::new(&self.storage, version, self.start.clone(), commits)
            }
        }
    }

    /// The files; their statistics only where they came along.
    ///
    /// **Cost**: the first time, the file columns of the checkpoint and the commits after it.
    pub(crate) async fn index(&self) -> Result<&Arc<FileIndex>> {
        Ok(&self.loaded().await?.index)
    }

    /// The files with their statistics.
    ///
    /// **Cost**: as [`index`](Self::index); for a checkpoint or a long commit, the first time, another pass.
    pub(crate) async fn index_with_stats(&self) -> Result<&Arc<FileIndex>> {
        let loaded = self.loaded().await?;
        let reads: Vec<_> = loaded.unread.iter().map(|unread| unread.read(&self.storage)).collect();
        futures::stream::iter(reads).buffered(2).try_collect::<Vec<()>>().await?;
        Ok(&loaded.index)
    }

    /// The statistics of all files, each at least once, in no order; nothing of them is kept.
    ///
    /// **Cost**: a pass over what has them in the log, where they did not come along with the files.
    pub(crate) async fn stats(&self) -> Result<impl Stream<Item = Result<Vec<StatsRun>>> + Send + use<'_>> {
        let loaded = self.loaded().await?;
        let whole = |segment: &Arc<Segment>| {
            let (of, full) = (Arc::clone(segment), Arc::clone(segment));
            vec![StatsRun { of, first: 0, rows: 0..segment.len(), full }]
        };
        let here: Vec<_> = loaded.index.segments().filter(|segment| segment.has_stats()).map(whole).map(Ok).collect();
        let unread: Vec<_> = loaded.unread.iter().filter(|unread| !unread.read.initialized()).collect();
        let unread = futures::stream::iter(unread).flat_map(|unread| unread.runs(&self.storage));
        Ok(futures::stream::iter(here).chain(unread))
    }

    async fn loaded(&self) -> Result<&LoadedFiles> {
        self.loaded.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<LoadedFiles> {
        if let Start::Earlier(earlier) = &self.start {
            let scans = scan_commits(&self.storage, self.commits.clone(), Wanted::Everything);
            return self.follow(earlier, scans.try_collect().await?);
        }
        let (mut start, mut commits) = (self.start.clone(), self.commits.clone());
        let mut rejected = Rejected::default();
        loop {
            let compacted = commits.iter().any(|commit| commit.file.is_compacted());
            match self.load_from(&start, commits).await {
                Err(error) if is_damage(&error) && (compacted || matches!(start, Start::Checkpoint(_))) => {
                    tracing::warn!(
                        table = self.storage.url(), version = self.version, %error,
                        "a checkpoint or compacted commits are damaged; others are used instead"
                    );
                    match start {
                        // Single commits tell what a checkpoint is worth that compacted ones contradict.
                        _ if compacted => rejected.compacted = true,
                        Start::Checkpoint(checkpoint) => rejected.checkpoints.push(checkpoint.name),
                        _ => {}
                    }
                    // Without another way to the version, the damage is the answer.
                    (start, commits) = match locate(&self.storage, self.version, &rejected).await {
                        Ok(place) => place,
                        Err(_) => return Err(error),
                    };
                }
                loaded => return loaded,
            }
        }
    }

    async fn load_from(&self, start: &Start, mut commits: Vec<LogCommit>) -> Result<LoadedFiles> {
        let mut builder = IndexBuilder::new();
        let mut unread = Vec::new();
        commits.reverse();
        let mut scans = std::pin::pin!(scan_commits(&self.storage, commits, Wanted::Everything));
        while let Some(ReadCommit { scan, commit }) = scans.try_next().await? {
            unread.extend(Unread::at(Place::Commit(commit), &scan.segments));
            builder.commit(scan).on(self.storage.url())?;
        }
        if let Start::Checkpoint(checkpoint) = start {
            let files = checkpoint_read::files(&self.storage, checkpoint).await?;
            let reads: Vec<_> =
                files.iter().map(|file| checkpoint_read::adds(&self.storage, file, Columns::WithoutStats)).collect();
            let read: Vec<Vec<Arc<Segment>>> = futures::stream::iter(reads).buffered(2).try_collect().await?;
            // The first one is the last that goes in, so that files come in the order of the checkpoint.
            for (file, segments) in files.into_iter().zip(read).rev() {
                for segment in segments.iter().rev() {
                    builder.checkpoint(Arc::clone(segment)).on(self.storage.url())?;
                }
                unread.extend(Unread::at(Place::Checkpoint(file), &segments));
            }
        }
        let unread = unread.into_iter().map(Arc::new).collect();
        Ok(LoadedFiles { index: Arc::new(builder.finish()), unread: Arc::new(unread) })
    }

    /// The commits after an earlier version, oldest first.
    fn follow(&self, earlier: &LoadedFiles, read: Vec<ReadCommit>) -> Result<LoadedFiles> {
        let mut index = FileIndex::clone(&earlier.index);
        let mut unread: Vec<Arc<Unread>> = earlier.unread.iter().filter(|u| !u.read.initialized()).cloned().collect();
        for ReadCommit { scan, commit } in read {
            unread.extend(Unread::at(Place::Commit(commit), &scan.segments).map(Arc::new));
            index = index.apply(scan).on(self.storage.url())?;
        }
        Ok(LoadedFiles { index: Arc::new(index), unread: Arc::new(unread) })
    }
}

impl Unread {
    /// Nothing when the statistics came along.
    fn at(place: Place, segments: &[Arc<Segment>]) -> Option<Self> {
        let missing = segments.iter().any(|segment| !segment.has_stats());
        missing.then(|| Self { place, segments: segments.to_vec(), read: OnceCell::new() })
    }

    /// Reads the statistics, and keeps them.
    async fn read(&self, storage: &Storage) -> Result<()> {
        let read = || async {
            let mut handed_in = HandIn::new(&self.segments);
            let mut runs = std::pin::pin!(self.runs(storage));
            while let Some(runs) = runs.try_next().await? {
                runs.iter().for_each(|run| handed_in.take(run));
            }
            handed_in.finish();
            Ok(())
        };
        self.read.get_or_try_init(read).await.copied()
    }

    /// Reads the statistics piece by piece, and keeps nothing.
    fn runs<'a>(&'a self, storage: &'a Storage) -> impl Stream<Item = Result<Vec<StatsRun>>> + Send + use<'a> {
        let full = match &self.place {
            Place::Commit(commit) => {
                let version = commit.file.to;
                let scanner = move || CommitScanner::new(version, Wanted::Everything);
                scanned_pieces(storage, commit, scanner).map_ok(|scan| scan.segments).boxed()
            }
            Place::Checkpoint(file) => futures::stream::once(checkpoint_read::adds(storage, file, Columns::All)).boxed(),
        };
        let mut place = (0, 0);
        full.map_ok(move |full| full.iter().flat_map(|full| runs(&self.segments, &mut place, full)).collect())
    }
}

/// Neighbouring rows of a segment, and rows of another one that has their statistics.
#[derive(Debug, Clone)]
pub(crate) struct StatsRun {
    pub(crate) of: Arc<Segment>,
    pub(crate) first: usize,
    pub(crate) full: Arc<Segment>,
    pub(crate) rows: Range<usize>,
}

/// The same files in other segments: the order is the same, the borders need not be. `place` moves on.
fn runs(segments: &[Arc<Segment>], place: &mut (usize, usize), full: &Arc<Segment>) -> Vec<StatsRun> {
    let (mut runs, mut start) = (Vec::new(), 0);
    while start < full.len() {
        let Some(of) = segments.get(place.0) else { break };
        let length = (of.len() - place.1).min(full.len() - start);
        if length > 0 {
            let rows = start..start + length;
            runs.push(StatsRun { of: Arc::clone(of), first: place.1, full: Arc::clone(full), rows });
        }
        start += length;
        place.1 += length;
        if place.1 == of.len() {
            *place = (place.0 + 1, 0);
        }
    }
    runs
}

/// Gives segments their statistics, run by run.
struct HandIn<'a> {
    segments: std::slice::Iter<'a, Arc<Segment>>,
    block: StatsBlockBuilder,
}

impl<'a> HandIn<'a> {
    fn new(segments: &'a [Arc<Segment>]) -> Self {
        Self { segments: segments.iter(), block: StatsBlockBuilder::new() }
    }

    fn take(&mut self, run: &StatsRun) {
        run.full.each_stats(run.rows.clone(), |_, text| self.block.push(text));
        if self.block.len() == run.of.len() {
            self.hand_in();
        }
    }

    fn hand_in(&mut self) {
        if let Some(segment) = self.segments.next() {
            segment.set_stats(std::mem::take(&mut self.block).finish());
        }
    }

    /// Files of which nothing came have no statistics.
    fn finish(mut self) {
        while let Some(segment) = self.segments.as_slice().first() {
            while self.block.len() < segment.len() {
                self.block.push(None);
            }
            self.hand_in();
        }
    }
}
