//! Manifests for readers that know Parquet, and not Delta: lists of the files of a version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use boathouse_delta_protocol::action::decode_path;
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::schema::ColumnMappingMode;

use crate::deletion::delete_all;
use crate::error::{DeltaError, ManifestProblem, OnTable, Result};
use crate::table::DeltaTable;

/// The folder of manifests.
const FOLDER: &str = "_symlink_format_manifest";

/// Writes manifests in the format of Hive's `SymlinkTextInputFormat`. Made by [`DeltaTable::manifest`].
///
/// A table without partitions has `_symlink_format_manifest/manifest`; with partitions, each has a manifest in a folder such as
/// `_symlink_format_manifest/day=2024-01-01/`. A manifest holds the absolute path of each file on a line. Readers see the version at
/// which it was written, partition by partition; it is not kept up to date.
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
/// let report = table.manifest().run().await?;
/// assert_eq!(report.manifests, ["_symlink_format_manifest/manifest"]);
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is written before `run`"]
pub struct ManifestBuilder {
    table: DeltaTable,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReport {
    /// The version whose files they list.
    pub version: u64,
    /// The manifests, relative to the table, sorted.
    pub manifests: Vec<String>,
    /// Files that are listed.
    pub files: u64,
    /// Manifests of partitions that are gone: they were deleted.
    pub removed: Vec<String>,
}

impl ManifestBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self { table }
    }

    /// Writes manifests of the newest version, and deletes those of partitions that it does not have.
    ///
    /// **Errors**: `Invalid` when the table has deletion vectors or column mapping, which such readers do not know: they would see
    /// deleted rows, or no column. After an error of the store some manifests are new and others are not: run it again.
    ///
    /// **Cost**: a put for each partition, a LIST of the manifests.
    pub async fn run(self) -> Result<ManifestReport> {
        let snapshot = self.table.snapshot().await?;
        let (storage, url) = (self.table.storage(), snapshot.url());
        let refuse = |problem| DeltaError::CannotList { url: url.to_owned(), problem };
        if snapshot.column_mapping() != ColumnMappingMode::None {
            return Err(refuse(ManifestProblem::ColumnMapping));
        }
        let files = snapshot.files(None).await?;
        if let Some(file) = files.iter().find(|file| file.deletion_vector().is_some()) {
            return Err(refuse(ManifestProblem::DeletionVector { path: file.path().into_owned() }));
        }
        let folder_url = decode_path(storage.url()).on(url)?;
        let mut manifests: BTreeMap<String, String> = BTreeMap::new();
        if snapshot.partition_columns().is_empty() {
            manifests.insert(format!("{FOLDER}/manifest"), String::new());
        }
        for file in &files {
            let values = file.partition_texts();
            let folder = partition::folder(values.iter().map(|(column, value)| (*column, value.as_deref())));
            let name = if folder.is_empty() { format!("{FOLDER}/manifest") } else { format!("{FOLDER}/{folder}/manifest") };
            let path = file.path();
            let is_absolute = path.starts_with('/') || path.contains("://") || path.starts_with("file:");
            let text = manifests.entry(name).or_default();
            // Writing to a `String` cannot fail.
            let _ = if is_absolute { writeln!(text, "{path}") } else { writeln!(text, "{folder_url}{path}") };
        }
        for (name, text) in &manifests {
            storage.put(name, text.clone()).await?;
        }
        let stale: BTreeSet<String> = storage
            .list(FOLDER)
            .await?
            .into_iter()
            .map(|entry| entry.path)
            .filter(|path| path.ends_with("/manifest") && !manifests.contains_key(path))
            .collect();
        let removed: Vec<String> = stale.into_iter().collect();
        delete_all(storage, &removed).await?;
        Ok(ManifestReport {
            version: snapshot.version(),
            manifests: manifests.into_keys().collect(),
            files: files.len() as u64,
            removed,
        })
    }
}
