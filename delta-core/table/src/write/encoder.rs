//! One Parquet file, encoded column by column on several threads while it is uploaded.
//!
//! ```text
//!   batches ─▶ chunk (32 k rows) ─▶ columns, each taken by the next free worker ─▶ pages in memory
//!                  ▲ the next chunk fills meanwhile                                      │ row group full
//!                  └──────────────────────────────────────────────────────────────────── ▼
//!                                                             upload in parts ◀─ row group, column after column
//! ```
//! Memory: the encoded pages of one row group, two chunks of input, and the parts on their way.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use tokio::task::JoinHandle;

use super::choice::{self, Choice};
use super::flat::{Codec, FlatChunk, FlatColumn, Scratch, ScratchPool};
use super::upload::{PART_BYTES, Upload};
use crate::processor::{Amount, compute};

/// Rows that are handed to the workers at once.
const CHUNK_ROWS: usize = 32 * 1024;
/// Bytes of Arrow data that are handed to the workers at once.
const CHUNK_BYTES: usize = 32 << 20;
/// Chunks below this are encoded by one worker.
const ALONE_ROWS: usize = 2048;

/// What can go wrong while a file is written.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// A column could not be encoded.
    Parquet(ParquetError),
    /// The store did not take the bytes.
    Store(object_store::Error),
    /// A worker died.
    Worker(tokio::task::JoinError),
}

impl From<ParquetError> for EncodeError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<object_store::Error> for EncodeError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

/// How files are encoded.
#[derive(Debug)]
pub(crate) struct Encoding {
    /// The columns of the files, with the table's types.
    pub(crate) schema: SchemaRef,
    /// Compression, dictionaries, statistics.
    pub(crate) properties: Arc<WriterProperties>,
    /// A row group ends with so many rows …
    pub(crate) row_group_rows: usize,
    /// … or about so many encoded bytes.
    pub(crate) row_group_bytes: usize,
    /// Threads that encode one file.
    pub(crate) workers: usize,
    /// What these threads use again and again, for all files.
    pub(super) scratch: ScratchPool,
}

/// A finished file.
#[derive(Debug)]
pub(crate) struct EncodedFile {
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) metadata: ParquetMetaData,
    /// Leaf columns, by their place in the Parquet schema, that hold a NaN: their bounds say nothing of it.
    pub(crate) has_nan: Vec<bool>,
}

/// A file that is being written.
pub(crate) struct FileEncoder {
    encoding: Arc<Encoding>,
    writer: SerializedFileWriter<Pages>,
    /// How the columns of the next row group are encoded; nothing before the first.
    choices: Option<Vec<Choice>>,
    pages: Pages,
    upload: Upload,
    group: Option<Arc<Vec<Mutex<Column>>>>,
    group_rows: usize,
    chunk: Vec<RecordBatch>,
    chunk_rows: usize,
    chunk_bytes: usize,
    working: Vec<JoinHandle<Result<(), ParquetError>>>,
    has_nan: Vec<bool>,
    groups: usize,
    rows: u64,
}

/// What writes one column in the current row group.
enum Column {
    /// Plain columns, which are most.
    Flat(Box<FlatColumn>),
    /// All others: one writer for each leaf.
    General { writers: Vec<ArrowColumnWriter>, has_nan: Vec<bool> },
}

impl Column {
    /// About how many bytes it has by now.
    fn bytes(&self) -> usize {
        match self {
            Self::Flat(column) => column.bytes(),
            Self::General { writers, .. } => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        }
    }

    fn has_nan(&self) -> &[bool] {
        match self {
            // It takes no floating-point numbers.
            Self::Flat(_) => &[false],
            Self::General { has_nan, .. } => has_nan,
        }
    }

    fn close(self, scratch: &mut Scratch, chunks: &mut Vec<Chunk>) -> Result<(), ParquetError> {
        match self {
            Self::Flat(column) => chunks.push(Chunk::Flat(column.close(scratch)?)),
            Self::General { writers, .. } => {
                for writer in writers {
                    chunks.push(Chunk::General(writer.close()?));
                }
            }
        }
        Ok(())
    }
}

