//! A store whose requests fail as planned.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use boathouse_base::Env;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::fault_plan::{Decision, Fault, FaultRule, InjectedFault, Plan, RandomFaults};
use super::{get_operation, put_operation};
use crate::{Operation, Storage};

/// A store whose requests fail as planned, or by chance from a seed. Clones are one store with one plan.
///
/// Every request is checked against the plan: by kind, path and number. What an untouched store would do is left to the
/// wrapped one. See [`Fault`] for what can happen.
///
/// A crash test runs the work once to count its writes, then once for each of them:
/// ```
/// # use std::sync::Arc;
/// # use boathouse_storage::Storage;
/// # use boathouse_storage::testing::{Fault, FaultRule, FaultStore};
/// # async fn work(storage: &Storage) -> Result<(), boathouse_storage::StorageError> { storage.put("a", "1").await }
/// # async fn check(storage: &Storage) { storage.get_optional("a").await.unwrap(); }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let fresh = || FaultStore::new(Arc::clone(Storage::memory().object_store()));
/// let counted = fresh();
/// work(&counted.storage()).await.unwrap();
/// for n in 0..counted.writes() {
///     let store = fresh();
///     store.inject(FaultRule::new(Fault::CrashAfter).on_writes().skip(n));
///     assert!(work(&store.storage()).await.is_err());
///     store.revive();
///     check(&store.storage()).await;
/// }
/// # });
/// ```
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
    env: Option<Env>,
}

/// The source of an error that was planned.
#[derive(Debug, thiserror::Error)]
enum Planned {
    #[error("planned fault: the request fails, nothing was done")]
    FailedBefore,
    #[error("planned fault: the request was done, its reply is lost")]
    FailedAfter,
    #[error("planned fault: the process has crashed")]
    Crashed,
}

impl FaultStore {
    /// Wraps a store. Nothing fails until it is planned.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, plan: Arc::default(), env: None }
    }

    /// The clock on which [`Fault::Delay`] passes; without one a delay passes at once.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Its root as a [`Storage`], for a store that was wrapped by itself. To wrap an existing folder, use
    /// [`Storage::with_object_store`].
    pub fn storage(&self) -> Storage {
        Storage::from_object_store(Arc::new(self.clone()), Path::default(), "memory:///")
    }

    /// Plans a fault. Rules count from now on.
    pub fn inject(&self, rule: FaultRule) {
        self.lock().add(rule);
    }

    /// Lets requests fail by chance. Print the seed: the same seed and requests give the same faults.
    pub fn inject_at_random(&self, seed: u64, faults: RandomFaults) {
        self.lock().set_random(seed, faults);
    }

    /// Forgets every plan; a crash remains.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The process ends now: every later request fails.
    pub fn crash(&self) {
        self.lock().crashed = true;
    }

    /// A new process begins: what was stored is there, plans are forgotten.
    pub fn revive(&self) {
        let mut plan = self.lock();
        plan.crashed = false;
        plan.clear();
    }

    /// Whether it has crashed.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Requests so far, those that failed included; none after a crash.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// Requests so far that change the store ([`Operation::is_write`]).
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// What has happened, in order.
    pub fn injected(&self) -> Vec<InjectedFault> {
        self.lock().injected.clone()
    }

    /// The plan is whole after each critical section.
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, operation: Operation, path: &Path) -> Result<Decision> {
        self.lock().decide(operation, path).ok_or_else(|| generic(Planned::Crashed))
    }

    async fn pause(&self, decision: &Decision) {
        if let (Some(env), false) = (&self.env, decision.delay.is_zero()) {
            env.sleep(decision.delay).await;
        }
    }

    /// One request, as planned. `run` may be called twice.
    async fn request<'a, T>(
        &self,
        operation: Operation,
        path: &Path,
        run: impl Fn() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let decision = self.decide(operation, path)?;
        self.pause(&decision).await;
        match decision.fault {
            None | Some(Fault::Delay(_)) => run().await,
            Some(Fault::LostReply) => {
                // The first reply, good or bad, reaches nobody.
                let _ = run().await;
                run().await
            }
            Some(fault) => {
                if is_done(fault) {
                    run().await?;
                }
                Err(error_of(fault, path))
            }
        }
    }

    /// A listing, as planned: a fault before it gives nothing, one after it breaks off at the end.
    fn listing(
        &self,
        path: Option<&Path>,
        start: impl FnOnce() -> BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = path.cloned().unwrap_or_default();
        let decision = match self.decide(Operation::List, &path) {
            Ok(decision) => decision,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let found = match decision.fault {
            None | Some(Fault::Delay(_) | Fault::LostReply) => start(),
            Some(fault) => {
                let end = stream::iter([Err(error_of(fault, &path))]);
                if is_done(fault) { start().chain(end).boxed() } else { end.boxed() }
            }
        };
        let this = self.clone();
        let pause = stream::once(async move { this.pause(&decision).await });
        pause.filter_map(|()| std::future::ready(None)).chain(found).boxed()
    }
}

