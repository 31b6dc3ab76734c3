//! Opening a data file.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use boathouse_base::Predicate;
use boathouse_delta_protocol::deletion_vector::DeletionVector;
use boathouse_storage::Storage;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask, RowNumber};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::columns::{Columns, InFile};
use super::file::DataFile;
use super::object::ObjectReader;
use super::pages;
use super::selection::{only, row_groups, with_rows, without_deleted};
use super::vector::FileVector;
use crate::error::{DeltaError, Result};
use crate::row_tracking::RowTrackingColumns;

/// Rows of a batch that is read.
const BATCH_ROWS: usize = 8192;

/// What is read of one file.
#[derive(Debug, Clone, Default)]
pub struct FileRead {
    /// Columns, in the order wanted; `None` for all.
    pub projection: Option<Vec<String>>,
    /// Row groups and pages that cannot match are skipped. Rows that do not match may come all the same.
    pub predicate: Option<Predicate>,
    /// Adds a column of this name behind the others (`Int64`, never null): the number of the row in the file, from 0, which is
    /// what deletion vectors speak of.
    pub row_index: Option<String>,
    /// Adds two last columns: row id and row commit version. The table must track its rows.
    pub row_tracking: Option<RowTrackingColumns>,
    /// What happens to rows that the deletion vector deletes.
    pub deleted: DeletedRows,
    /// Only these rows, by their place in the file; `None` for all. Row groups and pages without one of them are not read.
    pub rows: Option<DeletionVector>,
    /// Texts and bytes at the top come as views (`Utf8View`, `BinaryView`), which point into the pages of the file.
    pub has_views: bool,
}

/// Which rows of a file are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Row groups and pages that cannot match are skipped.
    pub(crate) predicate: Option<Predicate>,
    pub(crate) deleted: DeletedRows,
    pub(crate) only: Option<DeletionVector>,
}

/// What happens to deleted rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeletedRows {
    /// They are not read.
    #[default]
    Skip,
    /// They are read as if they were there.
    Keep,
}

/// What a file belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) storage: Storage,
    pub(crate) version: u64,
}

/// A file that is being read.
pub(crate) struct OpenFile {
    source: Source,
    path: String,
    stream: ParquetRecordBatchStream<ObjectReader>,
    columns: InFile,
}

impl OpenFile {
    /// Reads the footer, and decides what of the file is read.
    pub(crate) async fn open(source: Source, file: &DataFile, columns: &Columns, wanted: &Rows) -> Result<Self> {
        let path = file.path().into_owned();
        let storage = &source.storage;
        let object = file.object_path(storage)?;
        let mut reader = ObjectReader::new(Arc::clone(storage.object_store()), object, file.size_bytes());
        let failed = |error| failed(&source, &path, error);
        let vector = match file.deletion_vector().filter(|_| wanted.deleted == DeletedRows::Skip) {
            Some(vector) => {
                let vector = FileVector::new(storage, source.version, &path, vector)?;
                Some((vector.load(storage.object_store()).await?, vector))
            }
            None => None,
        };
        let mut options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        if vector.is_some() || wanted.only.is_some() || wanted.predicate.is_some() {
            // With page locations, pages without a kept row are not fetched; with their bounds, those that cannot match.
            options = options.with_page_index_policy(PageIndexPolicy::Optional);
        }
        let metadata = match reader.get_metadata(Some(&options)).await {
            Ok(metadata) => metadata,
            Err(error) => return Err(unreadable(&source, path, &reader, error).await),
        };
        if let Some((vector, file)) = &vector {
            file.check_rows(vector, u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default())?;
        }
        let plain = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options.clone()).map_err(failed)?;
        if columns.lack_field_ids(plain.schema().fields()) {
            return Err(DeltaError::NoFieldIds { url: storage.url().to_owned(), path });
        }
        let times = with_microseconds(&metadata, plain.schema());
        let views = columns.decoded(times.as_ref().unwrap_or(plain.schema()));
        if let Some(schema) = views.or(times) {
            options = options.with_schema(Arc::new(schema));
        }
        if columns.needs_row_numbers() {
            let field = Field::new("row_number", DataType::Int64, false).with_extension_type(RowNumber);
            options = options.with_virtual_columns(vec![Arc::new(field)]).map_err(failed)?;
        }
        let arrow = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(failed)?;
        let in_file = columns
            .in_file(plain.schema().fields(), file)
            .ok_or_else(|| DeltaError::NoRowId { url: storage.url().to_owned(), path: path.clone() })?;
        let mut groups = match &wanted.predicate {
            Some(predicate) => row_groups(&metadata, predicate, columns.layout(), file.partition_values()),
            None => (0..metadata.num_row_groups()).collect(),
        };
        let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), in_file.roots.iter().copied());
        let mut builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader, arrow).with_batch_size(BATCH_ROWS).with_projection(mask);
        let mut selection = None;
        if let Some(rows) = &wanted.only {
            let rows = vector.as_ref().map_or_else(|| rows.clone(), |(vector, _)| rows.minus(vector));
            groups = with_rows(&metadata, groups, &rows);
            selection = Some(only(&metadata, &groups, &rows));
        } else if let Some((vector, _)) = &vector {
            selection = Some(without_deleted(&metadata, &groups, vector));
        }
        if let Some(predicate) = &wanted.predicate
            && let Some(pages) = pages::matching(&metadata, &groups, predicate, columns.layout(), file.partition_values())
        {
            selection = Some(selection.map_or_else(|| pages.clone(), |rows| rows.intersection(&pages)));
        }
        if let Some(rows) = selection {
            builder = builder.with_row_selection(rows);
        }
        let stream = builder.with_row_groups(groups).build().map_err(failed)?;
        Ok(Self { source, path, stream, columns: in_file })
    }

    /// The next rows.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let read = self.stream.try_next().await.map_err(|error| failed(&self.source, &self.path, error))?;
        let Some(read) = read else { return Ok(None) };
        let batch = self.columns.batch(&read).map_err(|source| DeltaError::UnfitFile {
            url: self.source.storage.url().to_owned(),
            path: self.path.clone(),
            source,
        })?;
        Ok(Some(batch))
    }
}

