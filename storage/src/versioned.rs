//! A small durable value with compare-and-set.

use boathouse_base::{DomainError, ErrorKind};
use bytes::Bytes;

use crate::error::StorageError;
use crate::storage::Storage;

/// A small value that several writers replace without losing an update.
///
/// ```text
///   NAME/00000000000000000006      older values: a few are kept for readers that are under way
///   NAME/00000000000000000007      the value
///   NAME/00000000000000000008      made by put-if-absent: one writer wins
/// ```
///
/// Works on every store that can put if absent; nothing is ever overwritten in place.
///
/// # Lost replies
/// If a store says that the next version exists, and its content is what was to be written, the write is taken to have
/// succeeded: the reply to it was lost. So a writer that got `Unavailable` may make the same call again. Two writers
/// that write equal bytes both succeed; where only one may win (a lock, a lease), the value names its writer.
///
/// # Why a success is never wrong
/// Old versions are removed, so a writer that was slow enough may create a version that had been there and was trimmed,
/// long after others moved on. Therefore the versions are listed after each put. A version is only trimmed once `keep`
/// newer ones exist: with fewer newer ones than that, ours is there for the first time. With as many, or without the
/// version that was expected, the put is taken back and the answer is `Conflict`.
///
/// # Example
/// ```
/// use boathouse_storage::{Storage, VersionedObject};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let cursor = VersionedObject::new(&Storage::memory(), "cursor");
/// assert_eq!(cursor.read().await?, None);
/// let first = cursor.compare_and_set(None, r#"{"next":"a"}"#).await?;
/// cursor.compare_and_set(Some(first), r#"{"next":"b"}"#).await?;
/// let late = cursor.compare_and_set(Some(first), r#"{"next":"c"}"#).await.unwrap_err();
/// assert!(late.to_string().contains("another writer has made version 1"));
/// # Ok::<_, boathouse_storage::StorageError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct VersionedObject {
    folder: Storage,
    keep: u64,
}

impl VersionedObject {
    /// The value that lives in the folder `name`. Does no I/O.
    pub fn new(storage: &Storage, name: &str) -> Self {
        Self { folder: storage.at(name), keep: 8 }
    }

    /// How many versions stay: 8 unless set, at least 2. More of them forgive slower readers and writers.
    #[must_use]
    pub fn keep_versions(mut self, keep: u64) -> Self {
        self.keep = keep.max(2);
        self
    }

    /// The URL of its folder.
    pub fn url(&self) -> &str {
        self.folder.url()
    }

    /// The newest version and its content; `None` when it was never written.
    ///
    /// **Errors**: `Conflict` when writers were faster than this reader again and again: retry.
    ///
    /// **Cost**: one LIST and one GET.
    pub async fn read(&self) -> Result<Option<(u64, Bytes)>, StorageError> {
        // A reader between its LIST and its GET may find the version trimmed by writers that were faster.
        for _ in 0..self.keep {
            let Some(newest) = self.versions().await?.pop() else { return Ok(None) };
            if let Some(bytes) = self.folder.get_optional(&name(newest)).await? {
                return Ok(Some((newest, bytes)));
            }
        }
        Err(self.conflict(None).await?)
    }

    /// Writes the next version if the newest one is still `expected` (`None`: never written). Gives the new version.
    ///
    /// The future may be dropped: the value is then written or not, as after a lost reply.
    ///
    /// **Errors**: `Conflict` when another writer was faster: read again. After `Unavailable` the value may have been
    /// written.
    ///
    /// **Cost**: one PUT, one LIST, and DELETEs of versions that nobody needs.
    pub async fn compare_and_set(&self, expected: Option<u64>, bytes: impl Into<Bytes>) -> Result<u64, StorageError> {
        let bytes = bytes.into();
        let next = match expected {
            None => 0,
            Some(version) => {
                version.checked_add(1).ok_or_else(|| StorageError::VersionsExhausted { url: self.folder.url().to_owned() })?
            }
        };
        let created = match self.folder.put_if_absent(&name(next), bytes.clone()).await {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.folder.get_optional(&name(next)).await?.as_ref() != Some(&bytes) {
                    return Err(self.conflict(expected).await?);
                }
                false
            }
            Err(error) => return Err(error),
        };
        let versions = self.versions().await?;
        if !succeeded(&versions, next, self.keep) {
            if created {
                self.folder.delete(&name(next)).await?;
            }
            return Err(self.conflict(expected).await?);
        }
        for old in trimmed(&versions, self.keep) {
            // Trimming is tidiness: a failure here must not turn a success into an error.
            if let Err(error) = self.folder.delete(&name(*old)).await {
                tracing::debug!(%error, version = *old, "an old version stays until the next write");
            }
        }
        Ok(next)
    }

    async fn conflict(&self, expected: Option<u64>) -> Result<StorageError, StorageError> {
        let found = self.versions().await?.pop();
        Ok(StorageError::Conflict { url: self.folder.url().to_owned(), expected, found })
    }

    /// Sorted. What is not named like a version is not ours.
    async fn versions(&self) -> Result<Vec<u64>, StorageError> {
        let entries = self.folder.list("").await?;
        Ok(entries.iter().filter_map(|entry| version_of(&entry.path)).collect())
    }
}

/// Whether the put of `ours`, seen in a listing after it, was the first of that version and followed on the one before.
fn succeeded(versions: &[u64], ours: u64, keep: u64) -> bool {
    let Some(newest) = versions.last().copied().filter(|newest| *newest >= ours) else {
        // Ours is gone and nothing newer is there: somebody deleted the folder.
        return false;
    };
    let newer = newest - ours;
    // With one newer version less than `keep`, the version before ours may be trimmed already.
    let follows = ours == 0 || newer + 1 >= keep || versions.contains(&(ours - 1));
    newer < keep && versions.contains(&ours) && follows
}

/// The versions that nobody needs: all but the newest `keep`.
fn trimmed(versions: &[u64], keep: u64) -> impl Iterator<Item = &u64> {
    let newest = versions.last().copied().unwrap_or(0);
    versions.iter().filter(move |version| newest - **version >= keep)
}

fn name(version: u64) -> String {
    format!("{version:020}")
}

fn version_of(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_succeeded_if_it_is_new_and_follows_the_version_before() {
        assert!(succeeded(&[0], 0, 4));
        assert!(succeeded(&[0, 1], 0, 4), "another writer went on from ours before we looked");
        assert!(succeeded(&[5, 6, 7, 8], 7, 4));
        assert!(succeeded(&[7, 8, 9, 10], 7, 4), "three newer ones: the one before is trimmed, ours cannot have been");
        assert!(!succeeded(&[7, 8, 9, 10, 11], 7, 4), "four newer ones: it may have been there and trimmed");
        assert!(!succeeded(&[3, 16, 17, 18, 19], 3, 4), "a late writer");
        assert!(!succeeded(&[8], 8, 4), "the version before was never there");
        assert!(!succeeded(&[], 8, 4));
    }

    #[test]
    fn all_but_the_newest_are_trimmed() {
        assert_eq!(trimmed(&[0, 3, 4, 5, 6, 7], 4).collect::<Vec<_>>(), [&0, &3]);
        assert_eq!(trimmed(&[], 4).count(), 0);
    }

    #[test]
    fn only_twenty_digits_are_a_version() {
        assert_eq!(version_of(&name(7)), Some(7));
        assert_eq!(version_of(&name(u64::MAX)), Some(u64::MAX));
        assert_eq!(version_of("7"), None);
        assert_eq!(version_of("00000000000000000007.tmp"), None);
        assert_eq!(version_of("99999999999999999999"), None, "above u64");
    }
}
