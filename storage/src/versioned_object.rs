//! A small durable value that is changed by compare-and-set.

use bytes::Bytes;

use crate::{Storage, StorageError};

/// Digits of a version number in a name: all of `u64`, so that names sort as numbers do.
const DIGITS: usize = 20;
const SUFFIX: &str = ".json";

/// A small value on an object store, changed by compare-and-set.
///
/// Each version is an object of its own, made by put-if-absent, which every store can do:
///
/// ```text
///   state/00000000000000000006.json     old; removed when enough newer ones are there
///   state/00000000000000000007.json     current: the highest number
/// ```
///
/// Of several writers that read version 7, one creates `…0008.json`; the others get a conflict.
///
/// # Lost replies
/// When the store fails after it did the work, or its client retried by itself, a writer may get `Unavailable`
/// or `Conflict` for a value that it did set. So after either of them: [`read`](Self::read), and look whether
/// the value is yours. If that matters, the value should name its writer (an id from `Env`).
///
/// # Why a success is never wrong
/// Old versions are removed. A writer that was slow enough could therefore create a version that had been
/// there and was trimmed, long after others moved on. So after each put the versions are listed again: a
/// version is only trimmed once `keep` newer ones exist, hence with fewer than `keep` newer ones it cannot have
/// been trimmed before. With `keep` or more the outcome is not known, and the answer is `Conflict`.
///
/// **Cost**: a read is one LIST and one GET; a set is two LISTs and one PUT, plus a DELETE for each version trimmed.
///
/// # Example
/// ```
/// use boathouse_storage::{Storage, VersionedObject};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let cursor = VersionedObject::new(&Storage::in_memory("state"), "cursor")?;
/// assert_eq!(cursor.read().await?, None);
/// let first = cursor.compare_and_set(None, "{}").await?;
/// assert_eq!(first, 0);
/// assert!(cursor.compare_and_set(None, "{}").await.is_err(), "somebody was faster");
/// # Ok::<_, boathouse_storage::StorageError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct VersionedObject {
    folder: Storage,
    keep: usize,
}

/// A version of a [`VersionedObject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// The number: 0 for the first value.
    pub version: u64,
    /// The value.
    pub bytes: Bytes,
}

impl VersionedObject {
    /// The object `name` below `storage`. Does no I/O.
    ///
    /// **Errors**: `Invalid` when the name cannot be one.
    pub fn new(storage: &Storage, name: &str) -> Result<Self, StorageError> {
        Ok(Self { folder: storage.at(name)?, keep: 16 })
    }

    /// How many versions stay: 16 unless set, at least 2. More of them forgive slower writers.
    #[must_use]
    pub fn keep_versions(mut self, keep: usize) -> Self {
        self.keep = keep.max(2);
        self
    }

    /// The URL of its folder.
    pub fn url(&self) -> String {
        self.folder.url()
    }

    /// The current value; `None` when none was ever set.
    pub async fn read(&self) -> Result<Option<VersionedValue>, StorageError> {
        // Between LIST and GET the version may be trimmed, but only because there are newer ones.
        let mut latest = self.latest().await?;
        loop {
            let Some(version) = latest else { return Ok(None) };
            if let Some(bytes) = self.folder.get_optional(file_name(version)).await? {
                return Ok(Some(VersionedValue { version, bytes }));
            }
            let newer = self.latest().await?;
            if newer == latest {
                // Listed, but not there: a store whose listing lags, or somebody who deletes by hand.
                let bytes = self.folder.get(file_name(version)).await?;
                return Ok(Some(VersionedValue { version, bytes }));
            }
            latest = newer;
        }
    }

    /// Sets the value if `expected` is still the current version (`None`: if none was ever set), and gives the new version.
    ///
    /// The future may be dropped: the value is then set or not, as after a lost reply.
    ///
    /// **Errors**: `Conflict` when another writer was faster. See above for what to do then and after `Unavailable`.
    pub async fn compare_and_set(&self, expected: Option<u64>, bytes: impl Into<Bytes>) -> Result<u64, StorageError> {
        let found = self.latest().await?;
        if found != expected {
            return Err(self.conflict(expected, found));
        }
        let version = match expected {
            None => 0,
            Some(version) => {
                version.checked_add(1).ok_or_else(|| StorageError::VersionsExhausted { url: self.folder.url() })?
            }
        };
        match self.folder.put_if_absent(file_name(version), bytes).await {
            Ok(()) => {}
            Err(StorageError::AlreadyExists { .. }) => return Err(self.conflict(expected, self.latest().await?)),
            Err(error) => return Err(error),
        }
        let versions = self.versions().await?;
        let newer = versions.iter().filter(|found| **found > version).count();
        if newer >= self.keep {
            return Err(self.conflict(expected, versions.last().copied()));
        }
        self.trim(&versions).await;
        Ok(version)
    }

    /// Reads, changes and sets, again after each conflict, at most `attempts` times; gives the version and the value set.
    ///
    /// `change` sees the current value. After a lost reply it sees its own result, so it must be able to tell, or be
    /// such that doing it twice does no harm.
    ///
    /// **Errors**: the last `Conflict` when every attempt lost; whatever `change` returns.
    pub async fn update<E: From<StorageError>>(
        &self,
        attempts: usize,
        mut change: impl FnMut(Option<&VersionedValue>) -> Result<Bytes, E>,
    ) -> Result<VersionedValue, E> {
        let mut attempt = 1;
        loop {
            let current = self.read().await?;
            let bytes = change(current.as_ref())?;
            match self.compare_and_set(current.map(|value| value.version), bytes.clone()).await {
                Ok(version) => return Ok(VersionedValue { version, bytes }),
                Err(StorageError::VersionConflict { .. }) if attempt < attempts => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The versions that are there, oldest first.
    ///
    /// Names that are not versions are not ours: they are skipped.
    pub async fn versions(&self) -> Result<Vec<u64>, StorageError> {
        let found = self.folder.list("").await?;
        Ok(found.iter().filter_map(|object| version_of(&object.path)).collect())
    }

    /// The value of one version; `None` when it was trimmed or never set.
    pub async fn read_version(&self, version: u64) -> Result<Option<Bytes>, StorageError> {
        self.folder.get_optional(file_name(version)).await
    }

    async fn latest(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.versions().await?.last().copied())
    }

    /// Removes old versions. The value is set already, so a failure here must not look like a failed set: the next set
    /// trims again.
    async fn trim(&self, versions: &[u64]) {
        for version in versions.iter().rev().skip(self.keep) {
            if let Err(error) = self.folder.delete(file_name(*version)).await {
                tracing::debug!(%error, version, "old version stays until the next set");
            }
        }
    }

    fn conflict(&self, expected: Option<u64>, found: Option<u64>) -> StorageError {
        StorageError::VersionConflict { url: self.folder.url(), expected, found }
    }
}

fn file_name(version: u64) -> String {
    format!("{version:0DIGITS$}{SUFFIX}")
}

fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}
