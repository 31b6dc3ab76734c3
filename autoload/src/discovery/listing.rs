//! Discovery by listing.
//!
//! | landing folder | a quick scan | a thorough scan |
//! | --- | --- | --- |
//! | local | reads the directories that changed | reads all directories |
//! | store | LIST of everything | LIST of everything |
//! | store, by marks | LIST after the highest name, and after the highest name of each leaf folder | LIST of everything |
//!
//! Times of directories and marks are trusted from the moment when everything that they stand for is durable in the
//! ledger, and are kept beside it in `listing.json`, so that a process that starts anew need not read everything either.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use boathouse_base::{BoxFuture, Env, Error, Result};
use boathouse_storage::{Storage, StorageError};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::folder::{DirectoryTimes, FolderScan};
use super::{Discovery, Effort, FileFacts, FoundFile, LocalFolder, Sighting};
use crate::error::AutoLoadError;

/// Files in a chunk of a store's listing.
const CHUNK_FILES: usize = 4096;

/// Folders whose own mark is looked after: the last ones by name.
const MARKED_FOLDERS: usize = 64;

/// More directories than this are not remembered over a restart.
const KEPT_DIRECTORIES: usize = 20_000;

const PATH: &str = "listing.json";

/// Lists the landing folder.
#[derive(Debug)]
pub(crate) struct Listing {
    landing: Storage,
    state: Storage,
    local: Option<LocalFolder>,
    by_marks: bool,
    /// Facts belong to a file's identity, so every scan has to bring them.
    facts: bool,
    /// What else decides which files come: a memory that was made under other settings is not trusted.
    settings: String,
    env: Env,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    trusted: Trust,
    /// What the scans since the last settling add.
    fresh: Option<Trust>,
    kept: Trust,
}

impl Memory {
    fn fresh(&mut self) -> &mut Trust {
        let trusted = &self.trusted;
        self.fresh.get_or_insert_with(|| trusted.clone())
    }
}

/// What need not be looked at again.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Trust {
    /// When directories were last modified.
    #[serde(default)]
    directories: DirectoryTimes,
    /// The highest path of each folder that holds files.
    #[serde(default)]
    marks: BTreeMap<String, String>,
    /// When everything was looked at.
    #[serde(default)]
    thorough_us: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    v: u32,
    settings: String,
    trust: Trust,
}

impl Listing {
    /// Over a folder. `settings` stands for everything that decides which of its files are meant.
    pub(crate) async fn open(
        landing: Storage,
        state: Storage,
        by_marks: bool,
        facts: bool,
        settings: String,
        env: Env,
    ) -> Result<Self, AutoLoadError> {
        let local = LocalFolder::behind(&landing);
        let kept = state.get_optional(PATH).await?;
        // It only saves work: one that is not understood is as good as none.
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let trust = kept.filter(|kept| kept.v == 1 && kept.settings == settings).map(|kept| kept.trust).unwrap_or_default();
        let memory = Mutex::new(Memory { trusted: trust.clone(), fresh: None, kept: trust });
        Ok(Self { landing, state, local, by_marks, facts, settings, env, memory })
    }

    /// When everything was last looked at, and all of it was made durable.
    pub(crate) fn thorough_us(&self) -> Option<i64> {
        self.lock().trusted.thorough_us
    }

    /// Forgets what the scans since the last settling saw: it did not become durable.
    pub(crate) fn unsettled(&self) {
        self.lock().fresh = None;
    }