fn is_done(fault: Fault) -> bool {
    matches!(fault, Fault::FailAfter | Fault::CrashAfter)
}

fn error_of(fault: Fault, path: &Path) -> object_store::Error {
    match fault {
        Fault::DiskFull => generic(io::Error::from(io::ErrorKind::StorageFull)),
        Fault::Denied => object_store::Error::PermissionDenied {
            path: path.to_string(),
            source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
        },
        Fault::CrashBefore | Fault::CrashAfter => generic(Planned::Crashed),
        Fault::FailAfter | Fault::LostReply => generic(Planned::FailedAfter),
        Fault::FailBefore | Fault::Delay(_) => generic(Planned::FailedBefore),
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "FaultStore", source: Box::new(source) }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let operation = put_operation(&opts);
        self.request(operation, location, || self.inner.put_opts(location, payload.clone(), opts.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let start = || self.inner.put_multipart_opts(location, opts.clone());
        let inner = self.request(Operation::StartUpload, location, start).await?;
        Ok(Box::new(FaultUpload { inner, store: self.clone(), path: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = get_operation(&options);
        self.request(operation, location, || self.inner.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.request(Operation::GetRange, location, || self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    this.request(Operation::Delete, &location, || {
                        let (inner, location) = (Arc::clone(&this.inner), location.clone());
                        Box::pin(async move { inner.delete(&location).await })
                    })
                    .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, || self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, || self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.request(Operation::ListFolder, &path, || self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.request(Operation::Copy, to, || self.inner.copy_opts(from, to, options.clone())).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.request(Operation::Rename, to, || self.inner.rename_opts(from, to, options.clone())).await
    }
}

struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    store: FaultStore,
    path: Path,
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultUpload({})", self.path)
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let decision = match self.store.decide(Operation::UploadPart, &self.path) {
            Ok(decision) => decision,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let sent: UploadPart = match decision.fault {
            None | Some(Fault::Delay(_) | Fault::LostReply) => self.inner.put_part(data),
            Some(fault) => {
                let error = error_of(fault, &self.path);
                if is_done(fault) {
                    let sent = self.inner.put_part(data);
                    Box::pin(async move { sent.await.and(Err(error)) })
                } else {
                    Box::pin(std::future::ready(Err(error)))
                }
            }
        };
        let store = self.store.clone();
        Box::pin(async move {
            store.pause(&decision).await;
            sent.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let decision = self.store.decide(Operation::CompleteUpload, &self.path)?;
        self.store.pause(&decision).await;
        match decision.fault {
            None | Some(Fault::Delay(_)) => self.inner.complete().await,
            Some(fault) => {
                // An upload ends once: a second request to end it finds none.
                if is_done(fault) || fault == Fault::LostReply {
                    self.inner.complete().await?;
                }
                Err(error_of(fault, &self.path))
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        if self.store.is_crashed() {
            return Err(generic(Planned::Crashed));
        }
        self.inner.abort().await
    }
}
