//! Row groups of files in one new file, as they are.
//!
//! ```text
//!   a.parquet  │ group │ group │ footer          new.parquet │ group │ group │ group │ footer
//!   b.parquet  │ group │ footer           ──▶                  └────── bytes of a and b ──────┘
//! ```
//! Nothing is decoded: bytes are copied, and footers say where they are now. That is right for files of this writer only,
//! whose statistics and encodings mean what this writer means.

use std::sync::Arc;

use boathouse_delta_protocol::action::{Add, encode_path};
use boathouse_delta_protocol::schema::PrimitiveType;
use boathouse_storage::Storage;
use bytes::{Buf, Bytes, buf::Reader};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Compression;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::data_writer::{DataWriter, DataWriterSettings, WrittenFiles, encode_error};
use super::encoder::{EncodeError, Encoding, Pages};
use super::statistics::{self, Leaf};
use super::upload::Upload;
use crate::error::{DeltaError, Result};
use crate::scan::{DataFile, ObjectReader, read_error, source};
use crate::snapshot::Snapshot;

/// Footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;
/// How the files of this writer begin to say who made them, in every version.
const MADE_BY: &str = "boathouse/";

/// The new file: what of a writer it needs, and can be looked at by several threads.
struct Target {
    storage: Storage,
    relative: String,
    encoding: Arc<Encoding>,
    leaves: Vec<Leaf>,
}

/// A file whose row groups are copied.
struct Glued {
    path: String,
    reader: ObjectReader,
    footer: Arc<ParquetMetaData>,
}

impl DataWriter {
    /// Writes one new file with the row groups of these, which belong to one partition, byte for byte and in their order.
    ///
    /// Nothing is written, and `None` returned, where that would not do: rows are deleted or carry ids, a file is not of this writer or has
    /// other columns, types or compression than new files have, or row groups have fewer than `min_rows` rows on average. Small row
    /// groups are better decoded and put together.
    ///
    /// **Cost**: reads and writes the bytes of the files once; memory for one row group.
    ///
    /// **Errors**: as [`Snapshot::read_files`] and [`DataWriter::finish`].
    pub async fn glue(
        snapshot: &Snapshot,
        files: &[DataFile],
        min_rows: u64,
        settings: DataWriterSettings,
    ) -> Result<Option<WrittenFiles>> {
        let writer = Self::new(snapshot, DataWriterSettings { data_change: false, ..settings })?;
        let Some(first) = files.first() else { return Ok(None) };
        if writer.tracked.is_some() || files.iter().any(|file| file.deletion_vector().is_some()) {
            return Ok(None);
        }
        // No row group has more rows than its file: often the log alone says no.
        if DataFile::total_rows(files).is_some_and(|rows| rows / (files.len() as u64) < min_rows) {
            return Ok(None);
        }
        let (relative, partition_values) = writer.name_file(first.partition_values())?;
        let Self { storage, env, layout, encoding, leaves, indexed, .. } = writer;
        let target = Target { storage, relative, encoding, leaves };
        let schema = ArrowSchemaConverter::new().convert(&target.encoding.schema);
        let schema = schema.map_err(|error| target.error(EncodeError::Parquet(error)))?;
        let codec = target.encoding.properties.compression(&ColumnPath::new(Vec::new()));
        // Each with its own handles: what borrows cannot be sent to another thread from within a stream.
        let wanted: Vec<_> = files.iter().map(|file| open(snapshot.clone(), file.clone())).collect();
        let opened = stream::iter(wanted).buffered(FOOTERS_AT_ONCE);
        let mut glued: Vec<Glued> = opened.try_collect().await?;
        if !glued.iter().all(|file| fits(&file.footer, &schema, codec)) {
            return Ok(None);
        }
        let groups = || glued.iter().flat_map(|file| file.footer.row_groups());
        let rows: u64 = groups().map(|group| u64::try_from(group.num_rows()).unwrap_or_default()).sum();
        if rows == 0 || rows / (groups().count() as u64) < min_rows {
            return Ok(None);
        }
        let path = target.storage.path_of(&target.relative)?;
        let mut upload = Upload::new(Arc::clone(target.storage.object_store()), path);
        let copied = target.copy(snapshot, &schema, &mut glued, &mut upload).await;
        let metadata = match copied {
            Ok(metadata) => metadata,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        let bytes = upload.finish().await.map_err(|error| target.error(EncodeError::Store(error)))?;
        let stats = statistics::collect(&metadata, &target.leaves, &indexed, &target.may_have_nan(files, &schema));
        let add = Add {
            path: encode_path(&target.relative),
            partition_values,
            size: bytes,
            modification_time: env.now_ms(),
            data_change: false,
            stats: Some(stats.to_json(&layout.schema, layout.mode)),
            ..Add::default()
        };
        Ok(Some(WrittenFiles { adds: vec![add], rows, bytes, ..WrittenFiles::default() }))
    }
}

impl Target {
    fn error(&self, error: EncodeError) -> DeltaError {
        encode_error(self.storage.url(), &self.relative, error)
    }

