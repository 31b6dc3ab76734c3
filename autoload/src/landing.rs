//! The landing folder: which files lie there, and their bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use boathouse_base::{DomainError, ErrorKind};
use boathouse_storage::{Glob, Storage};
use bytes::Bytes;

use crate::error::AutoLoadError;
use crate::ledger::Landed;

/// Lists and fetches landed files.
#[derive(Debug)]
pub(crate) struct Landing {
    storage: Storage,
    glob: Option<Glob>,
    /// Our own state, when it lies below the landing folder.
    state_url: Option<String>,
    cache: Mutex<Cache>,
}

/// Bytes that planning fetched and reading will want.
#[derive(Debug)]
struct Cache {
    files: HashMap<Arc<str>, Bytes>,
    free_bytes: usize,
}

impl Landing {
    pub(crate) fn new(storage: Storage, state: &Storage, glob: Option<Glob>, cache_bytes: usize) -> Self {
        let below = state.url() != storage.url() && state.url().starts_with(storage.url());
        let state_url = below.then(|| state.url().to_owned());
        let cache = Mutex::new(Cache { files: HashMap::new(), free_bytes: cache_bytes });
        Self { storage, glob, state_url, cache }
    }

    pub(crate) fn url(&self) -> &str {
        self.storage.url()
    }

    pub(crate) fn url_of(&self, path: &str) -> String {
        self.storage.url_of(path)
    }

    /// Every file that is meant, sorted by path.
    ///
    /// **Cost**: one LIST over the whole folder.
    pub(crate) async fn list(&self) -> Result<Vec<Landed>, AutoLoadError> {
        let found = self.storage.list("").await?;
        let mut files: Vec<Landed> = found
            .into_iter()
            .filter(|file| self.is_meant(&file.path))
            .map(|file| Landed { path: file.path.into(), size_bytes: file.size_bytes, modified_us: file.modified_us })
            .collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn is_meant(&self, path: &str) -> bool {
        !is_hidden(path)
            && !self.state_url.as_deref().is_some_and(|state| self.storage.url_of(path).starts_with(state))
            && self.glob.as_ref().is_none_or(|glob| glob.matches(path))
    }

    /// The bytes of a file, and remembers them for one reading if there is room.
    pub(crate) async fn fetch_and_keep(&self, path: &Arc<str>) -> Result<Bytes, AutoLoadError> {
        if let Some(bytes) = self.lock().files.get(path) {
            return Ok(bytes.clone());
        }
        let bytes = self.get(path).await?;
        let mut cache = self.lock();
        if cache.free_bytes >= bytes.len() && cache.files.insert(Arc::clone(path), bytes.clone()).is_none() {
            cache.free_bytes -= bytes.len();
        }
        Ok(bytes)
    }

    /// The bytes of a file.
    pub(crate) async fn fetch(&self, path: &str) -> Result<Bytes, AutoLoadError> {
        {
            let mut cache = self.lock();
            if let Some(bytes) = cache.files.remove(path) {
                cache.free_bytes += bytes.len();
                return Ok(bytes);
            }
        }
        self.get(path).await
    }

    /// The last bytes of a file.
    pub(crate) async fn fetch_tail(&self, file: &Landed, bytes: u64) -> Result<Bytes, AutoLoadError> {
        let start = file.size_bytes.saturating_sub(bytes);
        self.storage.get_range(&file.path, start..file.size_bytes).await.map_err(|error| self.missing(&file.path, error))
    }

    async fn get(&self, path: &str) -> Result<Bytes, AutoLoadError> {
        self.storage.get(path).await.map_err(|error| self.missing(path, error))
    }

    fn missing(&self, path: &str, error: boathouse_storage::StorageError) -> AutoLoadError {
        match error.kind() {
            ErrorKind::NotFound => AutoLoadError::MissingFile { url: self.url_of(path) },
            _ => error.into(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files that are being written, or that belong to somebody's bookkeeping: a part of the path begins with
/// `.` or `_` (a partition folder `_x=1` does not count), or the name ends in `.tmp` or `.crc`.
fn is_hidden(path: &str) -> bool {
    let bookkeeping = |part: &str| part.starts_with('.') || (part.starts_with('_') && !part.contains('='));
    path.split('/').any(bookkeeping) || path.ends_with(".tmp") || path.ends_with(".crc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_being_written_and_bookkeeping_are_hidden() {
        for hidden in [".a.json", "x/_SUCCESS", "_delta_log/0.json", "a.json.tmp", ".a.json.crc", "a.crc", "x/.y/z"] {
            assert!(is_hidden(hidden), "{hidden}");
        }
        for seen in ["a.json", "x/_day=1/a.json", "a_b/c.d"] {
            assert!(!is_hidden(seen), "{seen}");
        }
    }
}
