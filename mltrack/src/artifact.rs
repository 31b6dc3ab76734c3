//! Artifacts: files that runs leave behind, below one root.
//!
//! ```text
//! artifact root / EXPERIMENT / RUN / artifacts / PATH
//! mlflow-artifacts:/ EXPERIMENT / RUN / artifacts / PATH      what MLflow clients see
//! ```

use std::fmt;
use std::sync::Arc;

use boathouse_storage::{Location, Storage};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::error::{Error, Result};

/// The scheme of locations that the tracker itself serves.
pub(crate) const WIRE_ROOT: &str = "mlflow-artifacts:";
/// Parts of an upload: the least that object stores take.
const PART_BYTES: usize = 8 << 20;

/// A path of an artifact: parts between slashes, none of them empty, `.` or `..`, without control characters.
///
/// # Example
/// ```
/// use boathouse_mltrack::ArtifactPath;
///
/// assert_eq!("plots/roc.svg".parse::<ArtifactPath>()?.as_str(), "plots/roc.svg");
/// assert!("../other_run/model".parse::<ArtifactPath>().is_err());
/// # Ok::<(), boathouse_mltrack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn below(&self, folder: &str) -> Self {
        Self(if folder.is_empty() { self.0.clone() } else { format!("{folder}/{}", self.0) })
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ArtifactPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason| Err(Error::ArtifactPath { path: text.to_owned(), reason });
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return wrong("it is empty");
        }
        if path.starts_with('/') {
            return wrong("it is absolute; give it relative to the folder of the run");
        }
        if path.contains('\\') || path.chars().any(char::is_control) {
            return wrong("it holds a backslash or a control character");
        }
        // A path that is decoded once more on its way must not change its meaning.
        let lower = path.to_ascii_lowercase();
        if ["%2e", "%2f", "%5c", "%00"].iter().any(|code| lower.contains(code)) {
            return wrong("it holds an encoded dot, slash or backslash");
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return wrong("a part of it is empty, `.` or `..`");
        }
        Ok(Self(path.to_owned()))
    }
}

/// A file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactEntry {
    /// Relative to what was listed from: for a run, to its folder.
    pub path: String,
    /// The size of a file in bytes; `None` for a folder.
    pub size_bytes: Option<u64>,
}

impl ArtifactEntry {
    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.size_bytes.is_none()
    }
}

/// The store below the artifact root. Paths are relative to the root.
#[derive(Debug, Clone)]
pub(crate) struct Artifacts {
    storage: Storage,
}

impl Artifacts {
    pub(crate) fn open(root: &str) -> Result<Self> {
        let failed = |e| Error::ArtifactRoot { artifact_root: root.to_owned(), source: Box::new(e) };
        let location: Location = root.parse().map_err(failed)?;
        Ok(Self { storage: Storage::open(&location).map_err(failed)? })
    }

    pub(crate) fn over(storage: Storage) -> Self {
        Self { storage }
    }

    /// The URL of a path, for whoever opens it through storage.
    pub(crate) fn url(&self, path: &str) -> String {
        self.storage.url_of(path)
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        self.storage.object_store()
    }

    pub(crate) async fn put(&self, path: &ArtifactPath, bytes: Bytes) -> Result<()> {
        let failed = |source| Error::ArtifactStore { action: "write the artifact", path: path.to_string(), source };
        self.store().put(&self.at(path.as_str())?, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
        Ok(())
    }

    /// Writes what comes, part by part; it is there when the last part is, or not at all.
    ///
    /// **Cost**: one part in memory.
    pub(crate) async fn put_stream<E: fmt::Display>(
        &self,
        path: &ArtifactPath,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64> {
        let failed = |source| Error::ArtifactStore { action: "write the artifact", path: path.to_string(), source };
        let place = self.at(path.as_str())?;
        let mut body = std::pin::pin!(body);
        let (mut buffer, mut size, mut upload) = (BytesMut::new(), 0_u64, None);
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(reason) => {
                    abort(upload).await;
                    return Err(Error::Upload { path: path.to_string(), reason: reason.to_string() });
                }
            };
            size += chunk.len() as u64;
            buffer.extend_from_slice(&chunk);
            if buffer.len() < PART_BYTES {
                continue;
            }
            let mut parts = match upload.take() {
                Some(parts) => parts,
                None => self.store().put_multipart(&place).await.map_err(failed)?,
            };
            let sent = parts.put_part(PutPayload::from_bytes(buffer.split().freeze())).await;
            upload = Some(parts);
            if let Err(source) = sent {
                abort(upload).await;
                return Err(failed(source));
            }
        }
        let Some(mut parts) = upload else {
            self.put(path, buffer.freeze()).await?;
            return Ok(size);
        };
        if !buffer.is_empty() {
            let sent = parts.put_part(PutPayload::from_bytes(buffer.freeze())).await;
            if let Err(source) = sent {
                abort(Some(parts)).await;
                return Err(failed(source));
            }
        }
        parts.complete().await.map_err(failed)?;
        Ok(size)
    }

