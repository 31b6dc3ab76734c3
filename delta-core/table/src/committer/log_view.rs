//! The log as a catalog sees it: published commits, and those that are decided and not published yet.
//!
//! ```text
//!   asked for                       what is read
//!   _delta_log/8.json               _delta_log/_staged_commits/8.UUID.json, when the catalog names it
//!   _delta_log/9.json               the content that the catalog keeps
//!   _delta_log/10.json              nothing: the catalog's newest version is 9
//!   everything else                 the same
//! ```
//! All that reads the log goes through it, so that listing, opening and following need not know who decides.
//!
//! **Source**: Delta protocol, "Reading Catalog-managed Tables".

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use boathouse_delta_protocol::log_path::{LOG_FOLDER, LogFile, STAGED_FOLDER, commit_name};
use boathouse_storage::{Storage, StorageError};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{CommitContent, DecidedCommits};
use crate::log::list::log_path;

/// Commits that are remembered after the catalog has forgotten them: those who read an older version may still look for them.
const REMEMBERED: u64 = 256;

/// A store in which the log is as a catalog sees it. Clones are one view.
#[derive(Clone)]
pub(crate) struct LogView {
    store: Arc<dyn ObjectStore>,
    /// The log's folder in the store.
    folder: Path,
    /// Content of commits that the catalog keeps itself.
    inline: Arc<InMemory>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    latest: Option<u64>,
    /// Where the commits are that are decided: `None` for those whose content the catalog keeps.
    staged: BTreeMap<u64, Option<Path>>,
}

/// Where a file of the log is read.
enum Place {
    /// Where it says.
    Here,
    Staged(Path),
    Inline,
    /// It is beyond the newest version.
    Nowhere,
}

impl LogView {
    /// A view of the table at `storage`, and the table as seen through it. Nothing is decided as yet.
    pub(crate) fn of(storage: &Storage) -> Option<(Self, Storage)> {
        let view = Self {
            store: Arc::clone(storage.object_store()),
            folder: storage.path_of(LOG_FOLDER).ok()?,
            inline: Arc::new(InMemory::new()),
            known: Arc::default(),
        };
        let seen = view.clone();
        Some((view, storage.with_object_store(|_| Arc::new(seen))))
    }

    /// Takes note of what is decided by now.
    pub(crate) async fn learn(&self, storage: &Storage, decided: DecidedCommits) -> Result<(), StorageError> {
        let mut commits = Vec::with_capacity(decided.commits.len());
        for commit in decided.commits {
            let staged = match commit.content {
                CommitContent::Staged(name) => Some(storage.path_of(&log_path(&format!("{STAGED_FOLDER}/{name}")))?),
                CommitContent::Inline(bytes) => {
                    let path = self.path(commit.version);
                    let put = self.inline.put(&path, PutPayload::from(bytes)).await;
                    put.map_err(|source| StorageError::Object { verb: "keep", url: storage.url_of(path.as_ref()), source })?;
                    None
                }
            };
            commits.push((commit.version, staged));
        }
        let forgotten: Vec<u64> = {
            let mut known = self.known();
            // An answer that was overtaken by a newer one says nothing new.
            if decided.latest_version < known.latest {
                return Ok(());
            }
            known.latest = decided.latest_version;
            // What the catalog still names may stand nowhere else.
            let named = commits.iter().map(|(version, _)| *version).min().unwrap_or(u64::MAX);
            known.staged.extend(commits);
            let first = known.latest.unwrap_or_default().saturating_sub(REMEMBERED).min(named);
            let kept = known.staged.split_off(&first);
            std::mem::replace(&mut known.staged, kept)
                .into_iter()
                .filter(|(_, at)| at.is_none())
                .map(|(version, _)| version)
                .collect()
        };
        for version in forgotten {
            // What is gone from here is published: nothing depends on it.
            let _ = self.inline.delete(&self.path(version)).await;
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, version: u64) -> Path {
        self.folder.clone().join(commit_name(version))
    }

    /// The file of the log at a path; nothing for other objects.
    fn log_file(&self, location: &Path) -> Option<LogFile> {
        let mut rest = location.prefix_match(&self.folder)?;
        let name = rest.next()?;
        if rest.next().is_some() { None } else { LogFile::parse(name.as_ref()) }
    }

    fn place(&self, location: &Path) -> Place {
        let Some(file) = self.log_file(location) else { return Place::Here };
        let known = self.known();
        match (file.version(), known.latest) {
            (Some(version), Some(latest)) if version > latest => Place::Nowhere,
            _ => match file {
                LogFile::Commit { version } => match known.staged.get(&version) {
                    Some(Some(staged)) => Place::Staged(staged.clone()),
                    Some(None) => Place::Inline,
                    None => Place::Here,
                },
                _ => Place::Here,
            },
        }
    }

    /// A listing as the catalog sees it.
    async fn seen(
        self,
        prefix: Option<Path>,
        after: Option<Path>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> Result<Vec<ObjectMeta>> {
        let mut found: BTreeMap<Path, ObjectMeta> = listed.map_ok(|meta| (meta.location.clone(), meta)).try_collect().await?;
        found.retain(|location, _| !matches!(self.place(location), Place::Nowhere));
        let decided: Vec<(u64, Option<Path>)> = self.known().staged.iter().map(|(v, at)| (*v, at.clone())).collect();
        for (version, staged) in decided {
            let location = self.path(version);
            let asked = prefix.as_ref().is_none_or(|prefix| location.prefix_matches(prefix));
            if !asked || after.as_ref().is_some_and(|after| location <= *after) {
                continue;
            }
            let meta = match &staged {
                Some(staged) => found.get(staged).cloned(),
                None => self.inline.head(&location).await.ok(),
            };
            // A staged commit that is not there any more was published before it went.
            if let Some(meta) = meta {
                found.insert(location.clone(), ObjectMeta { location, ..meta });
            }
        }
        Ok(found.into_values().collect())
    }
}

impl fmt::Debug for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogView({}, {} commits to version {:?})", self.store, self.known().staged.len(), self.known().latest)
    }
}

