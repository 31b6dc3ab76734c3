//! Folders that cannot become a table.

use boathouse_delta_protocol::schema::SchemaMismatch;

/// Why a folder cannot become a table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertProblem {
    /// There is nothing to convert.
    #[error("it holds no Parquet file; look for a typing error in the location, or create a table")]
    NoFiles,
    /// A file lies in other folders than the others.
    #[error("the folders of `{path}` name the columns [{found}], those of the files before it [{expected}]; move it")]
    OtherFolders {
        /// The file.
        path: String,
        /// The columns that its folders name.
        found: String,
        /// Those of the others.
        expected: String,
    },
    /// Folders name other columns than was declared.
    #[error("it was declared to be partitioned by [{declared}], and its folders name [{found}]; declare these, or none")]
    OtherPartitions {
        /// The columns that were declared.
        declared: String,
        /// Those of the folders.
        found: String,
    },
    /// A file has columns that do not fit those of the others.
    #[error("the columns of `{path}` do not fit those of the files before it: {source}")]
    OtherSchema {
        /// The file.
        path: String,
        /// What does not fit.
        source: Box<SchemaMismatch>,
    },
    /// Files know their columns by the names that users see.
    #[error(
        "its files know no column mapping; convert without, and set `delta.columnMapping.mode` = `name` with ALTER afterwards"
    )]
    ColumnMapping,
}
