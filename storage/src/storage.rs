//! A folder in an object store, and the few verbs that everyone needs.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use boathouse_base::DomainError;
use boathouse_base::ErrorKind;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::StorageError;
use crate::location::Location;
use crate::stores::Stores;

/// A folder in an object store. Cheap to clone.
///
/// Paths are relative to the folder, separated by slashes, and taken literally: a `%` is a percent sign.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Arc<str>,
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Relative to the storage that was asked.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written, in microseconds since the Unix epoch (UTC).
    pub modified_us: i64,
}

impl Storage {
    /// Opens a location on the local disk or in a cloud. A `memory://` location is a new, empty store each time: use
    /// [`Stores`] to meet one again by name. Does no I/O.
    ///
    /// **Errors**: `Invalid` for a URL of an unknown kind; `Unsupported` when its feature is off.
    pub fn open(location: &Location) -> Result<Self, StorageError> {
        Stores::new().open(location)
    }

    /// A new, empty store in memory.
    pub fn memory() -> Self {
        Self::from_object_store(Arc::new(object_store::memory::InMemory::new()), Path::default(), "memory:///")
    }

    /// A folder of any store; `url` is what errors and reports call it.
    pub fn from_object_store(store: Arc<dyn ObjectStore>, prefix: Path, url: impl Into<String>) -> Self {
        let mut url = url.into();
        if !url.ends_with('/') {
            url.push('/');
        }
        Self { store, prefix, url: url.into() }
    }

    /// The same folder, reached through another store: one that counts, or that fails.
    #[must_use]
    pub fn with_object_store(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { store: wrap(Arc::clone(&self.store)), prefix: self.prefix.clone(), url: Arc::clone(&self.url) }
    }

    /// A folder below this one. Slashes separate folders; everything else is taken literally.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        let mut prefix = self.prefix.clone();
        let mut url = self.url.to_string();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            // `Path::parse` takes a name as it is; `join` would encode a percent sign once more.
            prefix = match Path::parse(part) {
                Ok(literal) => prefix.parts().chain(literal.parts()).collect(),
                Err(_) => prefix.join(part),
            };
            url.push_str(&encode(part));
            url.push('/');
        }
        Self { store: Arc::clone(&self.store), prefix, url: url.into() }
    }

    /// The store.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The folder within the store.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The folder as a URL that ends in a slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of an object.
    pub fn url_of(&self, path: &str) -> String {
        let encoded: Vec<String> = path.split('/').map(encode).collect();
        format!("{}{}", self.url, encoded.join("/"))
    }

    /// The path of an object within the store.
    ///
    /// **Errors**: `Invalid` when a part is empty, `.` or `..`.
    pub fn path_of(&self, path: &str) -> Result<Path, StorageError> {
        let relative = Path::parse(path).map_err(|source| StorageError::InvalidPath {
            url: self.url.to_string(),
            path: path.to_owned(),
            source,
        })?;
        Ok(self.prefix.parts().chain(relative.parts()).collect())
    }

    /// Where an object lies on the local disk, if the folder is there. Does not say that it exists.
    pub fn local_path(&self, path: &str) -> Option<PathBuf> {
        let folder = Url::parse(&self.url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
        Some(path.split('/').fold(folder, |folder, part| folder.join(part)))
    }

    /// Reads a whole object.
    ///
    /// **Errors**: `NotFound`. **Cost**: one GET.
    pub async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        let result = async { self.store.get(&self.path_of(path)?).await.map_err(|e| self.failed("read", path, e)) }.await?;
        result.bytes().await.map_err(|source| self.failed("read", path, source))
    }

    /// Reads a whole object, or says that there is none.
    pub async fn get_optional(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        absent_is_none(self.get(path).await)
    }

    /// Reads a part of an object.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.store.get_range(&self.path_of(path)?, range).await.map_err(|source| self.failed("read", path, source))
    }

    /// Writes an object, whole or not at all, over whatever was there.
    pub async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), StorageError> {
        self.put_mode(path, bytes.into(), PutMode::Overwrite).await
    }

    /// Writes an object if there is none.
    ///
    /// **Errors**: `AlreadyExists`. After an error of kind `Unavailable` the object may have been written: a reply
    /// can get lost.
    pub async fn put_if_absent(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), StorageError> {
        self.put_mode(path, bytes.into(), PutMode::Create).await
    }

    async fn put_mode(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), StorageError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&self.path_of(path)?, PutPayload::from(bytes), options).await;
        put.map(drop).map_err(|source| self.failed("write", path, source))
    }

    /// What is known of an object, or that there is none. **Cost**: one HEAD.
    pub async fn head(&self, path: &str) -> Result<Option<ObjectEntry>, StorageError> {
        let head = self.store.head(&self.path_of(path)?).await.map_err(|source| self.failed("look up", path, source));
        Ok(absent_is_none(head)?.map(|meta| self.entry(&meta)))
    }

    /// Deletes an object; one that is not there is deleted already.
    pub async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let deleted = self.store.delete(&self.path_of(path)?).await.map_err(|source| self.failed("delete", path, source));
        absent_is_none(deleted).map(drop)
    }

    /// All objects below a folder, at any depth, sorted by path. A folder that is not there is empty.
    ///
    /// **Cost**: a LIST for every 1,000 objects on cloud stores.
    pub async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StorageError> {
        self.collect(folder, None).await
    }

    /// The objects below a folder whose path sorts after `after` (relative to this storage, as in the result).
    pub async fn list_after(&self, folder: &str, after: &str) -> Result<Vec<ObjectEntry>, StorageError> {
        self.collect(folder, Some(after)).await
    }

    /// The names of the folders that are in this one, sorted. On the local disk also those that hold nothing.
    ///
    /// **Cost**: one LIST with a delimiter.
    pub async fn folders(&self) -> Result<Vec<String>, StorageError> {
        let listed = self.store.list_with_delimiter(Some(&self.prefix)).await;
        let found = match listed {
            Ok(found) => found.common_prefixes,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(source) => return Err(self.failed("list", "", source)),
        };
        let mut names: Vec<String> = found.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    async fn collect(&self, folder: &str, after: Option<&str>) -> Result<Vec<ObjectEntry>, StorageError> {
        let trimmed = folder.trim_matches('/');
        let prefix = if trimmed.is_empty() { self.prefix.clone() } else { self.path_of(trimmed)? };
        let listing = match after {
            None => self.store.list(Some(&prefix)),
            Some(after) => self.store.list_with_offset(Some(&prefix), &self.path_of(after)?),
        };
        let metas: Vec<ObjectMeta> = listing.try_collect().await.map_err(|source| self.failed("list", trimmed, source))?;
        let mut entries: Vec<ObjectEntry> = metas.iter().map(|meta| self.entry(meta)).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn entry(&self, meta: &ObjectMeta) -> ObjectEntry {
        let whole = meta.location.as_ref();
        let below = whole.strip_prefix(self.prefix.as_ref()).unwrap_or(whole);
        ObjectEntry {
            path: below.trim_start_matches('/').to_owned(),
            size_bytes: meta.size,
            modified_us: meta.last_modified.timestamp_micros(),
        }
    }

    fn failed(&self, verb: &'static str, path: &str, source: object_store::Error) -> StorageError {
        StorageError::Object { verb, url: self.url_of(path), source }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.url)
    }
}

