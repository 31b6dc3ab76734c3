//! One Parquet file of a checkpoint: row groups are encoded side by side and uploaded in order.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};

use crate::error::{DeltaError, Result};
use crate::processor::{Amount, compute};
use crate::write::flat::{FlatChunk, Scratch, ScratchPool, TextColumn};
use crate::write::upload::Upload;

/// Row groups that are encoded at once.
const AT_ONCE: usize = 3;

/// A file that is being written. It appears when [`finish`](Self::finish) succeeds.
pub(super) struct ParquetFile {
    url: String,
    path: String,
    schema: SchemaRef,
    writer: SerializedFileWriter<Pages>,
    pages: Pages,
    upload: Upload,
    groups: usize,
    /// The column of statistics.
    stats: Option<Leaf>,
    scratch: Arc<ScratchPool>,
}

/// A column by its place among all that hold values.
#[derive(Clone)]
struct Leaf {
    at: usize,
    descr: ColumnDescPtr,
}

/// The rows of a row group.
pub(super) struct RowGroup {
    pub(super) rows: RecordBatch,
    /// The column of statistics, in place of the one in `rows`.
    pub(super) stats: Option<FlatChunk>,
}

/// Takes the statistics of a row group, file by file.
pub(super) struct StatsColumn<'a> {
    column: TextColumn,
    scratch: &'a mut Scratch,
}

impl StatsColumn<'_> {
    /// Appends a text as bytes of UTF-8.
    pub(super) fn push(&mut self, text: Option<&[u8]>) -> Result<(), ParquetError> {
        self.column.push(text, self.scratch)
    }

    pub(super) fn close(self) -> Result<FlatChunk, ParquetError> {
        self.column.close(self.scratch)
    }
}

impl ParquetFile {
    pub(super) fn create(storage: &Storage, path: &str, schema: SchemaRef) -> Result<Self> {
        let url = storage.url().to_owned();
        let encode = |source| DeltaError::Encode { url: url.clone(), path: path.to_owned(), source };
        let parquet = ArrowSchemaConverter::new().convert(&schema).map_err(encode)?;
        let pages = Pages::default();
        let writer =
            SerializedFileWriter::new(pages.clone(), parquet.root_schema_ptr(), Arc::new(properties())).map_err(encode)?;
        let upload = Upload::new(Arc::clone(storage.object_store()), storage.path_of(path)?);
        let stats = parquet.columns().iter().position(|column| *column.path() == stats_path());
        let stats = stats.map(|at| Leaf { at, descr: parquet.column(at) });
        let scratch = Arc::default();
        Ok(Self { url, path: path.to_owned(), schema, writer, pages, upload, groups: 0, stats, scratch })
    }

    /// Writes row groups in order. Their rows are made where they are encoded, side by side; each gets a column for its
    /// statistics, if the file has one, and need not use it.
    pub(super) async fn write<M>(&mut self, groups: Vec<M>, amount: Amount) -> Result<()>
    where
        M: FnOnce(Option<StatsColumn<'_>>) -> Result<RowGroup, ParquetError> + Send + 'static,
    {
        let first = self.groups;
        self.groups += groups.len();
        let factory = Arc::new(ArrowRowGroupWriterFactory::new(&self.writer, Arc::clone(&self.schema)));
        let (stats, pool) = (self.stats.clone(), Arc::clone(&self.scratch));
        let encoding = groups.into_iter().enumerate().map(|(at, make)| {
            let (factory, stats, pool) = (Arc::clone(&factory), stats.clone(), Arc::clone(&pool));
            compute(amount, move || {
                let mut scratch = pool.take();
                let column = stats
                    .as_ref()
                    .map(|leaf| StatsColumn { column: TextColumn::new(leaf.descr.clone(), level()), scratch: &mut scratch });
                let encoded = make(column).and_then(|group| encode(&factory, first + at, group, stats.as_ref()));
                pool.give(scratch, AT_ONCE);
                encoded
            })
        });
        // Lazy: a task starts when there is room for it.
        let mut encoded = futures::stream::iter(encoding).buffered(AT_ONCE);
        let url = self.url.clone();
        while let Some(columns) = encoded.try_next().await.map_err(|source| DeltaError::Task { url: url.clone(), source })? {
            let appended = columns.and_then(|columns| self.append(columns));
            appended.map_err(|source| self.encode_error(source))?;
            self.send().await?;
        }
        Ok(())
    }

    fn append(&mut self, columns: Vec<ColumnChunk>) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        columns.into_iter().try_for_each(|column| column.append(&mut group))?;
        group.close().map(drop)
    }

