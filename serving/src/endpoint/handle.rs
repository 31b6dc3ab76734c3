//! The endpoint itself: which version it serves, and how it changes to the next one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use arrow_array::RecordBatch;
use boathouse_base::{Env, ModelCatalog, ModelReference, ResolvedModel, SharedModel};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::builder::EndpointBuilder;
use super::lookup::LookupSpec;
use super::scorer::Scorer;
use crate::error::{Result, ServingError};
use crate::model::ModelLoader;

/// A model behind a name. Cheap to clone; clones are one endpoint. It stops following when the last is dropped.
///
/// # How a version changes
/// ```text
///   catalog ──resolve──▶ version 4 ──load, bind features──▶ swap ──▶ new requests
///                            │ fails                          │
///                            ▼                                ▼
///                 version 3 keeps serving,          requests that began on version 3
///                 `status` shows the error          end on version 3
/// ```
/// A version is loaded completely before it takes requests, and the change is one pointer. No request
/// waits for it, and none is dropped.
#[derive(Debug, Clone)]
pub struct Endpoint(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    name: String,
    source: Source,
    lookups: Vec<LookupSpec>,
    pub(super) env: Env,
    served: RwLock<Option<Scorer>>,
    notes: Mutex<Notes>,
    requests: AtomicU64,
    failures: AtomicU64,
    /// One load at a time; requests do not pass here.
    refreshing: tokio::sync::Mutex<()>,
    pub(super) wake: Arc<Notify>,
    pub(super) follower: OnceLock<AbortHandle>,
}

#[derive(Debug)]
pub(super) enum Source {
    Fixed { name: String, version: u64, model: SharedModel },
    Followed(Followed),
}

#[derive(Debug)]
pub(super) struct Followed {
    pub(super) reference: ModelReference,
    pub(super) catalog: Arc<dyn ModelCatalog>,
    pub(super) loader: Arc<dyn ModelLoader>,
}

#[derive(Debug, Default)]
struct Notes {
    last_error: Option<String>,
    checked_at_us: Option<i64>,
    served_since_us: Option<i64>,
    swaps: u64,
}

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The served version is the one that the reference names.
    Unchanged {
        /// That version.
        version: u64,
    },
    /// Another version serves from now on.
    Swapped {
        /// The version before; `None` for the first.
        from: Option<u64>,
        /// The version now.
        to: u64,
    },
}

/// How an endpoint is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// The endpoint.
    pub endpoint: String,
    /// The reference that it follows; `None` for a fixed model.
    pub follows: Option<String>,
    /// The registered model that serves; `None` before one is loaded.
    pub model: Option<String>,
    /// Its version.
    pub version: Option<u64>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// Since when it serves, in microseconds since the Unix epoch (UTC).
    pub served_since_us: Option<i64>,
    /// When the catalog was last asked, in microseconds since the Unix epoch (UTC).
    pub checked_at_us: Option<i64>,
    /// Why the last refresh failed; `None` when it succeeded. The version above serves on.
    pub last_error: Option<String>,
    /// How often another version took over.
    pub swaps: u64,
    /// Requests that were answered or refused.
    pub requests: u64,
    /// Requests that were refused or failed.
    pub failures: u64,
}

impl Endpoint {
    /// Starts to put an endpoint together.
    pub fn builder(name: impl Into<String>) -> EndpointBuilder {
        EndpointBuilder::new(name.into())
    }

