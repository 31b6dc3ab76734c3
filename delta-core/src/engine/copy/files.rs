//! Which files are meant.

use boathouse_base::DomainError;
use boathouse_delta_protocol::action::decode_path;
use boathouse_storage::{Glob, Storage, StorageError};
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectMeta, ObjectStoreExt};
use futures::{StreamExt, TryStreamExt, stream};

use crate::engine::error::{EngineError, Result};

/// Named files that are looked up at once.
const HEADS_AT_ONCE: usize = 8;

/// The value of a folder `column=…` whose rows have none.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// What COPY INTO loads, and how.
///
/// # Example
/// ```
/// use boathouse_delta_core::{CopySettings, CorruptFiles};
///
/// let settings = CopySettings { pattern: Some("day-*.csv".into()), merge_schema: true, ..CopySettings::default() };
/// assert!(!settings.force && settings.corrupt_files == CorruptFiles::Fail);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopySettings {
    /// Only these files, named as they are below the folder. Empty: all.
    pub files: Vec<String>,
    /// Only files that match: see [`Glob`].
    pub pattern: Option<String>,
    /// Only files in folders, or files, that match this on the way down: what a path with `*` in it says behind its last plain folder.
    pub below: Option<String>,
    /// Only files that were last written at this time or later. **Units**: microseconds since the Unix epoch (UTC).
    pub modified_since_us: Option<i64>,
    /// Only files that were last written before this time. **Units**: as above.
    pub modified_before_us: Option<i64>,
    /// Loads files again that were loaded before.
    pub force: bool,
    /// Adds columns that the table does not have.
    pub merge_schema: bool,
    /// Goes by the place of a column and not by its name.
    pub by_position: bool,
    /// The columns that are filled, in the order of those of the files. Empty: all. Needs `by_position`.
    pub columns: Vec<String>,
    /// What becomes of files that cannot be read.
    pub corrupt_files: CorruptFiles,
    /// What becomes of `files` that are not there.
    pub missing_files: MissingFiles,
}

/// What becomes of files that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CorruptFiles {
    /// Nothing is loaded.
    #[default]
    Fail,
    /// They are left out as a whole, and counted. **Cost**: every file is read twice, since a file may break off at its end.
    Skip,
}

/// What becomes of files that are named and not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingFiles {
    /// Nothing is loaded.
    #[default]
    Fail,
    /// They are left out.
    Skip,
}

/// A file that may be loaded.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) url: String,
    pub(crate) meta: ObjectMeta,
    /// Columns that its folders speak of: `day=2026-01-31`.
    pub(crate) folders: Vec<(String, Option<String>)>,
}

impl SourceFile {
    fn new(storage: &Storage, meta: ObjectMeta, path: &str) -> Self {
        let url = if path.is_empty() { storage.url().trim_end_matches('/').to_owned() } else { storage.url_of(path) };
        Self { url, meta, folders: folders(path) }
    }

    /// The application whose `txn` says that it was loaded.
    pub(crate) fn app_id(&self) -> String {
        format!("copyInto:{}", self.url)
    }

    pub(crate) fn modified_us(&self) -> i64 {
        self.meta.last_modified.timestamp_micros()
    }
}

/// The files that are meant, in the order of their paths. Empty ones are left out: they hold no row, and may be about to.
pub(crate) async fn chosen(storage: &Storage, settings: &CopySettings, url: &str) -> Result<Vec<SourceFile>> {
    let glob = |pattern: &Option<String>| {
        let parsed = pattern.as_deref().map(Glob::parse).transpose();
        parsed.map_err(|source| EngineError::Glob { url: url.to_owned(), source: Box::new(source) })
    };
    let (pattern, below) = (glob(&settings.pattern)?, glob(&settings.below)?);
    let found = match settings.files.is_empty() {
        true => all(storage, url).await?,
        false => named(storage, settings, url).await?,
    };
    let top = |path: &str| settings.below.as_deref().is_none_or(|pattern| matches_above(below.as_ref(), pattern, path));
    let since = |file: &SourceFile| settings.modified_since_us.is_none_or(|at| file.modified_us() >= at);
    let before = |file: &SourceFile| settings.modified_before_us.is_none_or(|at| file.modified_us() < at);
    let mut files: Vec<SourceFile> = found
        .into_iter()
        .filter(|(path, meta)| meta.size > 0 && pattern.as_ref().is_none_or(|glob| glob.matches(path)) && top(path))
        .map(|(path, meta)| SourceFile::new(storage, meta, &path))
        .filter(|file| since(file) && before(file))
        .collect();
    files.sort_by(|a, b| a.url.cmp(&b.url));
    files.dedup_by(|a, b| a.url == b.url);
    Ok(files)
}

