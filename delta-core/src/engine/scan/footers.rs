//! Footers of Parquet files, read once.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use boathouse_delta_table::{DeltaError, ObjectReader};
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore};
use datafusion::parquet::arrow::ARROW_SCHEMA_META_KEY;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;

/// Bytes of footers that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// Footers of one store, by path and size: a data file of a Delta table never changes.
///
/// Several stores may share the memory, and the bound of it. Two that happen to use the same paths, or to have the same URL, do not meet.
#[derive(Debug, Default)]
pub(crate) struct FooterCache {
    store: u64,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By number of the store, path and size.
    by_file: HashMap<(u64, Path, u64), Arc<ParquetMetaData>>,
    bytes: usize,
}

/// The footers of a session.
#[derive(Debug, Default)]
pub(crate) struct FooterCaches {
    of: Vec<(Weak<dyn ObjectStore>, Arc<FooterCache>)>,
    next: u64,
    kept: Arc<Mutex<Kept>>,
}

impl FooterCaches {
    /// The footers of the files in a store.
    pub(crate) fn of(&mut self, store: &Arc<dyn ObjectStore>) -> Arc<FooterCache> {
        // A store that is gone leaves its number with it: another one at its address in memory is another one.
        self.of.retain(|(known, _)| known.strong_count() > 0);
        let is_it = |known: &Weak<dyn ObjectStore>| known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, store));
        if let Some((_, cache)) = self.of.iter().find(|(known, _)| is_it(known)) {
            return Arc::clone(cache);
        }
        let cache = Arc::new(FooterCache { store: self.next, kept: Arc::clone(&self.kept) });
        self.next += 1;
        self.of.push((Arc::downgrade(store), Arc::clone(&cache)));
        cache
    }
}

impl FooterCache {
    fn get(&self, path: &Path, size_bytes: u64) -> Option<Arc<ParquetMetaData>> {
        self.lock().by_file.get(&(self.store, path.clone(), size_bytes)).map(Arc::clone)
    }

    fn put(&self, path: &Path, size_bytes: u64, footer: &Arc<ParquetMetaData>) {
        let bytes = footer.memory_size();
        let mut kept = self.lock();
        if kept.bytes.saturating_add(bytes) > KEPT_BYTES {
            // Rare, and a footer is cheap to read again: nobody keeps a list of who came when.
            *kept = Kept::default();
        }
        if bytes <= KEPT_BYTES && kept.by_file.insert((self.store, path.clone(), size_bytes), Arc::clone(footer)).is_none() {
            kept.bytes += bytes;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose files these are, for errors.
#[derive(Debug, Clone)]
pub(crate) struct FilesOf {
    pub(crate) url: Arc<str>,
    pub(crate) version: u64,
}

impl FilesOf {
    /// An error of the Parquet reader as one of the table. A file that is not there is missing, even if the log says a
    /// size that no Parquet file has.
    async fn error(&self, object: &ObjectReader, path: &Path, error: ParquetError) -> ParquetError {
        let missing = matches!(&error, ParquetError::External(inner) if is_not_found(inner.as_ref()))
            || (!matches!(error, ParquetError::External(_)) && object.is_missing().await);
        let (url, path) = (self.url.to_string(), path.to_string());
        let error = match error {
            _ if missing => DeltaError::DataFileMissing { url, path, version: self.version },
            ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
                Ok(source) => DeltaError::Store { attempted: "read", url, path, source },
                Err(inner) => DeltaError::CorruptFile { url, path, source: ParquetError::External(inner) },
            },
            source => DeltaError::CorruptFile { url, path, source },
        };
        ParquetError::External(Box::new(boathouse_base::Error::from(error)))
    }
}

fn is_not_found(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(object_store::Error::NotFound { .. }))
}

/// Opens files of one store for the engine's Parquet reader.
#[derive(Clone)]
pub(crate) struct Footers {
    store: Arc<dyn ObjectStore>,
    cache: Arc<FooterCache>,
    of: Option<FilesOf>,
}

impl Footers {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, cache: Arc<FooterCache>, of: Option<FilesOf>) -> Self {
        Self { store, cache, of }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The footer of a file.
    pub(crate) async fn footer(&self, path: &Path, size_bytes: u64) -> ParquetResult<Arc<ParquetMetaData>> {
        if let Some(footer) = self.cache.get(path, size_bytes) {
            return Ok(footer);
        }
        let mut reader = ObjectReader::new(Arc::clone(&self.store), path.clone(), size_bytes);
        let read = reader.get_metadata(Some(&ArrowReaderOptions::new())).await;
        let footer = without_arrow_schema(self.told(&reader, path, read).await?);
        self.cache.put(path, size_bytes, &footer);
        Ok(footer)
    }

    /// A result with the error of the table.
    async fn told<T>(&self, object: &ObjectReader, path: &Path, result: ParquetResult<T>) -> ParquetResult<T> {
        match (result, &self.of) {
            (Err(error), Some(of)) => Err(of.error(object, path, error).await),
            (result, _) => result,
        }
    }
}

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Footers({})", self.store)
    }
}

impl ParquetFileReaderFactory for Footers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let (path, size_bytes) = (file.object_meta.location, file.object_meta.size);
        let metrics = ParquetFileMetrics::new(partition_index, path.as_ref(), metrics);
        let object = ObjectReader::new(Arc::clone(&self.store), path.clone(), size_bytes);
        Ok(Box::new(CountedReader { footers: self.clone(), object, path, size_bytes, metrics }))
    }
}

/// A file that is read, with the bytes counted.
struct CountedReader {
    footers: Footers,
    object: ObjectReader,
    path: Path,
    size_bytes: u64,
    metrics: ParquetFileMetrics,
}

impl CountedReader {
    fn count(&self, range: &Range<u64>) {
        self.metrics.bytes_scanned.add(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX));
    }
}

impl AsyncFileReader for CountedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<bytes::Bytes>> {
        self.count(&range);
        async move {
            let read = self.object.get_bytes(range).await;
            self.footers.told(&self.object, &self.path, read).await
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<bytes::Bytes>>> {
        ranges.iter().for_each(|range| self.count(range));
        async move {
            let read = self.object.get_byte_ranges(ranges).await;
            self.footers.told(&self.object, &self.path, read).await
        }
        .boxed()
    }

    fn get_metadata<'a>(&'a mut self, _: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { self.footers.footer(&self.path, self.size_bytes).await }.boxed()
    }
}

/// The same footer without what the writer said of its own Arrow types: the types of the table count, and those of
/// Parquet.
fn without_arrow_schema(footer: Arc<ParquetMetaData>) -> Arc<ParquetMetaData> {
    let file = footer.file_metadata();
    let Some(pairs) = file.key_value_metadata().filter(|pairs| pairs.iter().any(|pair| pair.key == ARROW_SCHEMA_META_KEY)) else {
        return footer;
    };
    let pairs = pairs.iter().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY).cloned().collect();
    let plain = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let builder = ParquetMetaDataBuilder::new(plain).set_row_groups(footer.row_groups().to_vec());
    let builder = builder.set_column_index(footer.column_index().cloned()).set_offset_index(footer.offset_index().cloned());
    Arc::new(builder.build())
}
