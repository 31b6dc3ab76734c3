//! Files of changes.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use boathouse_delta_protocol::action::Cdc;

use super::data_writer::{DataWriter, DataWriterSettings};
use crate::error::{DeltaError, Result};
use crate::scan::CHANGE_TYPE;
use crate::snapshot::Snapshot;

/// What happened to a row.
///
/// **Source**: Delta protocol, "Change Data Files".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeType {
    /// It came.
    Insert,
    /// It changed, and was this before.
    UpdatePreimage,
    /// It changed, and is this now.
    UpdatePostimage,
    /// It left.
    Delete,
}

impl ChangeType {
    /// As files and readers have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdatePreimage => "update_preimage",
            Self::UpdatePostimage => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for ChangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The files that a [`ChangeWriter`] wrote. [`Transaction::record_changes`](crate::Transaction::record_changes) takes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WrittenChanges {
    /// One action for each file.
    pub files: Vec<Cdc>,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes what a commit changes for readers of the change feed, below `_change_data`.
///
/// Tables with `delta.enableChangeDataFeed` need it when rows are rewritten. A commit that only adds rows, or only removes them, is
/// understood without.
///
/// **Cost**: as [`DataWriter`].
#[derive(Debug)]
pub struct ChangeWriter {
    writer: DataWriter,
    url: String,
}

impl ChangeWriter {
    /// A writer for a table as it is at this version.
    ///
    /// **Errors**: as [`DataWriter::new`].
    pub fn new(snapshot: &Snapshot, settings: DataWriterSettings) -> Result<Self> {
        Ok(Self { writer: DataWriter::for_changes(snapshot, settings)?, url: snapshot.url().to_owned() })
    }

    /// Says that this happened to these rows, which have all columns of the table.
    ///
    /// **Errors**: as [`DataWriter::write`].
    pub async fn write(&mut self, rows: &RecordBatch, change: ChangeType) -> Result<()> {
        let change_type = Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, false));
        let fields = rows.schema_ref().fields().iter().cloned().chain([change_type]);
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(change.as_str(), rows.num_rows()))));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns);
        let batch =
            batch.map_err(|source| DeltaError::Compute { attempted: "record changes of", url: self.url.clone(), source })?;
        self.writer.append(&batch, None).await
    }

    /// Ends all files.
    ///
    /// **Errors**: as [`DataWriter::finish`].
    pub async fn finish(self) -> Result<WrittenChanges> {
        let written = self.writer.finish().await?;
        let file = |add: boathouse_delta_protocol::action::Add| Cdc {
            path: add.path,
            partition_values: add.partition_values,
            size: add.size,
            data_change: false,
            tags: None,
        };
        Ok(WrittenChanges { files: written.adds.into_iter().map(file).collect(), rows: written.rows, bytes: written.bytes })
    }

    /// Gives up: files that were written are deleted, as far as possible.
    pub async fn abort(self) {
        self.writer.abort().await;
    }
}