/// The encoded pages of a leaf column in a row group.
enum Chunk {
    Flat(FlatChunk),
    General(ArrowColumnChunk),
}

impl Chunk {
    fn close(&self) -> &ColumnCloseResult {
        match self {
            Self::Flat(chunk) => chunk.close(),
            Self::General(chunk) => chunk.close(),
        }
    }

    fn append(self, group: &mut SerializedRowGroupWriter<'_, Pages>) -> Result<(), ParquetError> {
        match self {
            Self::Flat(chunk) => chunk.append(group),
            Self::General(chunk) => chunk.append_to_row_group(group),
        }
    }
}

impl FileEncoder {
    pub(crate) fn new(encoding: Arc<Encoding>, store: Arc<dyn ObjectStore>, path: Path) -> Result<Self, ParquetError> {
        let pages = Pages::default();
        let parquet = ArrowSchemaConverter::new().convert(&encoding.schema)?;
        let has_nan = vec![false; parquet.num_columns()];
        let writer = SerializedFileWriter::new(pages.clone(), parquet.root_schema_ptr(), Arc::clone(&encoding.properties))?;
        Ok(Self {
            encoding,
            writer,
            choices: None,
            pages,
            upload: Upload::new(store, path),
            group: None,
            group_rows: 0,
            chunk: Vec::new(),
            chunk_rows: 0,
            chunk_bytes: 0,
            working: Vec::new(),
            has_nan,
            groups: 0,
            rows: 0,
        })
    }

    /// Rows given so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// About how many bytes the file would have if it ended here.
    pub(crate) fn bytes(&self) -> u64 {
        self.upload.bytes() + self.pages.len() as u64 + self.group_bytes() as u64
    }

    /// About how many bytes it holds in memory.
    pub(crate) fn memory(&self) -> usize {
        self.chunk_bytes + self.group_bytes()
    }

    /// Appends rows; columns are those of the encoding, strings and bytes in any Arrow layout.
    ///
    /// Returns once the rows are with the workers, which encode them while the caller goes on.
    pub(crate) async fn write(&mut self, mut batch: RecordBatch) -> Result<(), EncodeError> {
        while batch.num_rows() > 0 {
            let room = (CHUNK_ROWS - self.chunk_rows).min(self.encoding.row_group_rows - self.group_rows - self.chunk_rows);
            let take = room.min(batch.num_rows());
            let rest = batch.slice(take, batch.num_rows() - take);
            let part = batch.slice(0, take);
            self.rows += take as u64;
            self.chunk_rows += take;
            self.chunk_bytes += if rest.num_rows() == 0 && take == batch.num_rows() {
                part.get_array_memory_size()
            } else {
                // A slice keeps its whole buffers alive: count its share of them.
                part.get_array_memory_size() / batch.num_rows().max(1) * take
            };
            self.chunk.push(part);
            let full = self.group_rows + self.chunk_rows >= self.encoding.row_group_rows;
            if full || self.chunk_rows >= CHUNK_ROWS || self.chunk_bytes >= CHUNK_BYTES {
                self.encode_chunk().await?;
                if full || self.group_bytes() >= self.encoding.row_group_bytes {
                    self.end_row_group().await?;
                }
            }
            batch = rest;
        }
        Ok(())
    }

