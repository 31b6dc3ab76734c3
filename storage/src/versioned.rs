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
/// **Lost replies**: if a store says that the next version exists, and its content is what was to be written, the
/// write is taken to have succeeded: two writers that write the same value agree anyway.
#[derive(Debug, Clone)]
pub struct VersionedObject {
    folder: Storage,
    keep: usize,
}

impl VersionedObject {
    /// The value that lives in the folder `name`.
    pub fn new(storage: &Storage, name: &str) -> Self {
        Self { folder: storage.at(name), keep: 4 }
    }

    /// The newest version and its content; `None` when it was never written.
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
        Err(StorageError::Conflict { url: self.folder.url().to_owned(), expected: None, found: self.versions().await?.pop() })
    }

    /// Writes the next version if the newest one is still `expected` (`None`: never written). Gives the new version.
    ///
    /// **Errors**: `Conflict` when another writer was faster: read again.
    ///
    /// **Cost**: one PUT, one LIST, and DELETEs of versions that nobody needs.
    pub async fn compare_and_set(&self, expected: Option<u64>, bytes: impl Into<Bytes>) -> Result<u64, StorageError> {
        let bytes = bytes.into();
        let next = expected.map_or(0, |version| version + 1);
        match self.folder.put_if_absent(&name(next), bytes.clone()).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.folder.get_optional(&name(next)).await?.as_ref() != Some(&bytes) {
                    return Err(self.conflict(expected).await?);
                }
            }
            Err(error) => return Err(error),
        }
        let versions = self.versions().await?;
        // A put may land on a version that was trimmed long ago: then a newer one is there, and ours must not stay.
        if versions.last().is_some_and(|newest| *newest > next) && versions.first().is_some_and(|oldest| *oldest == next) {
            self.folder.delete(&name(next)).await?;
            return Err(self.conflict(expected).await?);
        }
        for old in versions.iter().filter(|version| **version + self.keep as u64 <= next) {
            // Trimming is tidiness: a failure here must not turn a success into an error.
            let _ = self.folder.delete(&name(*old)).await;
        }
        Ok(next)
    }

    async fn conflict(&self, expected: Option<u64>) -> Result<StorageError, StorageError> {
        let found = self.versions().await?.pop();
        Ok(StorageError::Conflict { url: self.folder.url().to_owned(), expected, found })
    }

    async fn versions(&self) -> Result<Vec<u64>, StorageError> {
        let entries = self.folder.list("").await?;
        Ok(entries.iter().filter_map(|entry| entry.path.parse().ok()).collect())
    }
}

fn name(version: u64) -> String {
    format!("{version:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_version_has_one_writer_and_readers_see_the_newest() {
        let object = VersionedObject::new(&Storage::memory(), "state");
        assert_eq!(object.read().await.unwrap(), None);
        assert_eq!(object.compare_and_set(None, "a").await.unwrap(), 0);
        assert_eq!(object.compare_and_set(Some(0), "b").await.unwrap(), 1);
        assert_eq!(object.compare_and_set(Some(0), "c").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(object.read().await.unwrap(), Some((1, Bytes::from("b"))));
    }

    #[tokio::test]
    async fn a_lost_reply_is_recognised_by_the_content() {
        let object = VersionedObject::new(&Storage::memory(), "state");
        object.compare_and_set(None, "a").await.unwrap();
        assert_eq!(object.compare_and_set(None, "a").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn old_versions_are_trimmed_and_a_writer_far_behind_gets_a_conflict() {
        let storage = Storage::memory();
        let object = VersionedObject::new(&storage, "state");
        let mut version = None;
        for i in 0..20 {
            version = Some(object.compare_and_set(version, format!("{i}")).await.unwrap());
        }
        assert_eq!(storage.list("state").await.unwrap().len(), 4);
        assert_eq!(object.compare_and_set(Some(3), "late").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(object.read().await.unwrap(), Some((19, Bytes::from("19"))));
        assert_eq!(storage.list("state").await.unwrap().len(), 4);
    }
}
