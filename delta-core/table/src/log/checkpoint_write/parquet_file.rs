//! One Parquet file of a checkpoint: row groups are encoded side by side and uploaded in order.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::error::{DeltaError, Result};
use crate::processor::{Amount, compute};
use crate::write::upload::Upload;

/// Row groups that are encoded at once.
const AT_ONCE: usize = 2;

/// A file that is being written. It appears when [`finish`](Self::finish) succeeds.
pub(super) struct ParquetFile {
    url: String,
    path: String,
    schema: SchemaRef,
    writer: SerializedFileWriter<Pages>,
    pages: Pages,
    upload: Upload,
    groups: usize,
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
        Ok(Self { url, path: path.to_owned(), schema, writer, pages, upload, groups: 0 })
    }

    /// Writes row groups in order. Their rows are made where they are encoded, side by side.
    pub(super) async fn write<M>(&mut self, groups: Vec<M>, amount: Amount) -> Result<()>
    where
        M: FnOnce() -> Result<RecordBatch, ArrowError> + Send + 'static,
    {
        let first = self.groups;
        self.groups += groups.len();
        let factory = Arc::new(ArrowRowGroupWriterFactory::new(&self.writer, Arc::clone(&self.schema)));
        let encoding = groups.into_iter().enumerate().map(|(at, rows)| {
            let factory = Arc::clone(&factory);
            compute(amount, move || encode(&factory, first + at, &rows()?))
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

    fn append(&mut self, columns: Vec<ArrowColumnChunk>) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in columns {
            column.append_to_row_group(&mut group)?;
        }
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

fn encode(
    factory: &ArrowRowGroupWriterFactory,
    group: usize,
    batch: &RecordBatch,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut writers = factory.create_column_writers(group)?;
    let mut next = writers.iter_mut();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for leaf in compute_leaves(field, column)? {
            let writer = next.next().ok_or_else(|| ParquetError::General("more leaves than columns".to_owned()))?;
            writer.write(&leaf)?;
        }
    }
    writers.into_iter().map(parquet::arrow::arrow_writer::ArrowColumnWriter::close).collect()
}

/// Paths and statistics hardly ever repeat: a dictionary of them would only be in the way.
fn properties() -> WriterProperties {
    // Statistics, most of the bytes, get no smaller with the next levels, only slower.
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(usize::MAX))
        .set_created_by(crate::ENGINE_INFO.to_owned());
    for action in ["add", "remove"] {
        for column in ["path", "stats"] {
            let path = ColumnPath::new(vec![action.to_owned(), column.to_owned()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    // The smallest and the largest text of statistics tell a reader nothing.
    let stats = ColumnPath::new(vec!["add".to_owned(), "stats".to_owned()]);
    properties = properties.set_column_statistics_enabled(stats, parquet::file::properties::EnabledStatistics::Chunk);
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