    /// Ends the file. It is visible afterwards.
    pub(crate) async fn finish(mut self) -> Result<EncodedFile, EncodeError> {
        match self.end().await {
            Ok(metadata) => {
                let bytes = self.upload.finish().await?;
                Ok(EncodedFile { bytes, rows: self.rows, metadata, has_nan: self.has_nan })
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// Gives the file up.
    pub(crate) async fn abort(self) {
        self.working.iter().for_each(JoinHandle::abort);
        self.upload.abort().await;
    }

    async fn end(&mut self) -> Result<ParquetMetaData, EncodeError> {
        self.encode_chunk().await?;
        self.end_row_group().await?;
        let metadata = self.writer.finish()?;
        for piece in self.pages.take() {
            self.upload.put(piece).await?;
        }
        Ok(metadata)
    }

    fn group_bytes(&self) -> usize {
        let columns = self.group.iter().flat_map(|group| group.iter());
        // A column that is being encoded right now is not counted: the next look at it will.
        columns.filter_map(|column| column.try_lock().ok().map(|column| column.bytes())).sum()
    }

    /// Waits for the chunk before, and hands this one to the workers.
    async fn encode_chunk(&mut self) -> Result<(), EncodeError> {
        self.wait().await?;
        if self.chunk.is_empty() {
            return Ok(());
        }
        let group = match &self.group {
            Some(group) => Arc::clone(group),
            None => {
                let group = Arc::new(self.new_group()?);
                self.group = Some(Arc::clone(&group));
                group
            }
        };
        let chunk = Arc::new(std::mem::take(&mut self.chunk));
        let workers = if self.chunk_rows < ALONE_ROWS { 1 } else { self.encoding.workers.clamp(1, group.len().max(1)) };
        let amount = Amount::of_bytes(self.chunk_bytes);
        self.group_rows += self.chunk_rows;
        (self.chunk_rows, self.chunk_bytes) = (0, 0);
        let next = Arc::new(AtomicUsize::new(0));
        if amount == Amount::Little {
            let mut scratch = self.encoding.scratch.take();
            encode(&group, &chunk, &self.encoding.schema, &next, &mut scratch)?;
            self.encoding.scratch.give(scratch, self.encoding.workers);
            return Ok(());
        }
        for _ in 0..workers {
            let (group, chunk, next) = (Arc::clone(&group), Arc::clone(&chunk), Arc::clone(&next));
            let encoding = Arc::clone(&self.encoding);
            self.working.push(tokio::task::spawn_blocking(move || {
                let mut scratch = encoding.scratch.take();
                encode(&group, &chunk, &encoding.schema, &next, &mut scratch)?;
                encoding.scratch.give(scratch, encoding.workers);
                Ok(())
            }));
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), EncodeError> {
        for worker in std::mem::take(&mut self.working) {
            worker.await.map_err(EncodeError::Worker)??;
        }
        Ok(())
    }

    fn new_group(&mut self) -> Result<Vec<Mutex<Column>>, ParquetError> {
        let choices = self.choices.get_or_insert_with(|| choice::from_sample(&self.encoding.schema, &self.chunk));
        let parquet = self.writer.schema_descr();
        let properties = Arc::new(choice::apply(choices, &self.encoding.properties, parquet));
        // The file's own properties are fixed: those of a row group come by way of a file that is never written.
        let nowhere = SerializedFileWriter::new(std::io::sink(), parquet.root_schema_ptr(), properties)?;
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, SchemaRef::clone(&self.encoding.schema));
        let mut writers = factory.create_column_writers(self.groups)?.into_iter();
        let mut columns = Vec::with_capacity(self.encoding.schema.fields().len());
        let mut leaf = 0;
        for field in self.encoding.schema.fields() {
            let leaves = leaf_count(field.data_type());
            let writers: Vec<ArrowColumnWriter> = writers.by_ref().take(leaves).collect();
            let descr = parquet.column(leaf);
            let codec = Codec::of(self.encoding.properties.compression(descr.path()));
            let form = choices.get(leaf).and_then(|choice| choice.form(field.data_type()));
            columns.push(Mutex::new(match form.zip(codec) {
                Some((form, codec)) => Column::Flat(Box::new(FlatColumn::new(descr, field.data_type(), form, codec))),
                None => Column::General { writers, has_nan: vec![false; leaves] },
            }));
            leaf += leaves;
        }
        Ok(columns)
    }

    async fn end_row_group(&mut self) -> Result<(), EncodeError> {
        self.wait().await?;
        let Some(group) = self.group.take() else { return Ok(()) };
        let columns: Vec<Column> = match Arc::try_unwrap(group) {
            Ok(columns) => columns.into_iter().map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner)).collect(),
            // Every worker has ended, and each dropped its handle before.
            Err(_) => return Err(ParquetError::General("a row group is still being encoded".to_owned()).into()),
        };
        for (seen, found) in self.has_nan.iter_mut().zip(columns.iter().flat_map(Column::has_nan)) {
            *seen |= *found;
        }
        let encoding = Arc::clone(&self.encoding);
        let amount = Amount::of_bytes(columns.iter().map(Column::bytes).sum());
        let closing = compute(amount, move || {
            let (mut scratch, mut chunks) = (encoding.scratch.take(), Vec::new());
            columns.into_iter().try_for_each(|column| column.close(&mut scratch, &mut chunks))?;
            encoding.scratch.give(scratch, encoding.workers);
            Ok::<_, ParquetError>(chunks)
        });
        let chunks = closing.await.map_err(EncodeError::Worker)??;
        if let Some(choices) = &mut self.choices {
            choice::learn(choices, chunks.iter().map(Chunk::close));
        }
        let mut group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append(&mut group)?;
            for piece in self.pages.take_full() {
                self.upload.put(piece).await?;
            }
        }
        group.close()?;
        self.groups += 1;
        self.group_rows = 0;
        Ok(())
    }
}

