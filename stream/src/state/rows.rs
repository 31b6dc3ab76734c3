//! Rows of a segment: in memory, or in a file that is read block by block.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_ipc::reader::FileReader;
use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

/// Rows of a block of a file: what is read for one row.
pub(crate) const BLOCK_ROWS: usize = 4096;

/// The rows of a segment.
#[derive(Debug)]
pub(crate) enum Rows {
    Held(RecordBatch),
    Filed(Box<Filed>),
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Held(rows) => rows.num_rows(),
            Self::Filed(file) => file.rows,
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Held(rows) => rows.schema(),
            Self::Filed(file) => SchemaRef::clone(&file.schema),
        }
    }

    /// In memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Held(rows) => rows.get_array_memory_size(),
            Self::Filed(_) => 0,
        }
    }

    /// On disk, and not in memory.
    pub(crate) fn filed_bytes(&self) -> u64 {
        match self {
            Self::Held(_) => 0,
            Self::Filed(file) => file.bytes,
        }
    }
}

/// Rows in an Arrow IPC file, or in a part of a file that is one: blocks of [`BLOCK_ROWS`] rows, the last one smaller.
///
/// The file stays open, so it may be deleted while it is read.
pub(crate) struct Filed {
    reader: Mutex<FileReader<Window>>,
    schema: SchemaRef,
    rows: usize,
    bytes: u64,
    /// What deletes the file when it is dropped.
    _guard: Option<Arc<dyn Send + Sync>>,
}

impl Filed {
    /// The first `bytes` of a file, which hold so many rows.
    ///
    /// **Errors**: when the file is not there, or holds something else.
    pub(crate) fn open(path: &Path, bytes: u64, rows: usize, guard: Option<Arc<dyn Send + Sync>>) -> Result<Self, ArrowError> {
        let window = Window { file: File::open(path)?, bytes, at: 0 };
        let reader = FileReader::try_new(window, None)?;
        let (blocks, needed) = (reader.num_batches(), rows.div_ceil(BLOCK_ROWS));
        if blocks != needed {
            return Err(ArrowError::IpcError(format!("{} has {blocks} blocks, and {needed} were written", path.display())));
        }
        Ok(Self { schema: reader.schema(), reader: Mutex::new(reader), rows, bytes, _guard: guard })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Some rows, by their numbers in ascending order.
    ///
    /// **Cost**: each block that has one of them is read as a whole.
    pub(crate) fn pick(&self, rows: &[u32], columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let schema: SchemaRef = reader.schema().project(columns)?.into();
        let mut picked = Vec::new();
        for of_block in rows.chunk_by(|a, b| block_of(*a) == block_of(*b)) {
            let Some(first) = of_block.first() else { continue };
            let block = read_block(&mut reader, block_of(*first))?.project(columns)?;
            let within = of_block.iter().map(|row| row % BLOCK_ROWS_U32).collect::<UInt32Array>();
            picked.push(take_record_batch(&block, &within)?);
        }
        concat_batches(&schema, &picked)
    }

    /// All rows.
    pub(crate) fn all(&self) -> Result<RecordBatch, ArrowError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = (0..reader.num_batches()).map(|block| read_block(&mut reader, block)).collect::<Result<Vec<_>, _>>()?;
        concat_batches(&reader.schema(), &blocks)
    }
}

impl fmt::Debug for Filed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filed").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const BLOCK_ROWS_U32: u32 = BLOCK_ROWS as u32;

fn block_of(row: u32) -> usize {
    row as usize / BLOCK_ROWS
}

fn read_block(reader: &mut FileReader<Window>, block: usize) -> Result<RecordBatch, ArrowError> {
    reader.set_index(block)?;
    reader.next().transpose()?.ok_or_else(|| ArrowError::IpcError(format!("the block {block} of a file of state is not there")))
}

/// The beginning of a file as if nothing came behind it.
struct Window {
    file: File,
    bytes: u64,
    at: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::End(by) => SeekFrom::Start(self.bytes.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?),
            SeekFrom::Current(by) => SeekFrom::Start(self.at.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?),
            start @ SeekFrom::Start(_) => start,
        };
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}
