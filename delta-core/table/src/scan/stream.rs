//! Rows of files, one after the other, a few files ahead.

use std::sync::Arc;

use arrow_array::RecordBatch;
use boathouse_base::{BatchStream, ScanRequest};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::columns::Columns;
use super::file::DataFile;
use super::open::{FileRead, OpenFile, Rows, Source};
use crate::decoder::contained;
use crate::error::{DeltaError, Result};
use crate::row_tracking::RowTrackingColumns;
use crate::snapshot::Snapshot;

/// Files that are read before their turn.
const FILES_AHEAD: usize = 2;
/// Small files that are: as many as have so many bytes together …
const BYTES_AHEAD: u64 = 8 << 20;
/// … and no more than these.
const SMALL_FILES_AHEAD: u64 = 8;
/// Batches of a file that wait to be taken.
const BATCHES_AHEAD: usize = 2;

/// Reads all files of a snapshot that can match.
pub(crate) fn scan(snapshot: &Snapshot, request: ScanRequest, row_tracking: Option<&RowTrackingColumns>) -> Result<BatchStream> {
    let ScanRequest { projection, predicate, limit_rows } = request;
    let columns = Columns::resolve(snapshot.url(), snapshot.layout(), projection.as_deref(), None, row_tracking)?;
    let limit = limit_rows.filter(|_| predicate.is_none());
    let schema = Arc::clone(&columns.schema);
    let snapshot = snapshot.clone();
    // Which files there are is looked up when the first row is wanted.
    let rows = futures::stream::once(async move {
        let mut files = snapshot.files(predicate.as_ref()).await?;
        if let Some(limit) = limit {
            truncate(&mut files, limit);
        }
        Ok::<_, DeltaError>(read_files(source(&snapshot), files, columns, Rows { predicate, ..Rows::default() }))
    });
    let rows = rows.try_flatten().map_err(boathouse_base::Error::from);
    Ok(match limit {
        None => BatchStream::new(schema, rows),
        Some(limit) => BatchStream::new(schema, take_rows(rows, limit)),
    })
}

/// Keeps files until they have enough rows.
fn truncate(files: &mut Vec<DataFile>, limit: usize) {
    let mut rows = 0;
    let enough = files.iter().position(|file| {
        rows += file.row_count().unwrap_or_default();
        rows >= limit as u64
    });
    files.truncate(enough.map_or(files.len(), |at| at + 1));
}

/// Reads one file.
pub(crate) fn read_file(snapshot: &Snapshot, file: &DataFile, read: FileRead) -> Result<BatchStream> {
    read_each(snapshot, vec![file.clone()], read)
}

/// Reads these files, one after the other.
pub(crate) fn read_each(snapshot: &Snapshot, files: Vec<DataFile>, read: FileRead) -> Result<BatchStream> {
    let FileRead { projection, predicate, row_index, row_tracking, deleted, rows, has_views } = read;
    let (projection, row_index) = (projection.as_deref(), row_index.as_deref());
    let columns = Columns::resolve(snapshot.url(), snapshot.layout(), projection, row_index, row_tracking.as_ref())?;
    let columns = if has_views { columns.with_views() } else { columns };
    let schema = Arc::clone(&columns.schema);
    let rows = read_files(source(snapshot), files, columns, Rows { predicate, deleted, only: rows });
    Ok(BatchStream::new(schema, rows.map_err(boathouse_base::Error::from)))
}

pub(crate) fn source(snapshot: &Snapshot) -> Source {
    Source { storage: snapshot.table().storage().clone(), version: snapshot.version() }
}

/// Stops once there are enough rows.
fn take_rows<E>(rows: impl Stream<Item = Result<RecordBatch, E>>, limit: usize) -> impl Stream<Item = Result<RecordBatch, E>> {
    let mut taken = 0;
    rows.take_while(move |batch| {
        let go_on = taken < limit;
        taken += batch.as_ref().map_or(0, RecordBatch::num_rows);
        std::future::ready(go_on)
    })
}

/// What is read of one file, and what the reader wants to know of its batches.
#[derive(Debug, Clone)]
pub(crate) struct Piece<T> {
    pub(crate) file: DataFile,
    pub(crate) columns: Arc<Columns>,
    pub(crate) rows: Rows,
    pub(crate) tag: T,
}

fn read_files(source: Source, files: Vec<DataFile>, columns: Columns, rows: Rows) -> impl Stream<Item = Result<RecordBatch>> {
    let columns = Arc::new(columns);
    let each = (DataFile::total_bytes(&files) / (files.len() as u64).max(1)).max(1);
    let ahead = usize::try_from((BYTES_AHEAD / each).min(SMALL_FILES_AHEAD)).unwrap_or(0).max(FILES_AHEAD);
    let piece = move |file| Piece { file, columns: Arc::clone(&columns), rows: rows.clone(), tag: () };
    let pieces = futures::stream::iter(files.into_iter().map(move |file| Ok(piece(file))));
    read_ahead(source, pieces, ahead).map_ok(|((), batch)| batch)
}

/// Rows in the order of the pieces. Each is read by a task of its own; dropping the stream ends them.
pub(crate) fn read_pieces<T: Clone + Send + 'static>(
    source: Source,
    pieces: impl Stream<Item = Result<Piece<T>>>,
) -> impl Stream<Item = Result<(T, RecordBatch)>> {
    read_ahead(source, pieces, FILES_AHEAD)
}

fn read_ahead<T: Clone + Send + 'static>(
    source: Source,
    pieces: impl Stream<Item = Result<Piece<T>>>,
    ahead: usize,
) -> impl Stream<Item = Result<(T, RecordBatch)>> {
    let started = pieces.map_ok(move |Piece { file, columns, rows, tag }| {
        let source = source.clone();
        // The task starts when this future is polled: that many files ahead, and not before.
        async move { Ok((tag, Reading::start(source, file, columns, rows))) }
    });
    let batches = |(tag, reading): (T, Reading)| reading.into_stream().map_ok(move |batch| (tag.clone(), batch));
    started.try_buffered(ahead).map_ok(batches).try_flatten()
}

/// A file that is being read by a task.
struct Reading {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: AbortOnDrop,
    url: String,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reading {
    fn start(source: Source, file: DataFile, columns: Arc<Columns>, rows: Rows) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let url = source.storage.url().to_owned();
        let task = tokio::spawn(async move {
            let read = async {
                let mut open = OpenFile::open(source.clone(), &file, &columns, &rows).await?;
                while let Some(batch) = open.next().await? {
                    if sender.send(Ok(batch)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            let path = || file.path().into_owned();
            let damaged = |error| DeltaError::CorruptFile { url: source.storage.url().to_owned(), path: path(), source: error };
            if let Err(error) = contained(read, damaged).await {
                // Nobody listens any more: then nobody needs to know.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { batches, task: AbortOnDrop(task), url }
    }

    fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> {
        futures::stream::unfold(Some(self), |reading| async move {
            let mut reading = reading?;
            if let Some(batch) = reading.batches.recv().await {
                let go_on = batch.is_ok();
                return Some((batch, go_on.then_some(reading)));
            }
            // The task dropped its end: because it was done, or because it died.
            match (&mut reading.task.0).await {
                Ok(()) => None,
                Err(source) => Some((Err(DeltaError::Task { url: reading.url.clone(), source }), None)),
            }
        })
        .boxed()
    }
}
