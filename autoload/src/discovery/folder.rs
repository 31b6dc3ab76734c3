//! Local folders: names by reading directories, facts only of files that are new.
//!
//! Reading a directory of a million names costs a fraction of a second; asking for the facts of each file costs several.
//! So a scan gives names alone, unless facts belong to a file's identity. A directory whose own time of modification
//! did not change has no new names, and is not read again; that holds once the time is a while past, because two changes
//! within one tick of the file system's clock look alike.

use std::collections::BTreeMap;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use boathouse_storage::{Location, Storage};

use super::selection::is_hidden_part;
use super::{FileFacts, FoundFile};
use crate::error::AutoLoadError;

/// Files in a chunk.
const CHUNK_FILES: usize = 16 << 10;

/// A directory's time counts when it is so long past.
const SETTLE_US: i64 = 2_000_000;

/// Stands for the time of a directory that changed a moment ago.
const UNSETTLED: i64 = i64::MIN;

/// A landing folder on a local disk.
#[derive(Debug, Clone)]
pub(crate) struct LocalFolder {
    root: PathBuf,
}

/// When the directories of a folder were last modified, in nanoseconds since the Unix epoch. Their paths lie below the
/// folder; its own is empty.
pub(crate) type DirectoryTimes = BTreeMap<String, i64>;

/// One scan.
#[derive(Debug)]
pub(crate) struct FolderScan<'a> {
    /// Directories with these times have nothing new.
    pub(crate) known: &'a DirectoryTimes,
    /// Whether facts are wanted of every file.
    pub(crate) facts: bool,
    pub(crate) now_us: i64,
}

impl LocalFolder {
    /// The local folder behind a storage; `None` when it is none, or when something stands between the two.
    pub(crate) fn behind(storage: &Storage) -> Option<Self> {
        let direct = storage.object_store().to_string().starts_with("LocalFileSystem(");
        let root = direct.then(|| Location::parse(storage.url()).ok()?.local_path()).flatten()?;
        Some(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file lies.
    pub(crate) fn path_of(&self, path: &str) -> PathBuf {
        let mut whole = self.root.clone();
        whole.extend(path.split('/'));
        whole
    }

    /// Gives the names to `give` in chunks, until it says that nobody wants more. Returns the times of directories that
    /// can be trusted later.
    ///
    /// **Cost**: a `stat` for each directory, a read of each one that changed.
    pub(crate) fn scan(
        &self,
        scan: &FolderScan<'_>,
        give: &mut dyn FnMut(Vec<FoundFile>) -> bool,
    ) -> Result<Option<DirectoryTimes>, AutoLoadError> {
        let mut times = DirectoryTimes::new();
        let mut chunk = Vec::new();
        // A directory that did not change is not read, but those below it may have changed.
        let mut open = vec![String::new()];
        open.extend(scan.known.keys().filter(|path| !path.is_empty()).cloned());
        let mut seen = std::collections::HashSet::new();
        while let Some(below) = open.pop() {
            if !seen.insert(below.clone()) {
                continue;
            }
            let directory = self.path_of_folder(&below);
            let failed = |source| AutoLoadError::LocalFolder { path: directory.clone(), source };
            let modified_ns = match fs::metadata(&directory) {
                Ok(metadata) if metadata.is_dir() => modified_ns(&metadata),
                Ok(_) => continue,
                // It was there a moment ago, or in an earlier scan. Of a file that vanishes nothing is said either.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !below.is_empty() => continue,
                Err(error) => return Err(failed(error)),
            };
            let settled = modified_ns / 1000 < scan.now_us.saturating_sub(SETTLE_US);
            // A directory without a time to trust is visited again, even when the one above it did not change.
            times.insert(below.clone(), if settled { modified_ns } else { UNSETTLED });
            if settled && scan.known.get(&below) == Some(&modified_ns) {
                continue;
            }
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    if name.to_string_lossy().starts_with(['.', '_']) {
                        continue;
                    }
                    return Err(AutoLoadError::UnreadableName { folder: directory.clone(), name: name.to_string_lossy().into() });
                };
                if is_hidden_part(name) || is_staged(name) {
                    continue;
                }
                let Some(kind) = kind_of(&entry).map_err(failed)? else { continue };
                let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                if kind.is_dir() {
                    let link = entry.file_type().map_err(failed)?.is_symlink();
                    if link && leads_up(&entry.path(), &directory, &self.root).map_err(failed)? {
                        let source =
                            io::Error::new(io::ErrorKind::InvalidInput, "the link leads to a folder that it is in; remove it");
                        return Err(AutoLoadError::LocalFolder { path: entry.path(), source });
                    }
                    open.push(path);
                    continue;
                }
                if !kind.is_file() {
                    continue;
                }
                let facts = if scan.facts {
                    match fs::metadata(entry.path()) {
                        Ok(metadata) => Some(facts_of(&metadata)),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(error) => return Err(failed(error)),
                    }
                } else {
                    None
                };
                chunk.push(FoundFile { path, facts });
                if chunk.len() == CHUNK_FILES && !give(std::mem::take(&mut chunk)) {
                    return Ok(None);
                }
            }
        }
        if !chunk.is_empty() && !give(chunk) {
            return Ok(None);
        }
        Ok(Some(times))
    }

    fn path_of_folder(&self, below: &str) -> PathBuf {
        if below.is_empty() { self.root.clone() } else { self.path_of(below) }
    }