    /// The files of a scan in chunks.
    pub(crate) fn files(&self, effort: Effort) -> BoxStream<'_, Result<Vec<FoundFile>, AutoLoadError>> {
        match &self.local {
            Some(local) => self.local_files(local.clone(), effort).boxed(),
            None => self.store_files(effort).boxed(),
        }
    }

    fn local_files(
        &self,
        local: LocalFolder,
        effort: Effort,
    ) -> impl futures::Stream<Item = Result<Vec<FoundFile>, AutoLoadError>> + Send + '_ {
        let (facts, now_us) = (self.facts, self.env.now_us());
        let known = match effort {
            // A file that is overwritten leaves no trace in its directory.
            Effort::Quick if !facts => self.lock().trusted.directories.clone(),
            _ => DirectoryTimes::new(),
        };
        let (sender, receiver) = mpsc::channel(2);
        let task: JoinHandle<Result<Option<DirectoryTimes>, AutoLoadError>> = tokio::task::spawn_blocking(move || {
            local.scan(&FolderScan { known: &known, facts, now_us }, &mut |chunk| sender.blocking_send(chunk).is_ok())
        });
        futures::stream::unfold(Some((receiver, task)), move |open| async move {
            let (mut receiver, task) = open?;
            if let Some(chunk) = receiver.recv().await {
                return Some((Ok(chunk), Some((receiver, task))));
            }
            match task.await {
                Ok(Ok(Some(directories))) => {
                    self.saw(effort, now_us, |trust| trust.directories = directories);
                    None
                }
                Ok(Ok(None)) => None,
                Ok(Err(error)) => Some((Err(error), None)),
                Err(error) => Some((Err(AutoLoadError::TaskEnded { reason: error.to_string() }), None)),
            }
        })
    }

    fn store_files(&self, effort: Effort) -> impl futures::Stream<Item = Result<Vec<FoundFile>, AutoLoadError>> + Send + '_ {
        let now_us = self.env.now_us();
        let trusted = self.lock().trusted.marks.clone();
        let after = match effort {
            Effort::Quick if self.by_marks && self.thorough_us().is_some() => searches(&trusted),
            _ => vec![(String::new(), None)],
        };
        let whole = after.iter().any(|(_, after)| after.is_none());
        let mut marks = if whole { BTreeMap::new() } else { trusted };
        let pages = futures::stream::iter(after).flat_map(move |(folder, after)| self.list(&folder, after.as_deref()));
        let pages = pages.map(move |page| {
            let page = page?;
            if self.by_marks {
                for file in &page {
                    raise(&mut marks, &file.path);
                }
                // The marks of a page that nobody takes to its end are not trusted: settling needs the whole scan.
                let so_far = marks.clone();
                self.lock().fresh().marks = so_far;
            }
            Ok(page)
        });
        let end = futures::stream::once(async move {
            let effort = if whole { Effort::Thorough } else { effort };
            self.saw(effort, now_us, |_| {});
            Ok(Vec::new())
        });
        pages.chain(end)
    }

    fn list(&self, folder: &str, after: Option<&str>) -> BoxStream<'_, Result<Vec<FoundFile>, AutoLoadError>> {
        let storage = if folder.is_empty() { self.landing.clone() } else { self.landing.at(folder) };
        let prefix = storage.prefix().clone();
        let failed = |source| StorageError::Object { verb: "list", url: self.landing.url().to_owned(), source };
        let listed = match after {
            None => self.landing.object_store().list(Some(&prefix)),
            Some(after) => match self.landing.path_of(after) {
                Ok(offset) => self.landing.object_store().list_with_offset(Some(&prefix), &offset),
                Err(error) => return futures::stream::once(async { Err(error.into()) }).boxed(),
            },
        };
        let root = self.landing.prefix().clone();
        listed
            .map_err(move |source| AutoLoadError::from(failed(source)))
            .try_chunks(CHUNK_FILES)
            .map_err(|error| error.1)
            .map_ok(move |page| page.iter().map(|meta| found(&root, meta)).collect())
            .boxed()
    }

    fn saw(&self, effort: Effort, now_us: i64, change: impl FnOnce(&mut Trust)) {
        let mut memory = self.lock();
        let before = memory.trusted.thorough_us;
        let fresh = memory.fresh();
        change(fresh);
        fresh.thorough_us = match effort {
            Effort::Thorough => Some(now_us),
            // The first quick scan knows no directory: it has looked at everything, too.
            Effort::Quick => fresh.thorough_us.or(before).or(Some(now_us)),
        };
    }

    /// Trusts what the scans saw.
    pub(crate) async fn settle(&self) -> Result<(), AutoLoadError> {
        let trust = {
            let mut memory = self.lock();
            if let Some(fresh) = memory.fresh.take() {
                memory.trusted = fresh;
            }
            if memory.trusted == memory.kept || memory.trusted.directories.len() > KEPT_DIRECTORIES {
                return Ok(());
            }
            memory.trusted.clone()
        };
        let kept = Kept { v: 1, settings: self.settings.clone(), trust: trust.clone() };
        let bytes = serde_json::to_vec(&kept).map_err(|source| AutoLoadError::Encode { what: PATH, source })?;
        self.state.put(PATH, bytes).await?;
        self.lock().kept = trust;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Discovery for Listing {
    fn describe(&self) -> String {
        format!("listing of {}", self.landing.url())
    }

    fn scan(&self, effort: Effort) -> BoxStream<'_, Result<Sighting>> {
        self.files(effort).map_ok(Sighting::Files).map_err(Error::from).boxed()
    }

    fn settled(&self) -> BoxFuture<'_, Result<()>> {
        self.settle().map(|done| done.map_err(Error::from)).boxed()
    }
}

/// What a listing says of an object.
fn found(root: &Path, meta: &ObjectMeta) -> FoundFile {
    let whole = meta.location.as_ref();
    let below = whole.strip_prefix(root.as_ref()).unwrap_or(whole);
    FoundFile { path: below.trim_start_matches('/').to_owned(), facts: Some(facts_of_meta(meta)) }
}

/// The facts that a store gives.
pub(crate) fn facts_of_meta(meta: &ObjectMeta) -> FileFacts {
    FileFacts {
        size_bytes: meta.size,
        modified_us: meta.last_modified.timestamp_micros(),
        etag: meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned()),
    }
}

fn raise(marks: &mut BTreeMap<String, String>, path: &str) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    match marks.get_mut(folder) {
        Some(mark) if mark.as_str() < path => path.clone_into(mark),
        Some(_) => {}
        None => {
            marks.insert(folder.to_owned(), path.to_owned());
        }
    }
}

/// Which folder to list after which path: everything after the highest path, and the last leaf folders after theirs.
fn searches(marks: &BTreeMap<String, String>) -> Vec<(String, Option<String>)> {
    let Some(highest) = marks.values().max() else { return vec![(String::new(), None)] };
    let mut searches = vec![(String::new(), Some(highest.clone()))];
    let is_leaf = |folder: &str| {
        let below = format!("{folder}/");
        !folder.is_empty() && marks.range(below.clone()..).next().is_none_or(|(next, _)| !next.starts_with(&below))
    };
    let leafs = marks.iter().rev().filter(|(folder, mark)| *mark != highest && is_leaf(folder)).take(MARKED_FOLDERS);
    searches.extend(leafs.map(|(folder, mark)| (folder.clone(), Some(mark.clone()))));
    searches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_folders_are_searched_after_their_own_mark() {
        let mut marks = BTreeMap::new();
        for path in ["a.json", "x/1", "x/3", "x/2", "x/y/5", "z/9"] {
            raise(&mut marks, path);
        }
        let searches = searches(&marks);
        let found: Vec<_> = searches.iter().map(|(folder, after)| (folder.as_str(), after.as_deref().unwrap())).collect();
        assert_eq!(found, [("", "z/9"), ("x/y", "x/y/5")]);
    }
}
