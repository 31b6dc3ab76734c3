//! Events of the operating system about a local folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boathouse_base::{BoxFuture, Error, Result};
use boathouse_storage::Storage;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Discovery, Effort, FoundFile, LocalFolder, Sighting};
use crate::error::AutoLoadError;

/// More names are not kept: the folder is listed instead.
const MOST_NAMES: usize = 100_000;

/// Hears of files that come into a local folder (inotify on Linux, and what other systems have).
///
/// A file counts when whoever writes it closes it, or when it is moved here; so one that is being written is not read
/// half. Links that are made in the folder are found by the listing. Where a system does not tell about closing, every
/// change counts.
///
/// Nothing is heard of what comes while no process runs, and the system drops events when too many come at once: the
/// folder is listed at the start and after every such loss.
#[derive(Debug)]
pub struct FolderWatch {
    url: String,
    heard: Arc<Mutex<Heard>>,
    /// Watches as long as it lives.
    _watcher: RecommendedWatcher,
}

#[derive(Debug)]
struct Heard {
    root: PathBuf,
    names: BTreeSet<String>,
    /// Names that were given and not settled.
    given: BTreeSet<String>,
    lost: bool,
    given_lost: bool,
}

impl FolderWatch {
    /// Begins to listen.
    ///
    /// **Errors**: `Unsupported` when the storage is no local folder; `Exhausted` or `Unavailable` when the system allows
    /// no more watches.
    pub fn over(landing: &Storage) -> Result<Self> {
        Ok(Self::try_over(landing)?)
    }

    fn try_over(landing: &Storage) -> Result<Self, AutoLoadError> {
        let url = landing.url().to_owned();
        let local = LocalFolder::behind(landing).ok_or_else(|| AutoLoadError::NothingToWatch { url: url.clone() })?;
        let failed = |source| AutoLoadError::Watch { url: url.clone(), source };
        // Events carry the real path.
        let root =
            local.root().canonicalize().map_err(|source| AutoLoadError::LocalFolder { path: local.root().to_owned(), source })?;
        let heard = Heard {
            root: root.clone(),
            names: BTreeSet::new(),
            given: BTreeSet::new(),
            // Nobody listened before.
            lost: true,
            given_lost: false,
        };
        let heard = Arc::new(Mutex::new(heard));
        let ear = Arc::clone(&heard);
        let hear = move |event: notify::Result<notify::Event>| {
            let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) => heard.hear(&event),
                Err(error) => {
                    tracing::warn!(%error, "autoload.watch: the folder is listed instead");
                    heard.lost = true;
                }
            }
        };
        let mut watcher = notify::recommended_watcher(hear).map_err(failed)?;
        watcher.watch(&root, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { url, heard, _watcher: watcher })
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, event: &notify::Event) {
        if event.need_rescan() {
            self.lost = true;
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.name(event.paths.iter()),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) | EventKind::Access(_) => {}
            // A folder that appears may hold files already.
            EventKind::Create(CreateKind::Folder) => self.lost = true,
            EventKind::Modify(ModifyKind::Name(_)) => {
                let to = event.paths.last();
                if to.is_some_and(|path| path.is_dir()) {
                    self.lost = true;
                } else {
                    self.name(to.into_iter());
                }
            }
            EventKind::Modify(ModifyKind::Metadata(_)) => {}
            _ if cfg!(target_os = "linux") => {}
            _ => self.name(event.paths.iter()),
        }
    }

    fn name<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        for path in paths {
            match below(&self.root, path) {
                Some(name) if self.names.len() < MOST_NAMES => {
                    self.names.insert(name);
                }
                _ => self.lost = true,
            }
        }
    }
}

/// The path below the folder, separated by slashes; `None` when it has no such form.
fn below(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.strip_prefix(root).ok()?.iter().map(|part| part.to_str()).collect();
    let name = parts?.join("/");
    (!name.is_empty()).then_some(name)
}

impl Discovery for FolderWatch {
    fn describe(&self) -> String {
        format!("watch of {}", self.url)
    }

    fn scan(&self, _effort: Effort) -> BoxStream<'_, Result<Sighting>> {
        let mut heard = self.lock();
        let names = std::mem::take(&mut heard.names);
        heard.given.extend(names);
        heard.given_lost |= std::mem::take(&mut heard.lost);
        let files = heard.given.iter().map(|path| FoundFile { path: path.clone(), facts: None }).collect();
        let mut sightings = vec![Ok::<_, Error>(Sighting::Files(files))];
        if heard.given_lost {
            sightings.push(Ok(Sighting::Lost));
        }
        futures::stream::iter(sightings).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, Result<()>> {
        let mut heard = self.lock();
        heard.given.clear();
        heard.given_lost = false;
        futures::future::ready(Ok(())).boxed()
    }
}
