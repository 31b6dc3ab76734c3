//! A store that counts its requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};

use super::{get_operation, put_operation};
use crate::{Operation, Storage};

/// Requests and bytes that went through a [`CountingStore`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// Requests by kind; kinds without a request are absent.
    pub requests: BTreeMap<Operation, u64>,
    /// Bytes that were asked for by reads.
    pub read_bytes: u64,
    /// Bytes that were handed over by writes.
    pub written_bytes: u64,
}

impl RequestCounts {
    /// Requests of one kind.
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or(0)
    }

    /// Requests that read an object or a part of one.
    pub fn gets(&self) -> u64 {
        self.of(Operation::Get) + self.of(Operation::GetRange)
    }

    /// Requests of all kinds.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// A store that counts its requests: for budgets such as "opening a table costs one LIST and two GETs".
///
/// Counts what a cloud store would be asked: neighbouring ranges are read in one request, a rename is a copy and a
/// delete, and a LIST of more than 1,000 objects still counts as one. Clones count together.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use boathouse_storage::{Operation, Storage};
/// use boathouse_storage::testing::CountingStore;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (storage, counting) = CountingStore::wrap(&Storage::memory());
/// storage.put("a", "123").await.unwrap();
/// counting.reset();
/// storage.get("a").await.unwrap();
/// let counts = counting.counts();
/// assert_eq!((counts.of(Operation::Get), counts.total(), counts.read_bytes), (1, 1, 3));
/// # });
/// ```
#[derive(Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    counts: RequestCounts,
    log: Vec<(Operation, String)>,
}

impl CountingStore {
    /// Wraps a store; everything is 0.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, tally: Arc::default() }
    }

    /// The same folder with its requests counted, and the counter.
    pub fn wrap(storage: &Storage) -> (Storage, Self) {
        let counting = Self::new(Arc::clone(storage.object_store()));
        let store = counting.clone();
        (storage.with_object_store(|_| Arc::new(store)), counting)
    }

    /// Requests and bytes since the last [`reset`](Self::reset).
    pub fn counts(&self) -> RequestCounts {
        self.lock().counts.clone()
    }

    /// Every request since the last reset, in order, with its path from the root of the store: what to print when a
    /// budget does not hold.
    pub fn log(&self) -> Vec<(Operation, String)> {
        self.lock().log.clone()
    }

    /// Everything is 0 again.
    pub fn reset(&self) {
        *self.lock() = Tally::default();
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, operation: Operation, path: &Path) {
        let mut tally = self.lock();
        *tally.counts.requests.entry(operation).or_default() += 1;
        tally.log.push((operation, path.to_string()));
    }

    fn count_written(&self, payload: &PutPayload) {
        self.lock().counts.written_bytes += payload.content_length() as u64;
    }
}

impl fmt::Debug for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.count(put_operation(&opts), location);
        self.count_written(&payload);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.count(Operation::StartUpload, location);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountedUpload { inner, store: self.clone(), path: location.clone() }))
    }

    // `get_ranges` is the trait's own: it merges neighbours and asks `get_opts` for each, as a cloud store does.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = get_operation(&options);
        self.count(operation, location);
        let result = self.inner.get_opts(location, options).await?;
        if operation != Operation::Head {
            self.lock().counts.read_bytes += result.range.end - result.range.start;
        }
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let counted = locations.inspect(move |location| {
            if let Ok(location) = location {
                this.count(Operation::Delete, location);
            }
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(Operation::List, prefix.unwrap_or(&Path::ROOT));
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(Operation::List, prefix.unwrap_or(&Path::ROOT));
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count(Operation::ListFolder, prefix.unwrap_or(&Path::ROOT));
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count(Operation::Copy, to);
        self.inner.copy_opts(from, to, options).await
    }
}

struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    store: CountingStore,
    path: Path,
}

impl fmt::Debug for CountedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountedUpload({})", self.path)
    }
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.store.count(Operation::UploadPart, &self.path);
        self.store.count_written(&data);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.count(Operation::CompleteUpload, &self.path);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