/// Whether a file, or a folder above it, matches a pattern that begins at the top.
fn matches_above(glob: Option<&Glob>, pattern: &str, path: &str) -> bool {
    let Some(glob) = glob else { return true };
    if !pattern.contains('/') {
        return glob.matches(path.split('/').next().unwrap_or(path));
    }
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end]).any(|above| glob.matches(above))
}

/// All files below the folder that are not hidden, or the file itself when it is one.
async fn all(storage: &Storage, url: &str) -> Result<Vec<(String, ObjectMeta)>> {
    let (store, prefix) = (storage.object_store(), storage.prefix());
    if !prefix.as_ref().is_empty()
        && let Ok(meta) = store.head(prefix).await
    {
        return Ok(vec![(String::new(), meta)]);
    }
    let failed = |source| {
        let source = StorageError::Object { verb: "list", url: storage.url().to_owned(), source };
        EngineError::Source { url: url.to_owned(), source: Box::new(source) }
    };
    let listed: Vec<ObjectMeta> = store.list(Some(prefix)).try_collect().await.map_err(failed)?;
    if listed.is_empty() && !is_folder(storage) {
        return Err(EngineError::NoSource { url: url.to_owned(), path: storage.url().to_owned() });
    }
    let below = |meta: ObjectMeta| (relative(prefix, &meta.location), meta);
    Ok(listed.into_iter().map(below).filter(|(path, _)| !is_hidden(path)).collect())
}

/// An empty folder is there on a local disk, and nowhere else.
fn is_folder(storage: &Storage) -> bool {
    let location = boathouse_storage::Location::parse(storage.url()).ok();
    location.and_then(|location| location.local_path()).is_some_and(|path| path.is_dir())
}

fn relative(prefix: &Path, location: &Path) -> String {
    let whole = location.as_ref();
    whole.strip_prefix(prefix.as_ref()).unwrap_or(whole).trim_start_matches('/').to_owned()
}

/// Names that begin with `_` or `.` are those of programs, unless they name a partition.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || (part.starts_with('_') && !part.contains('=')))
}

async fn named(storage: &Storage, settings: &CopySettings, url: &str) -> Result<Vec<(String, ObjectMeta)>> {
    let failed = |source: StorageError| EngineError::Source { url: url.to_owned(), source: Box::new(source) };
    let look = |path: String| async move {
        let location = storage.path_of(&path).map_err(failed)?;
        match storage.object_store().head(&location).await {
            Ok(meta) => Ok(Some((path, meta))),
            Err(source) => {
                let source = StorageError::Object { verb: "look up", url: storage.url_of(&path), source };
                let is_missing = source.kind() == boathouse_base::ErrorKind::NotFound;
                if is_missing && settings.missing_files == MissingFiles::Skip { Ok(None) } else { Err(failed(source)) }
            }
        }
    };
    let looks = stream::iter(settings.files.clone()).map(look).buffered(HEADS_AT_ONCE);
    looks.try_filter_map(|found| async move { Ok(found) }).try_collect().await
}

/// The columns that the folders of a path speak of.
fn folders(path: &str) -> Vec<(String, Option<String>)> {
    let Some((folders, _)) = path.rsplit_once('/') else { return Vec::new() };
    let decoded = |text: &str| decode_path(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
    let column = |part: &str| {
        let (column, value) = part.split_once('=')?;
        let value = (value != NULL_FOLDER).then(|| decoded(value));
        (!column.is_empty()).then(|| (decoded(column), value))
    };
    folders.split('/').filter_map(column).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn folders_name_columns_and_their_values() {
        let day = |value: &str| ("day".to_owned(), Some(value.to_owned()));
        assert_eq!(folders("day=2026-01-31/a.csv"), [day("2026-01-31")]);
        assert_eq!(folders("x/day=a%20b/hour=__HIVE_DEFAULT_PARTITION__/a"), [day("a b"), ("hour".to_owned(), None)]);
        assert_eq!(folders("day=1.csv"), []);
    }

    #[test]
    fn names_of_programs_are_hidden_and_partitions_are_not() {
        assert!(is_hidden("_SUCCESS") && is_hidden("a/.part.crc") && is_hidden("_delta_log/0.json"));
        assert!(!is_hidden("_day=1/a.json") && !is_hidden("a/b_c.json"));
    }

    #[test]
    fn a_pattern_in_a_path_begins_at_the_top_and_takes_whole_folders() {
        let matches = |pattern: &str, path: &str| matches_above(Some(&Glob::parse(pattern).unwrap()), pattern, path);
        assert!(matches("*.csv", "a.csv") && !matches("*.csv", "x/a.csv"));
        assert!(matches("2026-*", "2026-01/x/a.csv") && !matches("2026-*", "2025-01/2026-01"));
        assert!(matches("*/in", "a/in/b.csv") && !matches("*/in", "a/out/in"));
    }
}
