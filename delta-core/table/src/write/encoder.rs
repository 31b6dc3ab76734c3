//! One Parquet file, encoded column by column on several threads while it is uploaded.
//!
//! ```text
//!   batches ─▶ chunks (32 k rows) ─▶ columns, each taken by the next free worker ─▶ pages in memory
//!                  ▲ the next chunk fills meanwhile                                      │ row group full
//!                  └──────────────────────────────────────────────────────────────────── ▼
//!                                                             upload in parts ◀─ row group, column after column
//! ```
//! A row group that is full is put into the file while the next one is encoded.
//!
//! Memory: the encoded pages of one row group, and what is left of the one before, three chunks of input, and the parts on their way.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use tokio::task::{JoinHandle, spawn_blocking};

use super::choice::{self, Choice};
use super::columns::{Chunk, Column, leaf_count};
use super::flat::{Codec, FlatColumn, ScratchPool};
use super::row_group::{RowGroup, Rows, Size};
use super::upload::{PART_BYTES, Upload};
use crate::processor::Amount;

/// Rows that are handed to the workers at once.
const CHUNK_ROWS: usize = 32 * 1024;
/// Bytes of Arrow data that are handed to the workers at once.
const CHUNK_BYTES: usize = 32 << 20;

/// A Parquet file begins with its name.
const MAGIC_BYTES: u64 = 4;

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
    parquet: SchemaDescriptor,
    file: File,
    /// How the columns of the next row group are encoded; nothing before the first.
    choices: Option<Vec<Choice>>,
    pages: Pages,
    upload: Upload,
    group: Option<RowGroup>,
    group_rows: usize,
    /// The size of the row group before.
    before: Size,
    /// Bytes of all row groups that have ended, behind the first bytes of the file.
    ended_bytes: u64,
    chunk: Rows,
    has_nan: Vec<bool>,
    groups: usize,
    rows: u64,
}

