//! Where rows that are written again come from, in tables that track their rows.

use boathouse_base::BatchStream;
use boathouse_delta_table::{DataFile, FileRead, RowOrigins, Snapshot};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::{filter, filter_record_batch, nullif};
use datafusion::arrow::datatypes::Int64Type;

use super::cast::loose_rows;
use super::error::{Attempt, Result};

/// Rows, and where they come from when the table wants to know.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) rows: RecordBatch,
    pub(crate) origins: Option<RowOrigins>,
}

/// Reads rows that are going to be written again.
pub(crate) fn read_known(snapshot: &Snapshot, file: &DataFile, read: FileRead) -> Result<BatchStream> {
    Ok(snapshot.read_file(file, FileRead { row_tracking: snapshot.row_tracking().cloned(), ..read })?)
}

impl Known {
    /// A batch of [`read_known`].
    pub(crate) fn of(snapshot: &Snapshot, batch: RecordBatch) -> Self {
        match snapshot.row_tracking().and_then(|columns| columns.split(&batch)) {
            Some((rows, origins)) => Self { rows, origins: Some(origins) },
            None => Self { rows: batch, origins: None },
        }
    }

    /// The same rows as columns of [`loose_schema`](super::cast::loose_schema): the form in which they are changed.
    pub(crate) fn loose(self, attempt: &Attempt) -> Result<Self> {
        Ok(Self { rows: loose_rows(self.rows, attempt)?, origins: self.origins })
    }

    /// The rows for which this is true.
    pub(crate) fn filtered(&self, wanted: &BooleanArray, attempt: &Attempt) -> Result<Self> {
        let some = |array: &Int64Array| -> Result<Int64Array> {
            let kept = filter(array, wanted).map_err(|source| attempt.compute(source))?;
            Ok(kept.as_primitive::<Int64Type>().clone())
        };
        let origins = match &self.origins {
            Some(from) => Some(RowOrigins { ids: some(&from.ids)?, commit_versions: some(&from.commit_versions)? }),
            None => None,
        };
        let rows = filter_record_batch(&self.rows, wanted).map_err(|source| attempt.compute(source))?;
        Ok(Self { rows, origins })
    }
}

/// Where rows come from when these of them were changed.
pub(crate) fn with_changed(origins: &RowOrigins, changed: &BooleanArray, attempt: &Attempt) -> Result<RowOrigins> {
    let versions: ArrayRef = nullif(&origins.commit_versions, changed).map_err(|source| attempt.compute(source))?;
    Ok(RowOrigins { ids: origins.ids.clone(), commit_versions: versions.as_primitive::<Int64Type>().clone() })
}

/// Where these rows come from: each by its place before, and whether it was changed.
pub(crate) fn woven(origins: &RowOrigins, rows: &[(usize, bool)]) -> RowOrigins {
    let version = |(row, changed): &(usize, bool)| {
        (!changed && origins.commit_versions.is_valid(*row)).then(|| origins.commit_versions.value(*row))
    };
    RowOrigins {
        ids: rows.iter().map(|(row, _)| origins.ids.value(*row)).collect(),
        commit_versions: rows.iter().map(version).collect(),
    }
}
