//! A streaming sink: every epoch is one commit, with the position of the stream in it.

use std::collections::BTreeMap;

use boathouse_base::{
    AppTransaction, BatchStream, BoxFuture, CommittedEpoch, EpochCommit, EpochReport, IfAbsent, OutputMode, SchemaMode,
    StreamSink, WriteMode, WriteRequest,
};

use crate::error::{DeltaError, Result};
use crate::table::DeltaTable;

/// Writes the epochs of streaming queries to a table.
///
/// An epoch is a `txn` action (`appId`: the query, `version`: the epoch) in the very commit that adds its rows, and
/// its payload stands in that commit's info: there is one truth to recover from. An epoch that was committed before is skipped.
///
/// The first epoch creates the table.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_base::{BatchStream, EpochCommit, OutputMode, StreamSink};
/// use boathouse_delta_table::{DeltaSink, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let sink = DeltaSink::new(DeltaTable::at(Storage::memory(), system_env()));
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])?;
/// let epoch = EpochCommit { query_id: "q".into(), epoch: 0, payload: "{\"offset\":1}".into(), mode: OutputMode::Append };
///
/// let rows = BatchStream::from_batches(batch.schema(), vec![batch.clone()]);
/// assert_eq!(sink.commit(epoch.clone(), rows).await?.rows, 1);
/// let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
/// assert!(sink.commit(epoch, rows).await?.skipped);
/// let last = sink.last_epoch("q").await?.unwrap();
/// assert_eq!((last.epoch, last.payload.as_deref()), (0, Some("{\"offset\":1}")));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeltaSink {
    table: DeltaTable,
    settings: DeltaSinkSettings,
}

/// How a [`DeltaSink`] writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeltaSinkSettings {
    /// The partition columns of the table, when the first epoch creates it.
    pub partition_columns: Vec<String>,
    /// The properties of the table, when the first epoch creates it.
    pub properties: BTreeMap<String, String>,
    /// What happens to columns that the table does not have.
    pub schema_mode: SchemaMode,
}

impl DeltaSink {
    /// A sink that writes to this table.
    pub fn new(table: DeltaTable) -> Self {
        Self { table, settings: DeltaSinkSettings::default() }
    }

    /// Sets how it writes.
    #[must_use]
    pub fn with_settings(mut self, settings: DeltaSinkSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Partitions the table by these columns, when the first epoch creates it.
    #[must_use]
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.settings.partition_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a property of the table, when the first epoch creates it.
    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.properties.insert(key.into(), value.into());
        self
    }

    /// Adds columns that the table does not have.
    #[must_use]
    pub fn merge_schema(mut self) -> Self {
        self.settings.schema_mode = SchemaMode::Merge;
        self
    }

    /// The table.
    pub fn table(&self) -> &DeltaTable {
        &self.table
    }

    async fn last(&self, query_id: &str) -> Result<Option<CommittedEpoch>> {
        let Some(snapshot) = self.table.try_snapshot().await? else { return Ok(None) };
        let committed = snapshot.app_transaction(query_id).await?;
        Ok(committed.map(|c| CommittedEpoch { epoch: c.version, payload: c.payload }))
    }

    async fn write(&self, epoch: EpochCommit, data: BatchStream) -> Result<EpochReport> {
        let EpochCommit { query_id, epoch, payload, mode } = epoch;
        let mode = match mode {
            OutputMode::Append => WriteMode::Append,
            OutputMode::Complete => WriteMode::Overwrite,
            OutputMode::Update => return Err(DeltaError::UpdatesWithoutKey { table: self.table.url().to_owned() }),
        };
        let request = WriteRequest {
            mode,
            schema_mode: self.settings.schema_mode,
            if_absent: IfAbsent::Create {
                partition_columns: self.settings.partition_columns.clone(),
                properties: self.settings.properties.clone(),
            },
            app_transaction: Some(AppTransaction { app_id: query_id, version: epoch, payload: Some(payload) }),
            ..WriteRequest::default()
        };
        let report = self.table.write(request, data).run().await?;
        Ok(EpochReport {
            rows: report.rows,
            bytes: report.bytes_added,
            files: report.files_added,
            skipped: report.skipped,
            version: Some(report.version),
        })
    }
}

impl StreamSink for DeltaSink {
    fn describe(&self) -> String {
        format!("delta[{}]", self.table.url())
    }

    fn last_epoch<'a>(&'a self, query_id: &'a str) -> BoxFuture<'a, boathouse_base::Result<Option<CommittedEpoch>>> {
        Box::pin(async move { Ok(self.last(query_id).await?) })
    }

    fn commit(&self, epoch: EpochCommit, data: BatchStream) -> BoxFuture<'_, boathouse_base::Result<EpochReport>> {
        Box::pin(async move { Ok(self.write(epoch, data).await?) })
    }
}