impl FileEncoder {
    pub(crate) fn new(encoding: Arc<Encoding>, store: Arc<dyn ObjectStore>, path: Path) -> Result<Self, ParquetError> {
        let pages = Pages::default();
        let parquet = ArrowSchemaConverter::new().convert(&encoding.schema)?;
        let has_nan = vec![false; parquet.num_columns()];
        let writer = SerializedFileWriter::new(pages.clone(), parquet.root_schema_ptr(), Arc::clone(&encoding.properties))?;
        Ok(Self {
            encoding,
            parquet,
            file: File::Open(Box::new(writer)),
            choices: None,
            pages,
            upload: Upload::new(store, path),
            group: None,
            group_rows: 0,
            before: Size::default(),
            ended_bytes: MAGIC_BYTES,
            chunk: Rows::default(),
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
        self.ended_bytes + self.group_bytes() as u64
    }

    /// About how many bytes it holds in memory.
    pub(crate) fn memory(&self) -> usize {
        self.chunk.bytes + self.group.as_ref().map_or(0, RowGroup::memory)
    }

    /// Appends rows; columns are those of the encoding, strings and bytes in any Arrow layout.
    ///
    /// Returns once the rows are with the workers, which encode them while the caller goes on.
    pub(crate) async fn write(&mut self, mut batch: RecordBatch) -> Result<(), EncodeError> {
        while batch.num_rows() > 0 {
            let room = (CHUNK_ROWS - self.chunk.rows).min(self.encoding.row_group_rows - self.group_rows - self.chunk.rows);
            let take = room.min(batch.num_rows());
            let rest = batch.slice(take, batch.num_rows() - take);
            let part = batch.slice(0, take);
            self.rows += take as u64;
            self.chunk.rows += take;
            self.chunk.bytes += if rest.num_rows() == 0 && take == batch.num_rows() {
                part.get_array_memory_size()
            } else {
                // A slice keeps its whole buffers alive: count its share of them.
                part.get_array_memory_size() / batch.num_rows().max(1) * take
            };
            self.chunk.batches.push(part);
            let full = self.group_rows + self.chunk.rows >= self.encoding.row_group_rows;
            if full || self.chunk.rows >= CHUNK_ROWS || self.chunk.bytes >= CHUNK_BYTES {
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
        self.group.iter().for_each(RowGroup::stop);
        self.upload.abort().await;
    }

    async fn end(&mut self) -> Result<ParquetMetaData, EncodeError> {
        self.encode_chunk().await?;
        self.end_row_group().await?;
        let metadata = self.file.take().await?.finish()?;
        for piece in self.pages.take() {
            self.upload.put(piece).await?;
        }
        Ok(metadata)
    }

    fn group_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::bytes)
    }

    /// Hands the chunk to the workers.
    async fn encode_chunk(&mut self) -> Result<(), EncodeError> {
        if self.chunk.batches.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let group = match &mut self.group {
            Some(group) => group,
            None => {
                let columns = self.new_columns(&chunk.batches)?;
                self.group.insert(RowGroup::new(Arc::clone(&self.encoding), columns, self.before))
            }
        };
        self.group_rows += chunk.rows;
        group.encode(chunk).await?;
        self.send().await
    }

    /// Sends the pieces that are full on their way.
    async fn send(&mut self) -> Result<(), EncodeError> {
        for piece in self.pages.take_full() {
            self.upload.put(piece).await?;
        }
        Ok(())
    }

    fn new_columns(&mut self, first: &[RecordBatch]) -> Result<Vec<Column>, ParquetError> {
        let choices = self.choices.get_or_insert_with(|| choice::from_sample(&self.encoding.schema, first));
        let parquet = &self.parquet;
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
            columns.push(match form.zip(codec) {
                Some((form, codec)) => Column::Flat(Box::new(FlatColumn::new(descr, field.data_type(), form, codec))),
                None => Column::General { writers, has_nan: vec![false; leaves] },
            });
            leaf += leaves;
        }
        Ok(columns)
    }

    async fn end_row_group(&mut self) -> Result<(), EncodeError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let closed = group.close().await?;
        for (seen, found) in self.has_nan.iter_mut().zip(closed.iter().flat_map(|column| &column.has_nan)) {
            *seen |= *found;
        }
        let chunks: Vec<Chunk> = closed.into_iter().flat_map(|column| column.chunks).collect();
        if let Some(choices) = &mut self.choices {
            choice::learn(choices, chunks.iter().map(Chunk::close));
        }
        let bytes = chunks.iter().map(|chunk| chunk.close().metadata.compressed_size()).sum::<i64>();
        self.before = Size { rows: self.group_rows, bytes: usize::try_from(bytes).unwrap_or_default() };
        self.ended_bytes += self.before.bytes as u64;
        let mut writer = self.file.take().await?;
        self.send().await?;
        let put = move || {
            let mut group = writer.next_row_group()?;
            chunks.into_iter().try_for_each(|chunk| chunk.append(&mut group))?;
            group.close()?;
            Ok(writer)
        };
        self.file = match Amount::of_bytes(self.before.bytes) {
            Amount::Little => File::Open(put()?),
            Amount::Much => File::Busy(spawn_blocking(put)),
        };
        self.groups += 1;
        self.group_rows = 0;
        Ok(())
    }
}

/// The file as the Parquet writer has it.
enum File {
    Open(Box<SerializedFileWriter<Pages>>),
    /// A row group is put into it.
    Busy(JoinHandle<Result<Box<SerializedFileWriter<Pages>>, ParquetError>>),
    /// Something failed.
    Gone,
}

impl File {
    /// The writer, once it is free.
    async fn take(&mut self) -> Result<Box<SerializedFileWriter<Pages>>, EncodeError> {
        match std::mem::replace(self, Self::Gone) {
            Self::Open(writer) => Ok(writer),
            Self::Busy(task) => Ok(task.await.map_err(EncodeError::Worker)??),
            Self::Gone => Err(ParquetError::General("the file has failed before".to_owned()).into()),
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
