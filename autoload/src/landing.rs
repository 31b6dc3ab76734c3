//! The landing folder: facts and bytes of its files.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Storage, StorageError};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, ObjectStore};

use crate::discovery::{FileFacts, LocalFolder, facts_of, facts_of_meta};
use crate::error::AutoLoadError;
use crate::ledger::Landed;
use crate::plan::blocking;

/// Local files that one task reads.
const LOCAL_FILES: usize = 64;

/// What fetching a file gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Its bytes.
    Bytes(Bytes),
    /// It is gone, and the source was told to pass over such files.
    Missing,
    /// It was overwritten since it was discovered: what lies there now is another version, with its own turn.
    Replaced,
}

/// Fetches landed files.
#[derive(Debug)]
pub(crate) struct Landing {
    storage: Storage,
    local: Option<LocalFolder>,
    reading: Reading,
    cache: Mutex<Cache>,
}

/// How files are fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Whether a file that is gone is passed over.
    pub(crate) ignore_missing: bool,
    /// Whether a file has to be the version that was discovered.
    pub(crate) versions: bool,
    /// Files fetched at the same time.
    pub(crate) concurrent: usize,
    /// Bytes kept from planning to reading.
    pub(crate) cache_bytes: usize,
}

/// Bytes that planning fetched and reading will want.
#[derive(Debug)]
struct Cache {
    files: HashMap<Arc<str>, (Bytes, FileFacts)>,
    free_bytes: usize,
}