    async fn copy(
        &self,
        snapshot: &Snapshot,
        schema: &SchemaDescriptor,
        files: &mut [Glued],
        upload: &mut Upload,
    ) -> Result<ParquetMetaData> {
        let failed = |error: ParquetError| self.error(EncodeError::Parquet(error));
        let stored = |error| self.error(EncodeError::Store(error));
        let pages = Pages::default();
        let mut parquet =
            SerializedFileWriter::new(pages.clone(), schema.root_schema_ptr(), Arc::clone(&self.encoding.properties))
                .map_err(failed)?;
        for Glued { path, reader, footer } in files {
            for (nth, group) in footer.row_groups().iter().enumerate() {
                let (start, end) = bytes_of(group);
                let bytes = reader.get_bytes(start..end).await.map_err(|error| read_error(&source(snapshot), path, error))?;
                let window = Window { start, bytes };
                let mut copied = parquet.next_row_group().map_err(failed)?;
                for (column, chunk) in group.columns().iter().enumerate() {
                    let column_index = footer.column_index().and_then(|index| index.get(nth)?.get(column)).cloned();
                    let close = ColumnCloseResult {
                        bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or_default(),
                        rows_written: u64::try_from(group.num_rows()).unwrap_or_default(),
                        metadata: chunk.clone(),
                        bloom_filter: None,
                        column_index: column_index.filter(|index| !matches!(index, ColumnIndexMetaData::NONE)),
                        offset_index: footer.offset_index().and_then(|index| index.get(nth)?.get(column)).cloned(),
                    };
                    copied.append_column(&window, close).map_err(failed)?;
                    for piece in pages.take_full() {
                        upload.put(piece).await.map_err(stored)?;
                    }
                }
                copied.close().map_err(failed)?;
            }
        }
        let metadata = parquet.finish().map_err(failed)?;
        for piece in pages.take() {
            upload.put(piece).await.map_err(stored)?;
        }
        Ok(metadata)
    }

    /// Leaves whose bounds may be silent of a NaN: floating-point numbers of which some file has no bounds, though not all of it is null.
    fn may_have_nan(&self, files: &[DataFile], schema: &SchemaDescriptor) -> Vec<bool> {
        let mut may = vec![false; schema.num_columns()];
        let stats: Vec<_> = files.iter().map(DataFile::stats).collect();
        for leaf in &self.leaves {
            if !matches!(leaf.data_type, Some(PrimitiveType::Float | PrimitiveType::Double)) {
                continue;
            }
            let known = stats.iter().all(|stats| {
                let Some(stats) = stats else { return false };
                let column = stats.columns.get(&leaf.path);
                column.is_some_and(|column| {
                    column.min.is_some() || (stats.num_records.is_some() && column.null_count == stats.num_records)
                })
            });
            if let Some(may) = may.get_mut(leaf.at) {
                *may = !known;
            }
        }
        may
    }
}

async fn open(snapshot: Snapshot, file: DataFile) -> Result<Glued> {
    let (storage, path) = (snapshot.table().storage(), file.path().into_owned());
    let mut reader = ObjectReader::new(Arc::clone(storage.object_store()), file.object_path(storage)?, file.size_bytes());
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Optional);
    let footer = reader.get_metadata(Some(&options)).await.map_err(|error| read_error(&source(&snapshot), &path, error))?;
    Ok(Glued { path, reader, footer })
}

/// Whether a new file of this writer could have these row groups.
fn fits(footer: &ParquetMetaData, schema: &SchemaDescriptor, codec: Compression) -> bool {
    let file = footer.file_metadata();
    let same_codec = |found: Compression| {
        found == Compression::UNCOMPRESSED || std::mem::discriminant(&found) == std::mem::discriminant(&codec)
    };
    file.created_by().is_some_and(|by| by.starts_with(MADE_BY))
        && file.schema_descr().root_schema().get_fields() == schema.root_schema().get_fields()
        && footer.row_groups().iter().all(|group| group.columns().iter().all(|chunk| same_codec(chunk.compression())))
}

/// Where a row group begins and ends.
fn bytes_of(group: &RowGroupMetaData) -> (u64, u64) {
    let ranges = || group.columns().iter().map(|chunk| chunk.byte_range());
    let start = ranges().map(|(start, _)| start).min().unwrap_or_default();
    (start, ranges().map(|(start, length)| start.saturating_add(length)).max().unwrap_or(start))
}

/// A part of a file, by places in the file.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok()).filter(|at| *at <= self.bytes.len());
        let beyond = || ParquetError::EOF(format!("byte {start} of the file lies outside of its row group"));
        Ok(self.bytes.slice(at.ok_or_else(beyond)?..))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }
}

impl ChunkReader for Window {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.from(start)?;
        let beyond = || ParquetError::EOF(format!("{length} bytes from {start} on lie outside of their row group"));
        if length <= rest.len() { Ok(rest.slice(..length)) } else { Err(beyond()) }
    }
}
