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

use super::folder::leads_up;
use super::selection::is_hidden_part;
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
    watcher: Mutex<RecommendedWatcher>,
}

#[derive(Debug)]
struct Heard {
    root: PathBuf,
    /// Folders that appeared, and are not watched yet.
    folders: BTreeSet<PathBuf>,
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
            folders: BTreeSet::new(),
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
        if ONE_BY_ONE {
            for folder in folders(root).map_err(|(path, source)| AutoLoadError::LocalFolder { path, source })? {
                watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
            }
        } else {
            watcher.watch(&root, RecursiveMode::Recursive).map_err(failed)?;
        }
        Ok(Self { url, heard, watcher: Mutex::new(watcher) })
    }

    /// Watches the folders that appeared, and those below them. What came into them before is found by the listing that
    /// their appearance asks for.
    fn watch_new_folders(&self) -> Result<(), AutoLoadError> {
        let appeared = std::mem::take(&mut self.lock().folders);
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in appeared.into_iter().filter(|folder| folder.is_dir()) {
            if let Err(source) = watcher.watch(&folder, RecursiveMode::Recursive) {
                // It may be gone again; if not, the listing must go on finding what it holds.
                if folder.is_dir() {
                    self.lock().folders.insert(folder);
                    return Err(AutoLoadError::Watch { url: self.url.clone(), source });
                }
            }
        }
        Ok(())
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
            EventKind::Create(CreateKind::Folder) => self.appeared(event.paths.iter()),
            EventKind::Modify(ModifyKind::Name(_)) => {
                let to = event.paths.last();
                if to.is_some_and(|path| path.is_dir()) {
                    self.appeared(to.into_iter());
                } else {
                    self.name(to.into_iter());
                }
            }
            EventKind::Modify(ModifyKind::Metadata(_)) => {}
            _ if cfg!(target_os = "linux") => {}
            _ => self.name(event.paths.iter()),
        }
    }

    fn appeared<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        self.lost = true;
        if ONE_BY_ONE {
            self.folders.extend(paths.cloned());
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

/// Where a folder is watched with those below it, the watcher looks at every file of them first. Linux watches one folder
/// at a time anyway, so there they are looked up by name alone.
const ONE_BY_ONE: bool = cfg!(target_os = "linux");

/// The folder and all below it that are meant; the error says which cannot be read.
fn folders(root: PathBuf) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let failed = |source| (folder.clone(), source);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && next > 1 => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let hidden = entry.file_name().to_str().is_some_and(is_hidden_part);
            let kind = entry.file_type().map_err(failed)?;
            // A link that leads back is named by the listing.
            let link =
                || kind.is_symlink() && entry.path().is_dir() && !leads_up(&entry.path(), &folder, &found[0]).unwrap_or(true);
            if !hidden && (kind.is_dir() || link()) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
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
        if let Err(error) = self.watch_new_folders() {
            return futures::stream::iter([Err(error.into())]).boxed();
        }
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
