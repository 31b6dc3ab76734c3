//! Objects as the Parquet reader wants them.

use std::ops::Range;
use std::sync::Arc;

use boathouse_delta_protocol::action::decode_path;
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::footer;
use crate::error::{DeltaError, OnTable, Result};

/// Bytes at the end of a file that are fetched at first: most footers fit.
const FOOTER_BYTES: usize = 64 << 10;

/// Files up to this size are fetched as a whole, by the first request: another one costs more than these bytes.
const WHOLE_BYTES: u64 = 1 << 20;

/// A Parquet file in an object store, for the Parquet reader: what its footer points at is checked before it is fetched.
#[derive(Debug, Clone)]
pub struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size_bytes: u64,
    /// All bytes of a small file, once they are here.
    whole: Option<Bytes>,
}

impl ObjectReader {
    /// A file of this size. Does no I/O.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path, size_bytes: u64) -> Self {
        Self { store, path, size_bytes, whole: None }
    }

    /// Whether there is no such object. **Cost**: one HEAD.
    pub async fn is_missing(&self) -> bool {
        matches!(self.store.head(&self.path).await, Err(object_store::Error::NotFound { .. }))
    }

    /// All bytes, where the file is small.
    async fn whole(&mut self) -> ParquetResult<Option<&Bytes>> {
        if self.whole.is_none() && (1..=WHOLE_BYTES).contains(&self.size_bytes) {
            let bytes = self.store.get_range(&self.path, 0..self.size_bytes).await.map_err(external)?;
            if bytes.len() as u64 != self.size_bytes {
                let (found, size) = (bytes.len(), self.size_bytes);
                return Err(ParquetError::General(format!("the file has {found} bytes, and the log says {size}")));
            }
            self.whole = Some(bytes);
        }
        Ok(self.whole.as_ref())
    }

    /// Ranges come from the file itself: one that cannot lie in it is not asked for, because some stores allocate it first.
    fn check(&self, range: &Range<u64>) -> ParquetResult<()> {
        if range.start <= range.end && range.end <= self.size_bytes {
            return Ok(());
        }
        let (Range { start, end }, size) = (range, self.size_bytes);
        Err(ParquetError::General(format!("it points at the bytes from {start} to {end}, and the file has {size}")))
    }
}

/// A range that lies within.
#[expect(clippy::cast_possible_truncation, reason = "below the size of a small file")]
fn part(whole: &Bytes, range: &Range<u64>) -> Bytes {
    whole.slice(range.start as usize..range.end as usize)
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            self.check(&range)?;
            if let Some(whole) = self.whole().await? {
                return Ok(part(whole, &range));
            }
            self.store.get_range(&self.path, range).await.map_err(external)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            ranges.iter().try_for_each(|range| self.check(range))?;
            if let Some(whole) = self.whole().await? {
                return Ok(ranges.iter().map(|range| part(whole, range)).collect());
            }
            self.store.get_ranges(&self.path, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size_bytes;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options).with_prefetch_hint(Some(FOOTER_BYTES));
            let metadata = reader.load_and_finish(self, size).await?;
            footer::check(&metadata, size)?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

/// Where a path of the log is in the store of the table.
pub(crate) fn object_path(storage: &Storage, encoded: &str) -> Result<Path> {
    let path = decode_path(encoded).on(storage.url())?;
    locate(storage, &path)
}

/// Where a decoded path is: relative to the table, or absolute in the same store.
pub(crate) fn locate(storage: &Storage, path: &str) -> Result<Path> {
    let foreign = || DeltaError::ForeignFile { url: storage.url().to_owned(), path: path.to_owned() };
    let Some((scheme, rest)) = path.split_once("://").or_else(|| Some(("file", path.strip_prefix("file:")?))) else {
        return match path.strip_prefix('/') {
            // An absolute path of the local disk, whose root is that of the store.
            Some(rest) if storage.url().starts_with("file:///") => Path::parse(rest).map_err(|_| foreign()),
            Some(_) => Err(foreign()),
            None => Ok(storage.path_of(path)?),
        };
    };
    if let Some(below) = path.strip_prefix(storage.url()) {
        return Ok(storage.path_of(below)?);
    }
    let (table_scheme, table_rest) = storage.url().split_once("://").ok_or_else(foreign)?;
    let same = match scheme {
        "file" => table_scheme == "file",
        _ => {
            scheme.trim_end_matches('a') == table_scheme.trim_end_matches('a')
                && rest.split('/').next() == table_rest.split('/').next()
        }
    };
    if !same {
        return Err(foreign());
    }
    let within = if scheme == "file" { rest.trim_start_matches('/') } else { rest.split_once('/').map_or("", |(_, p)| p) };
    Path::parse(within).map_err(|_| foreign())
}

/// A decoded path relative to the table; nothing when it is not below it.
pub(crate) fn below_table(storage: &Storage, path: &str) -> Option<String> {
    let object = locate(storage, path).ok()?;
    let below = object.as_ref().strip_prefix(storage.prefix().as_ref())?;
    Some(below.trim_start_matches('/').to_owned())
}
