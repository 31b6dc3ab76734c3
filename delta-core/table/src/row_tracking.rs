//! Rows that are known again: ids and versions that stay with a row wherever it is written.
//!
//! ```text
//!   a file that rows were appended to    id = baseRowId of the file + place of the row    version = defaultRowCommitVersion
//!   a file that rows were copied to      id and version stand in two columns of the file; a null there means: as above
//! ```
//! The two columns have names that no column of the table has; only here they can be seen.
//!
//! **Source**: Delta protocol, "Row Tracking".

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use boathouse_delta_protocol::action::Protocol;
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::properties::TableProperties;

/// The columns in which row ids and row commit versions are read. Given by [`Snapshot::row_tracking`](crate::Snapshot::row_tracking),
/// with names that no column of the table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTrackingColumns {
    /// The id of each row, which it keeps for ever (`Int64`, never null).
    pub row_id: String,
    /// The version that added or last changed the row (`Int64`, never null).
    pub commit_version: String,
}

impl RowTrackingColumns {
    /// Those of a table that tracks its rows.
    pub(crate) fn of(protocol: &Protocol, properties: &TableProperties) -> Option<Self> {
        let on = properties.enable_row_tracking && features::has(protocol, "rowTracking");
        let row_id = properties.materialized_row_id_column.clone().filter(|_| on)?;
        Some(Self { row_id, commit_version: properties.materialized_row_commit_version_column.clone()? })
    }

    /// Takes the two columns out of a batch: the rows without them, and where they come from. `None` when the batch does not have them.
    pub fn split(&self, batch: &RecordBatch) -> Option<(RecordBatch, RowOrigins)> {
        let schema = batch.schema_ref();
        let (id, version) = (schema.index_of(&self.row_id).ok()?, schema.index_of(&self.commit_version).ok()?);
        let long = |at: usize| batch.column(at).as_primitive_opt::<Int64Type>().cloned();
        let origins = RowOrigins { ids: long(id)?, commit_versions: long(version)? };
        let rest: Vec<usize> = (0..batch.num_columns()).filter(|at| ![id, version].contains(at)).collect();
        Some((batch.project(&rest).ok()?, origins))
    }
}

/// Where rows that are written again come from: one entry for each row.
///
/// # Example
/// ```
/// use arrow_array::{Array, Int64Array};
/// use boathouse_delta_table::RowOrigins;
///
/// // A row that is copied keeps both. One that is changed keeps its id, and gets the version of the commit.
/// let copied = RowOrigins::copied(Int64Array::from(vec![7]), Int64Array::from(vec![2]));
/// let changed = RowOrigins::changed(Int64Array::from(vec![8]));
/// assert!(copied.commit_versions.is_valid(0) && changed.commit_versions.is_null(0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RowOrigins {
    /// The ids that the rows had; null for a row that is new.
    pub ids: Int64Array,
    /// The versions that they had; null for a row that is new, or that is changed.
    pub commit_versions: Int64Array,
}

impl RowOrigins {
    /// Rows that are written again as they were.
    pub fn copied(ids: Int64Array, commit_versions: Int64Array) -> Self {
        Self { ids, commit_versions }
    }

    /// Rows that are written again with other values.
    pub fn changed(ids: Int64Array) -> Self {
        let commit_versions = Int64Array::new_null(ids.len());
        Self { ids, commit_versions }
    }

    /// The rows that are spoken of; `None` when the two disagree.
    pub(crate) fn rows(&self) -> Option<usize> {
        (self.ids.len() == self.commit_versions.len()).then(|| self.ids.len())
    }
}