    /// The size and the bytes of a file, part by part.
    pub(crate) async fn get_stream(&self, path: &ArtifactPath) -> Result<(u64, BoxStream<'static, object_store::Result<Bytes>>)> {
        match self.store().get(&self.at(path.as_str())?).await {
            Ok(found) => Ok((found.meta.size, found.into_stream())),
            Err(object_store::Error::NotFound { .. }) => Err(Error::NoArtifact { path: path.to_string() }),
            Err(source) => Err(Error::ArtifactStore { action: "read the artifact", path: path.to_string(), source }),
        }
    }

    pub(crate) async fn get(&self, path: &ArtifactPath) -> Result<Bytes> {
        let failed = |source| Error::ArtifactStore { action: "read the artifact", path: path.to_string(), source };
        let (size, stream) = self.get_stream(path).await?;
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut stream = std::pin::pin!(stream);
        while let Some(part) = stream.try_next().await.map_err(failed)? {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    /// The files and folders right below `folder`, sorted, named relative to it. A file or nothing has none.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ArtifactEntry>> {
        let failed = |source| Error::ArtifactStore { action: "list the artifacts of", path: folder.to_owned(), source };
        let found = self.store().list_with_delimiter(Some(&self.at(folder)?)).await.map_err(failed)?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let files =
            found.objects.iter().filter_map(|o| Some(ArtifactEntry { path: name(&o.location)?, size_bytes: Some(o.size) }));
        let folders = found.common_prefixes.iter().filter_map(|p| Some(ArtifactEntry { path: name(p)?, size_bytes: None }));
        let mut entries: Vec<_> = files.chain(folders).collect();
        entries.sort();
        Ok(entries)
    }

    /// Deletes a file, or all files below a folder. Returns how many.
    pub(crate) async fn delete(&self, path: &ArtifactPath) -> Result<usize> {
        let failed = |source| Error::ArtifactStore { action: "delete the artifact", path: path.to_string(), source };
        let place = self.at(path.as_str())?;
        let mut doomed: Vec<Path> = self.store().list(Some(&place)).map_ok(|o| o.location).try_collect().await.map_err(failed)?;
        match self.store().head(&place).await {
            Ok(_) => doomed.push(place),
            Err(object_store::Error::NotFound { .. }) => {}
            // A folder of a file system has no head.
            Err(_) if !doomed.is_empty() => {}
            Err(source) => return Err(failed(source)),
        }
        doomed.sort();
        doomed.dedup();
        for file in &doomed {
            self.store().delete(file).await.map_err(failed)?;
        }
        Ok(doomed.len())
    }

    fn at(&self, path: &str) -> Result<Path> {
        if path.is_empty() {
            return Ok(self.storage.prefix().clone());
        }
        self.storage
            .path_of(path)
            .map_err(|_| Error::ArtifactPath { path: path.to_owned(), reason: "the store cannot hold a file of this name" })
    }
}

async fn abort(upload: Option<Box<dyn object_store::MultipartUpload>>) {
    if let Some(mut upload) = upload
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, "mltrack.abort_upload: parts of a broken upload may be left over");
    }
}

/// The folder of a run, from the location that clients see.
pub(crate) fn run_folder(artifact_uri: &str, action: &'static str) -> Result<String> {
    artifact_uri
        .strip_prefix(WIRE_ROOT)
        .map(|path| path.trim_matches('/').to_owned())
        .ok_or_else(|| Error::ForeignArtifacts { action, location: artifact_uri.to_owned() })
}

impl crate::Tracker {
    /// Writes an artifact of a run.
    ///
    /// **Errors**: `NotFound` without such a run; `Invalid` for a path that leaves its folder, or a deleted run;
    /// `Unsupported` when the experiment keeps its artifacts elsewhere.
    pub async fn log_artifact(&self, run_id: &str, path: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let path: ArtifactPath = path.parse()?;
        let folder = self.writable_folder(run_id, "log an artifact").await?;
        self.inner.artifacts.put(&path.below(&folder), bytes.into()).await
    }

