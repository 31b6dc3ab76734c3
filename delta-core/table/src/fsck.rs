//! Taking files out of the table that nobody can read any more.

use std::collections::{BTreeMap, HashSet};

use boathouse_delta_protocol::deletion_vector::VectorLocation;
use boathouse_storage::Storage;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::error::{DeltaError, OnTable, Result};
use crate::log_cleanup::refuse_managed;
use crate::scan::{DataFile, below_table, locate};
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Objects that are looked up at once.
const AT_ONCE: usize = 16;

/// Finds files of the newest version that are gone, and takes them out of it. Made by [`DeltaTable::fsck`].
///
/// A data file that is gone makes every read of the table fail. Restoring the object itself is better, where there is a copy: its rows
/// come back. A file whose deletion vector is gone cannot be read either, because nobody knows which of its rows are deleted: it is
/// taken out as well, and stays in the store until a vacuum.
///
/// # Example
/// ```
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = DeltaTable::at(Storage::memory(), system_env());
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
/// # table.append(batch.into()).create_if_absent().run().await?;
/// let lost = table.snapshot().await?.files(None).await?[0].path().into_owned();
/// table.storage().delete(&lost).await?;
/// assert_eq!(table.fsck().dry_run().await?.missing[0].path, lost);
/// assert_eq!(table.fsck().run().await?.version, Some(1));
/// assert_eq!(table.snapshot().await?.row_count().await?, Some(0));
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is repaired before `run`"]
pub struct FsckBuilder {
    table: DeltaTable,
}

/// What is missing, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckReport {
    /// Files of the table that cannot be read, by path.
    pub missing: Vec<MissingFile>,
    /// The version without them; `None` when nothing is missing, or for a dry run.
    pub version: Option<u64>,
}

/// A data file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// The data file: relative to the table, or absolute.
    pub path: String,
    /// Whether the data file is gone.
    pub data_file_missing: bool,
    /// The file of its deletion vector, if that is gone.
    pub missing_vector: Option<String>,
    /// The rows that go with it, where its statistics tell.
    pub rows: Option<u64>,
}

impl FsckBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table }
    }

    /// Says what is missing, and changes nothing.
    ///
    /// **Errors**, **Cost**: as [`run`](Self::run), without the commit.
    pub async fn dry_run(self) -> Result<FsckReport> {
        let snapshot = self.table.snapshot().await?;
        Ok(FsckReport { missing: find(&snapshot).await?.into_iter().map(|(_, missing)| missing).collect(), version: None })
    }

    /// Takes files out of the table that are gone, in one commit. With nothing missing, there is no commit.
    ///
    /// **Errors**: `Invalid` when the table is append-only; `Unsupported` when a catalog manages it; `Conflict` when another writer
    /// changed one of the files meanwhile.
    ///
    /// **Cost**: a LIST of the whole table; a HEAD for each file that it does not show, or that lies elsewhere; one commit.
    pub async fn run(self) -> Result<FsckReport> {
        let snapshot = self.table.snapshot().await?;
        refuse_managed(&snapshot, "repair")?;
        let found = find(&snapshot).await?;
        if found.is_empty() {
            return Ok(FsckReport::default());
        }
        let (files, missing): (Vec<DataFile>, Vec<MissingFile>) = found.into_iter().unzip();
        let report = Transaction::begin(&snapshot)
            .read_files(&files)
            .remove_all(&files)
            .operation("FSCK", [("dryRun", "false".to_owned())])
            .metrics([("numRemovedFiles", files.len() as u64), ("removedFilesSize", DataFile::total_bytes(&files))])
            .commit()
            .await?;
        Ok(FsckReport { missing, version: Some(report.version) })
    }
}

async fn find(snapshot: &Snapshot) -> Result<Vec<(DataFile, MissingFile)>> {
    let storage = snapshot.table().storage();
    let files = snapshot.files(None).await?;
    let listed: HashSet<String> = storage.list("").await?.into_iter().map(|entry| entry.path).collect();
    let mut vectors = Vec::with_capacity(files.len());
    let mut unseen: BTreeMap<String, bool> = BTreeMap::new();
    let mut look = |path: &str| {
        if below_table(storage, path).is_none_or(|below| !listed.contains(&below)) {
            unseen.insert(path.to_owned(), false);
        }
    };
    for file in &files {
        look(&file.path());
        let vector = match file.deletion_vector().map(|vector| vector.location()).transpose().on(snapshot.url())? {
            Some(VectorLocation::InTable(path) | VectorLocation::Absolute(path)) => Some(path),
            Some(VectorLocation::Inline) | None => None,
        };
        vector.iter().for_each(|path| look(path));
        vectors.push(vector);
    }
    // A list may be older than the newest commit; a HEAD is not.
    let asked: Vec<_> = unseen.into_keys().map(|path| exists(storage, path)).collect();
    let gone: HashSet<String> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|(path, exists)| std::future::ready(Ok((!exists).then_some(path))))
        .try_collect()
        .await?;
    let missing = |(file, vector): (DataFile, Option<String>)| {
        let data_file_missing = gone.contains(file.path().as_ref());
        let missing_vector = vector.filter(|path| gone.contains(path));
        (data_file_missing || missing_vector.is_some()).then(|| {
            let found = MissingFile { path: file.path().into_owned(), data_file_missing, missing_vector, rows: file.row_count() };
            (file, found)
        })
    };
    let mut found: Vec<_> = files.into_iter().zip(vectors).filter_map(missing).collect();
    found.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    Ok(found)
}

async fn exists(storage: &Storage, path: String) -> Result<(String, bool)> {
    let object = locate(storage, &path)?;
    match storage.object_store().head(&object).await {
        Ok(_) => Ok((path, true)),
        Err(object_store::Error::NotFound { .. }) => Ok((path, false)),
        Err(source) => {
            let url = storage.url().to_owned();
            Err(DeltaError::Store { attempted: "look up", url, path, source: Box::new(source) })
        }
    }
}