    /// The facts of a file; `None` when it is gone.
    pub(crate) fn facts(&self, path: &str) -> Result<Option<FileFacts>, AutoLoadError> {
        let whole = self.path_of(path);
        match fs::metadata(&whole) {
            Ok(metadata) if metadata.is_file() => Ok(Some(facts_of(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AutoLoadError::LocalFolder { path: whole, source }),
        }
    }
}

/// Whether a link in this folder leads to a folder on the way to it, from the root on, or above one of them, so that
/// following it had no end.
pub(super) fn leads_up(link: &Path, folder: &Path, root: &Path) -> io::Result<bool> {
    let target = link.canonicalize()?;
    for passed in folder.ancestors().take_while(|passed| passed.starts_with(root)) {
        if passed.canonicalize()?.starts_with(&target) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What lies behind an entry; links are followed, and one that leads nowhere is nothing.
fn kind_of(entry: &fs::DirEntry) -> io::Result<Option<FileType>> {
    let kind = entry.file_type()?;
    if !kind.is_symlink() {
        return Ok(Some(kind));
    }
    match fs::metadata(entry.path()) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name that the local object store gives to a file while it is written: `name#12`.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The facts that a file system gives.
pub(crate) fn facts_of(metadata: &Metadata) -> FileFacts {
    FileFacts { size_bytes: metadata.len(), modified_us: modified_ns(metadata).div_euclid(1000), etag: None }
}

fn modified_ns(metadata: &Metadata) -> i64 {
    let Ok(modified) = metadata.modified() else { return i64::MAX };
    let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(folder: &LocalFolder, known: &DirectoryTimes, now_us: i64) -> (Vec<String>, DirectoryTimes) {
        let mut found = Vec::new();
        let mut give = |chunk: Vec<FoundFile>| {
            found.extend(chunk.into_iter().map(|file| file.path));
            true
        };
        let times = folder.scan(&FolderScan { known, facts: false, now_us }, &mut give).unwrap().unwrap();
        found.sort();
        (found, times)
    }

    #[test]
    fn a_directory_that_did_not_change_is_not_read_and_one_below_it_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = LocalFolder { root: root.path().to_owned() };
        fs::create_dir_all(root.path().join("x/y")).unwrap();
        for file in ["a", "x/b", "x/y/c", ".hidden", "x/_tmp", "z#12"] {
            fs::write(root.path().join(file), "1").unwrap();
        }
        let later = i64::MAX / 2000;
        let (found, times) = scan(&folder, &DirectoryTimes::new(), later);
        assert_eq!(found, ["a", "x/b", "x/y/c"]);
        assert_eq!(times.keys().collect::<Vec<_>>(), ["", "x", "x/y"]);
        assert!(scan(&folder, &times, later).0.is_empty());
        fs::write(root.path().join("x/y/d"), "1").unwrap();
        let past = UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::open(root.path().join("x/y")).unwrap().set_modified(past).unwrap();
        assert_eq!(scan(&folder, &times, later).0, ["x/y/c", "x/y/d"]);
        fs::remove_dir_all(root.path().join("x/y")).unwrap();
        fs::File::open(root.path().join("x")).unwrap().set_modified(past).unwrap();
        assert_eq!(scan(&folder, &times, later).0, ["x/b"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_one_that_leads_back_is_named() {
        let root = tempfile::tempdir().unwrap();
        let beside = tempfile::tempdir().unwrap();
        let folder = LocalFolder { root: root.path().to_owned() };
        fs::write(beside.path().join("a"), "1").unwrap();
        std::os::unix::fs::symlink(beside.path(), root.path().join("x")).unwrap();
        std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("y")).unwrap();
        assert_eq!(scan(&folder, &DirectoryTimes::new(), 0).0, ["x/a"]);
        std::os::unix::fs::symlink(root.path(), beside.path().join("back")).unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("d/up")).unwrap();
        let known = DirectoryTimes::new();
        let error = folder.scan(&FolderScan { known: &known, facts: false, now_us: 0 }, &mut |_| true).unwrap_err();
        assert!(error.to_string().contains("leads to a folder that it is in"), "{error}");
    }

    #[test]
    fn a_directory_that_changed_a_moment_ago_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = LocalFolder { root: root.path().to_owned() };
        fs::write(root.path().join("a"), "1").unwrap();
        let changed_us = modified_ns(&fs::metadata(root.path()).unwrap()) / 1000;
        let (found, times) = scan(&folder, &DirectoryTimes::new(), changed_us + SETTLE_US);
        assert_eq!((found.len(), times[""]), (1, UNSETTLED));
        assert_eq!(scan(&folder, &times, changed_us + SETTLE_US).0, ["a"]);
    }

    #[test]
    fn a_directory_that_changed_a_moment_ago_is_found_below_one_that_did_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = LocalFolder { root: root.path().to_owned() };
        fs::create_dir(root.path().join("x")).unwrap();
        let past = UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::open(root.path()).unwrap().set_modified(past).unwrap();
        let now_us = modified_ns(&fs::metadata(root.path().join("x")).unwrap()) / 1000;
        let (_, times) = scan(&folder, &DirectoryTimes::new(), now_us);
        fs::write(root.path().join("x/a"), "1").unwrap();
        assert_eq!(scan(&folder, &times, now_us).0, ["x/a"]);
    }
}