    async fn send(&mut self) -> Result<()> {
        let bytes = self.pages.take();
        if bytes.is_empty() {
            return Ok(());
        }
        let (url, path) = (self.url.clone(), self.path.clone());
        self.upload.put(bytes).await.map_err(|source| store_error(url, path, source))
    }

    /// Makes the file visible, and says how many bytes it has.
    pub(super) async fn finish(mut self) -> Result<u64> {
        let finished = self.writer.finish().map(drop);
        finished.map_err(|source| self.encode_error(source))?;
        self.send().await?;
        self.upload.finish().await.map_err(|source| store_error(self.url, self.path, source))
    }

    /// Gives up; nothing becomes visible.
    pub(super) async fn abort(self) {
        self.upload.abort().await;
    }

    fn encode_error(&self, source: ParquetError) -> DeltaError {
        DeltaError::Encode { url: self.url.clone(), path: self.path.clone(), source }
    }
}

fn store_error(url: String, path: String, source: object_store::Error) -> DeltaError {
    DeltaError::Store { attempted: "write", url, path, source: Box::new(source) }
}

/// The encoded pages of a column.
enum ColumnChunk {
    General(ArrowColumnChunk),
    Texts(FlatChunk),
}

impl ColumnChunk {
    fn append(self, group: &mut SerializedRowGroupWriter<'_, Pages>) -> Result<(), ParquetError> {
        match self {
            Self::General(chunk) => chunk.append_to_row_group(group),
            Self::Texts(chunk) => chunk.append(group),
        }
    }
}

fn encode(
    factory: &ArrowRowGroupWriterFactory,
    nth: usize,
    group: RowGroup,
    stats_leaf: Option<&Leaf>,
) -> Result<Vec<ColumnChunk>, ParquetError> {
    let RowGroup { rows, mut stats } = group;
    let mut writers = factory.create_column_writers(nth)?.into_iter().enumerate();
    let mut encoded = Vec::with_capacity(writers.len());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        for leaf in compute_leaves(field, column)? {
            let (at, mut writer) = writers.next().ok_or_else(|| ParquetError::General("more leaves than columns".to_owned()))?;
            if stats_leaf.is_some_and(|leaf| leaf.at == at)
                && let Some(stats) = stats.take()
            {
                encoded.push(ColumnChunk::Texts(stats));
                continue;
            }
            writer.write(&leaf)?;
            encoded.push(ColumnChunk::General(writer.close()?));
        }
    }
    Ok(encoded)
}

fn stats_path() -> ColumnPath {
    ColumnPath::new(vec!["add".to_owned(), "stats".to_owned()])
}

/// Statistics, most of the bytes, get no smaller with the next levels, only slower.
fn level() -> ZstdLevel {
    ZstdLevel::try_new(1).unwrap_or_default()
}

/// Paths and statistics hardly ever repeat: a dictionary of them would only be in the way.
fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level()))
        .set_max_row_group_row_count(Some(usize::MAX))
        .set_created_by(crate::ENGINE_INFO.to_owned());
    for action in ["add", "remove"] {
        for column in ["path", "stats"] {
            let path = ColumnPath::new(vec![action.to_owned(), column.to_owned()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    // The smallest and the largest text of statistics tell a reader nothing.
    properties = properties.set_column_statistics_enabled(stats_path(), parquet::file::properties::EnabledStatistics::Chunk);
    properties.build()
}

/// Encoded bytes that wait for the upload.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Pages {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