    pub(super) fn new(name: String, source: Source, lookups: Vec<LookupSpec>, env: Env) -> Self {
        Self(Arc::new(Inner {
            name,
            source,
            lookups,
            env,
            served: RwLock::new(None),
            notes: Mutex::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
            wake: Arc::new(Notify::new()),
            follower: OnceLock::new(),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The version that serves now, pinned: for a request, or for a whole table.
    ///
    /// **Errors**: [`ServingError::NotReady`] before a model is loaded.
    pub fn scorer(&self) -> Result<Scorer> {
        self.0.served().ok_or_else(|| ServingError::NotReady {
            endpoint: self.0.name.clone(),
            last_error: self.0.notes().last_error.clone(),
        })
    }

    /// Scores rows with the version that serves now. See [`Scorer::predict`].
    pub async fn predict(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let answer = match self.scorer() {
            Ok(scorer) => scorer.predict(rows).await,
            Err(error) => Err(error),
        };
        self.count(answer.is_ok());
        answer
    }

    /// Asks the catalog, and changes to the version that it names. A failure leaves the served version as it is.
    ///
    /// **Errors**: [`ServingError::Follow`] of the kind of its cause. It also stands in [`status`](Self::status).
    pub async fn refresh(&self) -> Result<Refreshed> {
        self.0.refresh().await
    }

    /// Tells the endpoint that its reference may name another version: it refreshes soon, in the background.
    /// For a registry that calls back. Without a background task ([`Polling::ByHand`](super::Polling)) it
    /// does so in a task of its own.
    pub fn notify(&self) {
        if self.0.follower.get().is_some() {
            self.0.wake.notify_one();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let inner = Arc::clone(&self.0);
            runtime.spawn(async move { inner.refresh_and_log().await });
        }
    }

    /// How it is doing.
    pub fn status(&self) -> EndpointStatus {
        let inner = &self.0;
        let (served, notes) = (inner.served(), inner.notes());
        let resolved = served.as_ref().map(Scorer::resolved);
        EndpointStatus {
            endpoint: inner.name.clone(),
            follows: match &inner.source {
                Source::Fixed { .. } => None,
                Source::Followed(followed) => Some(followed.reference.to_string()),
            },
            model: resolved.map(|r| r.name.clone()),
            version: resolved.map(|r| r.version),
            run_id: resolved.and_then(|r| r.run_id.clone()),
            served_since_us: notes.served_since_us,
            checked_at_us: notes.checked_at_us,
            last_error: notes.last_error.clone(),
            swaps: notes.swaps,
            requests: inner.requests.load(Ordering::Relaxed),
            failures: inner.failures.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count(&self, answered: bool) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        if !answered {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn served(&self) -> Option<Scorer> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn refresh(&self) -> Result<Refreshed> {
        let _one_at_a_time = self.refreshing.lock().await;
        let refreshed = self.load().await;
        let mut notes = self.notes();
        notes.checked_at_us = Some(self.env.now_us());
        match &refreshed {
            Ok(Refreshed::Swapped { from, .. }) => {
                notes.last_error = None;
                notes.served_since_us = notes.checked_at_us;
                notes.swaps += u64::from(from.is_some());
            }
            Ok(Refreshed::Unchanged { .. }) => notes.last_error = None,
            Err(error) => notes.last_error = Some(error.to_string()),
        }
        refreshed
    }

    pub(super) async fn refresh_and_log(&self) {
        match self.refresh().await {
            Ok(Refreshed::Unchanged { .. }) => {}
            Ok(Refreshed::Swapped { from, to }) => tracing::info!(endpoint = self.name, from, to, "serving.swap"),
            Err(error) => tracing::warn!(endpoint = self.name, %error, "serving.refresh: the served version stays"),
        }
    }

    async fn load(&self) -> Result<Refreshed> {
        let before = self.served();
        let (resolved, model) = match &self.source {
            Source::Fixed { version, .. } if before.is_some() => return Ok(Refreshed::Unchanged { version: *version }),
            Source::Fixed { name, version, model } => {
                let resolved = ResolvedModel { name: name.clone(), version: *version, source: String::new(), run_id: None };
                (resolved, Arc::clone(model))
            }
            Source::Followed(followed) => {
                let failed = |source| ServingError::Follow {
                    endpoint: self.name.clone(),
                    reference: followed.reference.to_string(),
                    source,
                };
                let resolved = followed.catalog.resolve(&followed.reference).await.map_err(failed)?;
                if let Some(before) = &before
                    && *before.resolved() == resolved
                {
                    return Ok(Refreshed::Unchanged { version: resolved.version });
                }
                let model = followed.loader.load(&resolved.source).await.map_err(failed)?;
                (resolved, model)
            }
        };
        let (from, to) = (before.map(|b| b.version()), resolved.version);
        let scorer = Scorer::bind(resolved, model, &self.lookups).await?;
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Some(scorer);
        Ok(Refreshed::Swapped { from, to })
    }
}
