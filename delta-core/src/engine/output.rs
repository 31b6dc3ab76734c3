//! What a statement writes: data files, and where the table has a change feed, files of changes.

use boathouse_delta_table::{
    ChangeType, ChangeWriter, DataWriter, DataWriterSettings, RowOrder, RowOrigins, Snapshot, WrittenChanges, WrittenFiles,
};
use datafusion::arrow::array::RecordBatch;

use super::error::Result;

/// The files that a statement wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) files: WrittenFiles,
    pub(crate) changes: WrittenChanges,
}

/// Where a statement writes.
#[derive(Debug)]
pub(crate) struct Output {
    data: DataWriter,
    changes: Option<ChangeWriter>,
}

/// Whether a statement says what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    On,
    /// The table has no change feed, or readers of it understand the commit without.
    Off,
}

impl Output {
    pub(crate) fn new(snapshot: &Snapshot, settings: DataWriterSettings, recording: Recording) -> Result<Self> {
        let changes = match recording {
            Recording::On => Some(ChangeWriter::new(snapshot, settings.clone())?),
            Recording::Off => None,
        };
        Ok(Self { data: DataWriter::new(snapshot, settings)?, changes })
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.changes.is_some()
    }

    /// Says in which order rows come from here on.
    pub(crate) fn set_row_order(&mut self, order: RowOrder) {
        self.data.set_row_order(order);
    }

    /// Says that this happened to these rows.
    pub(crate) async fn record(&mut self, rows: &RecordBatch, change: ChangeType) -> Result<()> {
        match &mut self.changes {
            Some(changes) if rows.num_rows() > 0 => Ok(changes.write(rows, change).await?),
            _ => Ok(()),
        }
    }

    /// Writes rows as they were.
    pub(crate) async fn keep(&mut self, rows: &RecordBatch, origins: Option<&RowOrigins>) -> Result<()> {
        match origins {
            Some(origins) => Ok(self.data.write_kept_from(rows, origins).await?),
            None => Ok(self.data.write_kept(rows).await?),
        }
    }

    /// Writes rows of which some were changed.
    pub(crate) async fn change(&mut self, rows: &RecordBatch, origins: Option<&RowOrigins>) -> Result<()> {
        match origins {
            Some(origins) => Ok(self.data.write_changed_from(rows, origins).await?),
            None => Ok(self.data.write_changed(rows).await?),
        }
    }

    /// Writes new rows.
    pub(crate) async fn insert(&mut self, rows: &RecordBatch) -> Result<()> {
        let complete = self.data.complete(rows)?;
        self.insert_complete(complete.as_ref().unwrap_or(rows)).await
    }

    /// New rows with what the table fills in, checked; nothing when it fills in nothing.
    pub(crate) fn complete(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        Ok(self.data.complete(rows)?)
    }

    /// Writes new rows with what the table fills in.
    pub(crate) async fn insert_complete(&mut self, rows: &RecordBatch) -> Result<()> {
        self.data.write_complete(rows).await?;
        self.record(rows, ChangeType::Insert).await
    }

    pub(crate) async fn finish(self) -> Result<Written> {
        let Self { data, changes } = self;
        let files = match data.finish().await {
            Ok(files) => files,
            Err(error) => {
                if let Some(changes) = changes {
                    changes.abort().await;
                }
                return Err(error.into());
            }
        };
        // From here on a failure leaves data files that no commit names; vacuum finds them.
        let changes = match changes {
            Some(changes) => changes.finish().await?,
            None => WrittenChanges::default(),
        };
        Ok(Written { files, changes })
    }

    pub(crate) async fn abort(self) {
        self.data.abort().await;
        if let Some(changes) = self.changes {
            changes.abort().await;
        }
    }
}