    /// Writes an artifact that comes in pieces: it is there when the last one is, or not at all. Returns its size in bytes.
    ///
    /// **Cost**: 8 MiB in memory, whatever the size.
    ///
    /// **Errors**: as [`log_artifact`](Self::log_artifact); `Invalid` also when the stream ends with an error.
    pub async fn log_artifact_stream<E: fmt::Display>(
        &self,
        run_id: &str,
        path: &str,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64> {
        let path: ArtifactPath = path.parse()?;
        let folder = self.writable_folder(run_id, "log an artifact").await?;
        self.inner.artifacts.put_stream(&path.below(&folder), body).await
    }

    /// Deletes an artifact of a run, or all of a folder. Returns how many files that were.
    ///
    /// **Errors**: as [`log_artifact`](Self::log_artifact).
    pub async fn delete_artifact(&self, run_id: &str, path: &str) -> Result<usize> {
        let path: ArtifactPath = path.parse()?;
        let folder = self.writable_folder(run_id, "delete an artifact").await?;
        self.inner.artifacts.delete(&path.below(&folder)).await
    }

    async fn writable_folder(&self, run_id: &str, action: &'static str) -> Result<String> {
        let info = self.get_run_info(run_id).await?;
        if info.lifecycle == crate::Lifecycle::Deleted {
            return Err(Error::RunDeleted { action, run_id: run_id.to_owned() });
        }
        run_folder(&info.artifact_uri, action)
    }

    /// Reads an artifact of a run.
    ///
    /// **Errors**: `NotFound` without such a run or file; `Invalid` for a path that leaves its folder.
    pub async fn get_artifact(&self, run_id: &str, path: &str) -> Result<Bytes> {
        let path: ArtifactPath = path.parse()?;
        let folder = run_folder(&self.get_run_info(run_id).await?.artifact_uri, "read an artifact")?;
        self.inner.artifacts.get(&path.below(&folder)).await
    }

    /// The files and folders right below `folder` of a run (`""` for all of the top), sorted, named relative to the run.
    ///
    /// **Errors**: `NotFound` without such a run; `Invalid` for a path that leaves its folder.
    pub async fn list_artifacts(&self, run_id: &str, folder: &str) -> Result<Vec<ArtifactEntry>> {
        let root = run_folder(&self.get_run_info(run_id).await?.artifact_uri, "list artifacts")?;
        if folder.is_empty() {
            return self.inner.artifacts.list(&root).await;
        }
        let folder: ArtifactPath = folder.parse()?;
        let mut entries = self.inner.artifacts.list(folder.below(&root).as_str()).await?;
        for entry in &mut entries {
            entry.path = format!("{folder}/{}", entry.path);
        }
        Ok(entries)
    }

    /// The folder of a run's artifacts as a URL that storage can open: what a model version takes as its source.
    ///
    /// **Errors**: `NotFound` without such a run.
    pub async fn artifact_location(&self, run_id: &str) -> Result<String> {
        let uri = self.get_run_info(run_id).await?.artifact_uri;
        Ok(run_folder(&uri, "locate artifacts").map_or(uri, |folder| self.inner.artifacts.url(&folder)))
    }

    /// The URL that storage can open for a location that MLflow clients use (`mlflow-artifacts:/1/…`); any other URL is
    /// returned as it is.
    ///
    /// **Errors**: `Invalid` for a path that leaves the artifact root.
    pub fn resolve_artifact_uri(&self, uri: &str) -> Result<String> {
        match run_folder(uri, "locate artifacts") {
            Ok(path) => Ok(self.inner.artifacts.url(path.parse::<ArtifactPath>()?.as_str())),
            Err(_) => Ok(uri.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../../b",
            "a/./b",
            "a//b",
            "a\\b",
            "%2e%2e/a",
            "a/%2E%2e/b",
            "a%2fb",
            "a\nb",
            "a\0b",
        ] {
            assert!(matches!(bad.parse::<ArtifactPath>(), Err(Error::ArtifactPath { .. })), "{bad}");
        }
        for good in ["a", "a/b.c", "a b/é", "..a", "a..b", "model/", "50%"] {
            assert!(good.parse::<ArtifactPath>().is_ok(), "{good}");
        }
    }
}