fn absent_is_none<T>(result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One part of a path as it stands in a URL.
fn encode(part: &str) -> String {
    const LITERAL: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'`')
        .add(b'{')
        .add(b'}')
        .add(b'%');
    percent_encoding::utf8_percent_encode(part, LITERAL).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn round_trip(storage: Storage) {
        let folder = storage.at("a folder/p=x%20y");
        assert!(folder.list("").await.unwrap().is_empty());
        assert_eq!(folder.get_optional("one").await.unwrap(), None);
        folder.put("two/b", "2").await.unwrap();
        folder.put("one", "1").await.unwrap();
        folder.put_if_absent("zwölf", "12").await.unwrap();
        assert_eq!(folder.put_if_absent("one", "x").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let paths: Vec<String> = folder.list("").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["one", "two/b", "zwölf"]);
        assert_eq!(folder.folders().await.unwrap(), ["two"]);
        assert!(folder.at("none").folders().await.unwrap().is_empty());
        let below: Vec<String> = folder.list("two").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(below, ["two/b"]);
        let after: Vec<String> = folder.list_after("", "one").await.unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(after, ["two/b", "zwölf"]);
        assert_eq!(folder.get("one").await.unwrap().as_ref(), b"1");
        assert_eq!(folder.get_range("zwölf", 1..2).await.unwrap().as_ref(), b"2");
        assert_eq!(folder.head("zwölf").await.unwrap().map(|entry| entry.size_bytes), Some(2));
        folder.delete("one").await.unwrap();
        folder.delete("one").await.unwrap();
        let error = folder.get("one").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("a%20folder/p=x%2520y/one"), "{error}");
        assert_eq!(folder.get("../one").await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn the_verbs_agree_in_memory() {
        round_trip(Storage::memory()).await;
    }

    #[tokio::test]
    async fn the_verbs_agree_on_the_local_disk() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::parse(folder.path().to_str().unwrap()).unwrap().join("not there yet");
        round_trip(Storage::open(&location).unwrap()).await;
        assert!(folder.path().join("not there yet/a folder/p=x%20y/two/b").is_file());
    }
}