impl Landing {
    pub(crate) fn new(storage: Storage, reading: Reading) -> Self {
        let cache = Mutex::new(Cache { files: HashMap::new(), free_bytes: reading.cache_bytes });
        Self { local: LocalFolder::behind(&storage), storage, reading, cache }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn url(&self) -> &str {
        self.storage.url()
    }

    pub(crate) fn url_of(&self, path: &str) -> String {
        self.storage.url_of(path)
    }

    /// The facts of files, in their order; `None` for one that is gone.
    ///
    /// **Cost**: a HEAD, or a `stat`, for each.
    pub(crate) async fn facts(&self, paths: Vec<String>) -> Result<Vec<Option<FileFacts>>, AutoLoadError> {
        if let Some(local) = &self.local {
            let local = local.clone();
            return blocking(move || paths.iter().map(|path| local.facts(path)).collect()).await?;
        }
        futures::stream::iter(paths)
            .map(|path| async move {
                let object = self.storage.path_of(&path)?;
                let options = GetOptions { head: true, ..GetOptions::default() };
                match self.storage.object_store().get_opts(&object, options).await {
                    Ok(found) => Ok(Some(facts_of_meta(&found.meta))),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(source) => Err(self.failed("look up", &path, source)),
                }
            })
            .buffered(self.reading.concurrent.max(1))
            .try_collect()
            .await
    }

    /// The bytes of files, in their order, which are remembered for one reading if there is room.
    pub(crate) async fn fetch_and_keep(&self, files: &[Landed]) -> Result<Vec<Fetched>, AutoLoadError> {
        self.fetch_all(files, true).await
    }

    /// The bytes of files, in their order.
    pub(crate) async fn fetch(&self, files: &[Landed]) -> Result<Vec<Fetched>, AutoLoadError> {
        self.fetch_all(files, false).await
    }

    async fn fetch_all(&self, files: &[Landed], keep: bool) -> Result<Vec<Fetched>, AutoLoadError> {
        let mut found: Vec<Option<(Bytes, FileFacts)>> = vec![None; files.len()];
        let mut wanted = Vec::new();
        {
            let mut cache = self.lock();
            for (at, file) in files.iter().enumerate() {
                let cached = if keep { cache.files.get(&file.path).cloned() } else { cache.files.remove(&file.path) };
                match cached {
                    Some(cached) => {
                        if !keep {
                            cache.free_bytes += cached.0.len();
                        }
                        // Another version of it may have been kept.
                        if !self.reading.versions || is_version(file, &cached.1) {
                            found[at] = Some(cached);
                            continue;
                        }
                        wanted.push(at);
                    }
                    None => wanted.push(at),
                }
            }
        }
        let read = self.read(wanted.iter().map(|&at| Arc::clone(&files[at].path)).collect()).await?;
        let mut fetched = vec![Fetched::Missing; files.len()];
        for (at, read) in wanted.into_iter().zip(read) {
            if keep && let Some(read) = &read {
                let mut cache = self.lock();
                let path = Arc::clone(&files[at].path);
                if cache.free_bytes >= read.0.len() && cache.files.insert(path, read.clone()).is_none() {
                    cache.free_bytes -= read.0.len();
                }
            }
            found[at] = read;
        }
        for ((fetched, found), file) in fetched.iter_mut().zip(found).zip(files) {
            *fetched = match found {
                Some((_, facts)) if self.reading.versions && !is_version(file, &facts) => Fetched::Replaced,
                Some((bytes, _)) => Fetched::Bytes(bytes),
                // A version that was replaced may be gone altogether by now.
                None if self.reading.ignore_missing => Fetched::Missing,
                None => return Err(AutoLoadError::MissingFile { url: self.url_of(&file.path) }),
            };
        }
        Ok(fetched)
    }

    /// Bytes and facts of files; `None` for one that is gone.
    async fn read(&self, paths: Vec<Arc<str>>) -> Result<Vec<Option<(Bytes, FileFacts)>>, AutoLoadError> {
        if let Some(local) = &self.local {
            let chunks: Vec<Vec<Arc<str>>> = paths.chunks(LOCAL_FILES).map(<[_]>::to_vec).collect();
            let read: Vec<Vec<_>> = futures::stream::iter(chunks)
                .map(|paths| {
                    let local = local.clone();
                    async move {
                        blocking(move || paths.iter().map(|path| read_local(&local, path)).collect::<Result<Vec<_>, _>>()).await?
                    }
                })
                .buffered(4)
                .try_collect()
                .await?;
            return Ok(read.into_iter().flatten().collect());
        }
        futures::stream::iter(paths)
            .map(|path| async move {
                let object = self.storage.path_of(&path)?;
                match self.storage.object_store().get_opts(&object, GetOptions::default()).await {
                    Ok(found) => {
                        let facts = facts_of_meta(&found.meta);
                        match found.bytes().await {
                            Ok(bytes) => Ok(Some((bytes, facts))),
                            Err(source) => Err(self.failed("read", &path, source)),
                        }
                    }
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(source) => Err(self.failed("read", &path, source)),
                }
            })
            .buffered(self.reading.concurrent.max(1))
            .try_collect()
            .await
    }

    /// The last bytes of a file; `None` when it is gone and such files are passed over.
    pub(crate) async fn fetch_tail(&self, file: &Landed, bytes: u64) -> Result<Option<Bytes>, AutoLoadError> {
        let start = file.size_bytes.saturating_sub(bytes);
        match self.storage.get_range(&file.path, start..file.size_bytes).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => match self.reading.ignore_missing {
                true => Ok(None),
                false => Err(AutoLoadError::MissingFile { url: self.url_of(&file.path) }),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn failed(&self, verb: &'static str, path: &str, source: object_store::Error) -> AutoLoadError {
        AutoLoadError::Storage(StorageError::Object { verb, url: self.url_of(path), source })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these facts are of the version that was discovered.
pub(crate) fn is_version(file: &Landed, facts: &FileFacts) -> bool {
    let same = match (&file.etag, &facts.etag) {
        (Some(found), Some(now)) => **found == **now,
        _ => file.modified_us == facts.modified_us,
    };
    same && file.size_bytes == facts.size_bytes
}

fn read_local(local: &LocalFolder, path: &str) -> Result<Option<(Bytes, FileFacts)>, AutoLoadError> {
    let whole = local.path_of(path);
    let read = || -> io::Result<(Bytes, FileFacts)> {
        let mut file = std::fs::File::open(&whole)?;
        let facts = facts_of(&file.metadata()?);
        let mut bytes = Vec::with_capacity(usize::try_from(facts.size_bytes).unwrap_or(0).min(64 << 20));
        file.read_to_end(&mut bytes)?;
        Ok((bytes.into(), facts))
    };
    match read() {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AutoLoadError::LocalFolder { path: whole, source }),
    }
}
