//! Manifests that would be wrong.

/// Why manifests of a table would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestProblem {
    /// Readers of Parquet would see deleted rows.
    #[error(
        "rows of the file `{path}` are deleted by a deletion vector, which readers of Parquet do not know; rewrite it first, with REORG TABLE … APPLY (PURGE)"
    )]
    DeletionVector {
        /// The file.
        path: String,
    },
    /// Readers of Parquet would find no column.
    #[error("files know columns by other names than users (`delta.columnMapping.mode`), which readers of Parquet do not know")]
    ColumnMapping,
}
