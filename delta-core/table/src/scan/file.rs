//! A data file of a snapshot.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use boathouse_base::Value;
use boathouse_delta_protocol::action::Add;
use boathouse_delta_protocol::deletion_vector::DeletionVectorDescriptor;
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::stats::{BoundsReader, FileBounds, FileStats};
use boathouse_storage::Storage;
use object_store::path::Path;

use super::object::object_path;
use super::vector::FileVector;
use crate::error::Result;
use crate::layout::Layout;
use crate::snapshot::Snapshot;

/// A data file of a snapshot. Cheap to clone.
#[derive(Clone)]
pub struct DataFile {
    add: Arc<Add>,
    partition_values: Arc<[Value]>,
    layout: Arc<Layout>,
}

impl DataFile {
    pub(crate) fn new(add: Arc<Add>, partition_values: Vec<Value>, layout: Arc<Layout>) -> Self {
        Self { add, partition_values: partition_values.into(), layout }
    }

    /// What the log says of it.
    pub fn add(&self) -> &Arc<Add> {
        &self.add
    }

    /// The path without percent-encoding: relative to the table, or absolute.
    pub fn path(&self) -> Cow<'_, str> {
        self.add.decoded_path().unwrap_or(Cow::Borrowed(&self.add.path))
    }

    /// The path within the object store of the table.
    ///
    /// **Errors**: `Unsupported` when it lies in another store.
    pub fn object_path(&self, storage: &Storage) -> Result<Path> {
        object_path(storage, &self.add.path)
    }

    /// Its deletion vector, and where that is. Does no I/O.
    ///
    /// **Errors**: `Corrupt` when its name is none; `Unsupported` when it lies in another store.
    pub fn vector(&self, snapshot: &Snapshot) -> Result<Option<FileVector>> {
        let Some(descriptor) = self.deletion_vector() else { return Ok(None) };
        FileVector::new(snapshot.table().storage(), snapshot.version(), &self.path(), descriptor).map(Some)
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.add.size
    }

    /// The values of the partition columns, in order.
    pub fn partition_values(&self) -> &[Value] {
        &self.partition_values
    }

    /// The value of a partition column; `None` for other columns.
    pub fn partition_value(&self, column: &str) -> Option<&Value> {
        self.layout.partition_at(column).and_then(|at| self.partition_values.get(at))
    }

    /// The values of the partition columns as the log has them: by column, `None` is null.
    pub fn partition_texts(&self) -> Vec<(&str, Option<String>)> {
        let types = self.layout.partition_types().into_iter().zip(self.partition_values.iter());
        types.map(|((column, primitive), value)| (column, partition::format(column, primitive, value).ok().flatten())).collect()
    }

    /// Its statistics; `None` when it has none that can be read.
    ///
    /// **Cost**: parses them.
    pub fn stats(&self) -> Option<FileStats> {
        FileStats::from_json(self.add.stats.as_deref()?, &self.layout.schema, self.layout.mode).ok()
    }

    /// What is known of its rows, as `reader` sees it.
    pub fn bounds<'r>(&self, reader: &'r BoundsReader) -> FileBounds<'r> {
        reader.of_add(&self.add)
    }

    /// Its rows without the deleted ones, when its statistics tell.
    pub fn row_count(&self) -> Option<u64> {
        let deleted = self.deletion_vector().map_or(0, |vector| vector.cardinality);
        self.stats()?.num_records.map(|rows| rows.saturating_sub(deleted))
    }

    /// The rows of all these files; nothing when one does not say how many it has, or when they cannot be counted.
    pub fn total_rows<'a>(files: impl IntoIterator<Item = &'a Self>) -> Option<u64> {
        files.into_iter().try_fold(0_u64, |rows, file| rows.checked_add(file.row_count()?))
    }

    /// The bytes of all these files, as the log has them; the largest number when they are more.
    pub fn total_bytes<'a>(files: impl IntoIterator<Item = &'a Self>) -> u64 {
        files.into_iter().map(Self::size_bytes).fold(0, u64::saturating_add)
    }

    /// Which rows are deleted.
    pub fn deletion_vector(&self) -> Option<&DeletionVectorDescriptor> {
        self.add.deletion_vector.as_deref()
    }
}

impl fmt::Debug for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataFile({}, {} bytes)", self.path(), self.size_bytes())
    }
}
