//! A store whose requests take time on a clock of the test.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use boathouse_base::Env;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};

use super::get_operation;
use crate::{Operation, Storage};

/// What requests cost in time. The default resembles a cloud store in the same region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyProfile {
    /// Until the first byte of a read, or the answer to a HEAD.
    pub read: Duration,
    /// Until a write is confirmed, its bytes aside.
    pub write: Duration,
    /// For one LIST.
    pub list: Duration,
    /// For one DELETE.
    pub delete: Duration,
    /// How fast bytes move, each request by itself; 0 for at once.
    pub bytes_per_second: u64,
}

impl Default for LatencyProfile {
    fn default() -> Self {
        Self {
            read: Duration::from_millis(20),
            write: Duration::from_millis(40),
            list: Duration::from_millis(60),
            delete: Duration::from_millis(30),
            bytes_per_second: 80_000_000,
        }
    }
}

impl LatencyProfile {
    fn transfer(&self, bytes: u64) -> Duration {
        match u128::from(bytes).saturating_mul(1_000_000).checked_div(u128::from(self.bytes_per_second)) {
            Some(micros) => Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)),
            None => Duration::ZERO,
        }
    }
}

/// A store whose requests take time on the clock of an [`Env`]. Clones are one store.
///
/// With a [`ManualClock`](boathouse_base::ManualClock) and [`run_on_clock`](super::run_on_clock) no real time passes,
/// and the elapsed time says how well requests overlap: ten reads one after the other take ten times as long as ten at
/// once.
///
/// # Example
/// ```
/// use boathouse_base::{Env, ManualClock};
/// use boathouse_storage::Storage;
/// use boathouse_storage::testing::{LatencyProfile, LatencyStore, run_on_clock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::default();
/// let env = Env::new(clock.clone(), 1);
/// let storage = LatencyStore::wrap(&Storage::memory(), env.clone(), LatencyProfile::default());
/// run_on_clock(&clock, storage.put("a", "1")).await.unwrap();
/// assert_eq!(env.monotonic_us() / 1000, 40);
/// # });
/// ```
#[derive(Clone)]
pub struct LatencyStore {
    inner: Arc<dyn ObjectStore>,
    env: Env,
    profile: LatencyProfile,
}

impl LatencyStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn ObjectStore>, env: Env, profile: LatencyProfile) -> Self {
        Self { inner, env, profile }
    }

    /// The same folder with requests that take time.
    pub fn wrap(storage: &Storage, env: Env, profile: LatencyProfile) -> Storage {
        storage.with_object_store(|inner| Arc::new(Self::new(inner, env, profile)))
    }

    fn slow_listing(&self, found: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let pause = self.env.sleep(self.profile.list);
        stream::once(pause).filter_map(|()| std::future::ready(None)).chain(found).boxed()
    }
}

impl fmt::Debug for LatencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LatencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LatencyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for LatencyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.env.sleep(self.profile.write + self.profile.transfer(payload.content_length() as u64)).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.env.sleep(self.profile.write).await;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SlowUpload { inner, store: self.clone() }))
    }

    // `get_ranges` is the trait's own: it merges neighbours and asks `get_opts` for each.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = get_operation(&options);
        self.env.sleep(self.profile.read).await;
        let result = self.inner.get_opts(location, options).await?;
        if operation != Operation::Head {
            self.env.sleep(self.profile.transfer(result.range.end - result.range.start)).await;
        }
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let slow = locations.then(move |location| {
            let pause = this.env.sleep(this.profile.delete);
            async move {
                pause.await;
                location
            }
        });
        self.inner.delete_stream(slow.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.slow_listing(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.slow_listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.env.sleep(self.profile.list).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.env.sleep(self.profile.write).await;
        self.inner.copy_opts(from, to, options).await
    }
}

struct SlowUpload {
    inner: Box<dyn MultipartUpload>,
    store: LatencyStore,
}

impl fmt::Debug for SlowUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlowUpload({:?})", self.inner)
    }
}

#[async_trait]
impl MultipartUpload for SlowUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let profile = &self.store.profile;
        let pause = self.store.env.sleep(profile.write + profile.transfer(data.content_length() as u64));
        let sent = self.inner.put_part(data);
        Box::pin(async move {
            pause.await;
            sent.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.env.sleep(self.store.profile.write).await;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