/// The error of a file whose footer cannot be read. A file that is not there is missing, even if the log says a size
/// that no Parquet file has.
async fn unreadable(source: &Source, path: String, reader: &ObjectReader, error: ParquetError) -> DeltaError {
    if !matches!(error, ParquetError::External(_)) && reader.is_missing().await {
        return DeltaError::DataFileMissing { url: source.storage.url().to_owned(), path, version: source.version };
    }
    failed(source, &path, error)
}

/// An error of the Parquet reader as one of the table.
pub(crate) fn failed(source: &Source, path: &str, error: ParquetError) -> DeltaError {
    let (url, path) = (source.storage.url().to_owned(), path.to_owned());
    match error {
        ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
            Ok(error) if matches!(*error, object_store::Error::NotFound { .. }) => {
                DeltaError::DataFileMissing { url, path, version: source.version }
            }
            Ok(error) => DeltaError::Store { attempted: "read", url, path, source: error },
            Err(inner) => DeltaError::CorruptFile { url, path, source: ParquetError::External(inner) },
        },
        source => DeltaError::CorruptFile { url, path, source },
    }
}

/// The schema with INT96 columns, nested ones too, read as microseconds: as nanoseconds they end in the year 2262.
fn with_microseconds(metadata: &ParquetMetaData, schema: &Schema) -> Option<Schema> {
    let parquet = metadata.file_metadata().schema_descr();
    if !parquet.columns().iter().any(|column| column.physical_type() == PhysicalType::INT96) {
        return None;
    }
    // The leaves of both schemas are the same, in the same order.
    let mut leaves = parquet.columns().iter().map(|column| column.physical_type() == PhysicalType::INT96);
    Some(Schema::new(fields_in_microseconds(schema.fields(), &mut leaves)))
}

fn fields_in_microseconds(fields: &Fields, leaves: &mut impl Iterator<Item = bool>) -> Fields {
    fields.iter().map(|field| field_in_microseconds(field, leaves)).collect()
}

fn field_in_microseconds(field: &FieldRef, leaves: &mut impl Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields_in_microseconds(fields, leaves)),
        DataType::List(element) => DataType::List(field_in_microseconds(element, leaves)),
        DataType::Map(entries, sorted) => DataType::Map(field_in_microseconds(entries, leaves), *sorted),
        leaf => match leaves.next() {
            Some(true) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => leaf.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