impl fmt::Display for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogView({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for LogView {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = match self.place(location) {
            Place::Here => return self.store.get_opts(location, options).await,
            Place::Nowhere => {
                let source = "the catalog of the table knows no such version".into();
                return Err(Error::NotFound { path: location.to_string(), source });
            }
            Place::Inline => self.inline.get_opts(location, options).await?,
            Place::Staged(staged) => match self.store.get_opts(&staged, options.clone()).await {
                // It was published before it went.
                Err(Error::NotFound { .. }) => return self.store.get_opts(location, options).await,
                found => found?,
            },
        };
        let meta = ObjectMeta { location: location.clone(), ..found.meta };
        Ok(GetResult { meta, ..found })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        match self.place(location) {
            Place::Here => self.store.get_ranges(location, ranges).await,
            _ => futures::stream::iter(ranges.to_vec()).then(|range| self.get_range(location, range)).try_collect().await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let seen = self.clone().seen(prefix.cloned(), None, self.store.list(prefix));
        futures::stream::once(seen).map_ok(|found| futures::stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let seen = self.clone().seen(prefix.cloned(), Some(offset.clone()), self.store.list_with_offset(prefix, offset));
        futures::stream::once(seen).map_ok(|found| futures::stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use boathouse_delta_protocol::log_path::checkpoint_name;

    use super::*;
    use crate::committer::DecidedCommit;
    use crate::log::list::list_log;

    fn inline(versions: Range<u64>) -> Vec<DecidedCommit> {
        let commit = |version: u64| DecidedCommit { version, content: CommitContent::Inline(version.to_string().into()) };
        versions.map(commit).collect()
    }

    async fn versions(log: &Storage, from: Option<u64>) -> Vec<u64> {
        let listed = list_log(log, from).await.unwrap();
        listed.iter().filter_map(|l| if let LogFile::Commit { version } = l.file { Some(version) } else { None }).collect()
    }

    #[tokio::test]
    async fn whatever_the_catalog_names_is_there_and_nothing_beyond() {
        let storage = Storage::memory().at("lake/t");
        let (view, log) = LogView::of(&storage).unwrap();
        for name in [commit_name(0), commit_name(1), commit_name(900), checkpoint_name(900)] {
            storage.put(&log_path(&name), "published").await.unwrap();
        }
        assert_eq!(versions(&log, None).await, [0, 1, 900], "nothing is known yet");
        view.learn(&storage, DecidedCommits { latest_version: Some(599), commits: inline(1..600) }).await.unwrap();
        assert_eq!(versions(&log, None).await, (0..600).collect::<Vec<_>>(), "however many");
        assert_eq!(versions(&log, Some(598)).await, [598, 599]);
        assert_eq!(log.get(&log_path(&commit_name(0))).await.unwrap(), "published");
        assert_eq!(log.get(&log_path(&commit_name(1))).await.unwrap(), "1", "the catalog's goes before");
        assert_eq!(log.get_range(&log_path(&commit_name(599)), 1..3).await.unwrap(), "99");
        assert_eq!(log.head(&log_path(&commit_name(599))).await.unwrap().unwrap().size_bytes, 3);
        assert!(log.head(&log_path(&commit_name(900))).await.unwrap().is_none());
        assert!(log.get_optional(&log_path(&checkpoint_name(900))).await.unwrap().is_none());
        // An old answer that comes late takes nothing away.
        view.learn(&storage, DecidedCommits { latest_version: Some(3), commits: Vec::new() }).await.unwrap();
        assert_eq!(versions(&log, None).await.len(), 600);
        // All of them were published and forgotten: older ones are not kept for ever.
        view.learn(&storage, DecidedCommits { latest_version: Some(599), commits: Vec::new() }).await.unwrap();
        assert_eq!(versions(&log, None).await.first(), Some(&0));
        assert!(versions(&log, Some(2)).await.first().is_some_and(|first| *first > 300));
    }

    #[tokio::test]
    async fn a_staged_commit_that_was_cleaned_away_is_read_where_it_was_published() {
        let storage = Storage::memory();
        let (view, log) = LogView::of(&storage).unwrap();
        let staged = log_path(&format!("{STAGED_FOLDER}/00000000000000000000.x.json"));
        storage.put(&staged, "staged").await.unwrap();
        let commit = DecidedCommit { version: 0, content: CommitContent::Staged("00000000000000000000.x.json".to_owned()) };
        view.learn(&storage, DecidedCommits { latest_version: Some(0), commits: vec![commit] }).await.unwrap();
        let path = log_path(&commit_name(0));
        assert_eq!((versions(&log, None).await, log.get(&path).await.unwrap()), (vec![0], "staged".into()));
        storage.put(&path, "staged").await.unwrap();
        storage.delete(&staged).await.unwrap();
        assert_eq!((versions(&log, None).await, log.get(&path).await.unwrap()), (vec![0], "staged".into()));
    }
}