/// Encodes columns of a chunk until none is left that nobody took.
fn encode(
    group: &[Mutex<Column>],
    chunk: &[RecordBatch],
    schema: &SchemaRef,
    next: &AtomicUsize,
    scratch: &mut Scratch,
) -> Result<(), ParquetError> {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let (Some(column), Some(field)) = (group.get(at), schema.fields().get(at)) else { return Ok(()) };
        let mut column = column.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in chunk {
            let array = batch.column(at);
            match &mut *column {
                Column::Flat(column) => column.write(array.as_ref(), scratch)?,
                Column::General { writers, has_nan } => {
                    mark_nan(array, has_nan, &mut 0);
                    for (leaf, writer) in compute_leaves(field, array)?.iter().zip(writers.iter_mut()) {
                        writer.write(leaf)?;
                    }
                }
            }
        }
    }
}

/// How many Parquet columns a column becomes.
pub(super) fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|f| leaf_count(f.data_type())).sum(),
        DataType::List(field) | DataType::Map(field, _) => leaf_count(field.data_type()),
        _ => 1,
    }
}

/// Marks the leaves that hold a NaN. Lists and maps have no bounds, so they are not looked at.
fn mark_nan(array: &ArrayRef, has_nan: &mut [bool], leaf: &mut usize) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|c| mark_nan(c, has_nan, leaf)),
        other => {
            let found = match other {
                DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
                DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
                _ => false,
            };
            if let Some(seen) = has_nan.get_mut(*leaf) {
                *seen |= found;
            }
            *leaf += leaf_count(other);
        }
    }
}

/// Bytes between the Parquet writer and the upload, in pieces of the size of a part: no piece is ever copied to grow.
#[derive(Clone, Default)]
pub(super) struct Pages(Arc<Mutex<Pieces>>);

#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    last: Vec<u8>,
}

impl Pages {
    fn pieces(&self) -> std::sync::MutexGuard<'_, Pieces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        let pieces = self.pieces();
        pieces.full.len() * PART_BYTES + pieces.last.len()
    }

    /// The pieces that are full.
    pub(super) fn take_full(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.pieces().full)
    }

    /// All of it.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let mut pieces = self.pieces();
        let last = std::mem::take(&mut pieces.last);
        let mut all = std::mem::take(&mut pieces.full);
        all.push(last.into());
        all
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut pieces = self.pieces();
        let room = PART_BYTES - pieces.last.len();
        let taken = bytes.len().min(room);
        pieces.last.extend_from_slice(&bytes[..taken]);
        if pieces.last.len() == PART_BYTES {
            // The next piece will be as large, if this file goes on as it did.
            let full = std::mem::replace(&mut pieces.last, Vec::with_capacity(PART_BYTES));
            pieces.full.push(full.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
