//! One version of a table, loaded.

use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use boathouse_base::{BatchStream, BoxFuture, CommittedAppTransaction, Predicate, ScanRequest, TableSnapshot};
use boathouse_delta_protocol::action::{Metadata, Protocol, Remove};
use boathouse_delta_protocol::clustering::{CLUSTERING_DOMAIN, clustering_columns};
use boathouse_delta_protocol::features;
use boathouse_delta_protocol::files::{FileIndex, FileRef};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::replay::TableState;
use boathouse_delta_protocol::schema::{ColumnMappingMode, StructType};
use boathouse_delta_protocol::stats::{BoundsReader, ColumnPath};
use futures::StreamExt;

use crate::app_transaction;
use crate::error::{DeltaError, OnTable, Result};
use crate::filter::matching_rows;
use crate::layout::Layout;
use crate::log::files::LazyFiles;
use crate::log::load::LoadedLog;
use crate::log::tombstones::tombstones;
use crate::row_tracking::RowTrackingColumns;
use crate::scan::{self, DataFile, FileRead};
use crate::table::DeltaTable;
use crate::upkeep::{self, ChecksumReport};

/// One version of a table. Immutable, and cheap to clone.
///
/// It knows what the table is: version, schema, properties, what applications committed. Its files are loaded when
/// they are asked for.
///
/// # Example
/// ```
/// # use boathouse_delta_table::{DeltaTable, DeltaError};
/// # use boathouse_storage::{Storage, system_env};
/// # use arrow_schema::{DataType, Field, Schema};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let table = DeltaTable::at(Storage::memory(), system_env());
/// table.create(Schema::new(vec![Field::new("id", DataType::Int64, false)])).run().await?;
/// let snapshot = table.snapshot().await?;
/// assert_eq!(snapshot.version(), 0);
/// assert_eq!(snapshot.schema().field(0).name(), "id");
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Snapshot {
    table: DeltaTable,
    loaded: Arc<Loaded>,
    /// When it was found to be the newest version, or asked for, by the monotonic clock.
    seen_us: u64,
}

/// What a snapshot shares with its clones and with the cache of its table.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) log: LoadedLog,
    pub(crate) layout: Arc<Layout>,
}

impl Snapshot {
    pub(crate) fn new(table: DeltaTable, loaded: Arc<Loaded>) -> Self {
        let seen_us = table.env().monotonic_us();
        Self { table, loaded, seen_us }
    }

    /// The same files under other columns.
    pub(crate) fn with_layout(&self, protocol: Option<&Protocol>, metadata: &Metadata, layout: Arc<Layout>) -> Self {
        let mut state = self.state().clone();
        state.metadata = Arc::new(metadata.clone());
        if let Some(protocol) = protocol {
            state.protocol.clone_from(protocol);
        }
        let log = &self.loaded.log;
        let log = LoadedLog {
            state,
            timestamp_ms: log.timestamp_ms,
            last_commit: log.last_commit,
            summary: log.summary,
            files: Arc::clone(&log.files),
        };
        Self { table: self.table.clone(), loaded: Arc::new(Loaded { log, layout }), seen_us: self.seen_us }
    }

    /// The table.
    pub fn table(&self) -> &DeltaTable {
        &self.table
    }

    /// The table's location, as a URL.
    pub fn url(&self) -> &str {
        self.table.url()
    }

    /// The version: 0 for the first commit.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// When it was committed, in microseconds since the Unix epoch (UTC); to the millisecond.
    pub fn timestamp_us(&self) -> i64 {
        self.loaded.log.timestamp_ms.saturating_mul(1000)
    }

    /// The columns, partition columns included, as rows have them.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.layout().arrow)
    }

    /// The columns, as the log has them.
    pub fn delta_schema(&self) -> &StructType {
        &self.layout().schema
    }

    /// The partition columns, in order.
    pub fn partition_columns(&self) -> &[String] {
        &self.layout().partition_columns
    }

    /// The columns by which the table is clustered; none when it is not, or not any more. They have statistics, whatever the properties say.
    ///
    /// **Errors**: `Corrupt` when the log's list of them is none.
    ///
    /// **Source**: Delta protocol, "Clustered Table".
    pub fn clustering_columns(&self) -> Result<Vec<ColumnPath>> {
        let domain = self.state().domain_metadata.get(CLUSTERING_DOMAIN).filter(|_| features::has(self.protocol(), "clustering"));
        let Some(domain) = domain else { return Ok(Vec::new()) };
        let columns = clustering_columns(&domain.configuration).on(self.url())?;
        let logical = |names: &Vec<String>| ColumnPath::of_physical(self.delta_schema(), names, self.column_mapping());
        Ok(columns.iter().filter_map(logical).collect())
    }

    /// Name, schema, properties: what the table is.
    pub fn metadata(&self) -> &Metadata {
        &self.state().metadata
    }

    /// What a client must be able to do.
    pub fn protocol(&self) -> &Protocol {
        &self.state().protocol
    }

    /// The table's properties, parsed.
    pub fn properties(&self) -> &TableProperties {
        &self.layout().properties
    }

    /// How files name the columns.
    pub fn column_mapping(&self) -> ColumnMappingMode {
        self.layout().mode
    }

    /// What the log says of the table at this version, but for its files.
    pub fn state(&self) -> &TableState {
        &self.loaded.log.state
    }

    /// The data files as the log has them, without their statistics where these take another pass.
    ///
    /// **Cost**: the first time what the log says of files is read: the file columns of the checkpoint, and the
    /// commits after it. Later versions of the same handle go on from there.
    ///
    /// **Errors**: `Corrupt` names the commit and the line, or the file of the checkpoint, when nothing older helps.
    pub async fn index(&self) -> Result<Arc<FileIndex>> {
        Ok(Arc::clone(self.loaded.log.files.index().await?))
    }

    /// As [`index`](Self::index), with all statistics.
    ///
    /// **Cost**: after a checkpoint, or a commit of many megabytes, another pass the first time; then about a tenth
    /// of the statistics' text stays in memory.
    pub async fn index_with_stats(&self) -> Result<Arc<FileIndex>> {
        Ok(Arc::clone(self.loaded.log.files.index_with_stats().await?))
    }

    /// The files, and the way to their statistics.
    pub(crate) fn lazy_files(&self) -> &LazyFiles {
        &self.loaded.log.files
    }

    /// How many data files there are.
    ///
    /// **Cost**: as [`index`](Self::index).
    pub async fn file_count(&self) -> Result<usize> {
        Ok(self.loaded.log.files.index().await?.len())
    }

    /// Bytes of all data files.
    ///
    /// **Cost**: as [`index`](Self::index).
    pub async fn size_bytes(&self) -> Result<u64> {
        Ok(self.loaded.log.files.index().await?.size_bytes())
    }

    /// The rows, when the statistics of every file say how many it has, and they can be counted.
    ///
    /// **Cost**: as [`files`](Self::files).
    pub async fn row_count(&self) -> Result<Option<u64>> {
        Ok(DataFile::total_rows(&self.files(None).await?))
    }

    /// The data files, in the order of the log; with a predicate, those that can hold a matching row.
    ///
    /// **Cost**: as [`index_with_stats`](Self::index_with_stats); the first predicate about a column reads its
    /// statistics, and later ones find them typed.
    pub async fn files(&self, predicate: Option<&Predicate>) -> Result<Vec<DataFile>> {
        let layout = self.layout();
        let index = self.loaded.log.files.index_with_stats().await?;
        let data_file = |file: FileRef<'_>| {
            let add = Arc::new(file.to_add());
            let values = partition::values_of(&add, &layout.schema, &layout.partition_columns, layout.mode).on(self.url())?;
            Ok(DataFile::new(add, values, Arc::clone(layout)))
        };
        let Some(predicate) = predicate else { return index.iter().map(data_file).collect() };
        let reader = BoundsReader::for_predicates(&layout.schema, &layout.partition_columns, layout.mode, [predicate]);
        index.matching(predicate, &reader).map(data_file).collect()
    }

    /// Files that were removed and that the log still speaks of, by path.
    ///
    /// **Cost**: a LIST of the log, the removals in the checkpoint, a GET for each commit after it.
    pub async fn tombstones(&self) -> Result<Vec<Remove>> {
        tombstones(self.table.log(), self.version(), &self.loaded.log.files).await
    }

    /// Reads rows of all files.
    ///
    /// **Shape**: the columns of the projection in that order, or all of them. Rows come file by file, in the order
    /// of the log.
    ///
    /// **Cost**: files and row groups that cannot match are not read; a few files are read ahead.
    ///
    /// **Errors**: `NotFound` for an unknown column, or a file that was vacuumed.
    pub fn scan(&self, request: ScanRequest) -> Result<BatchStream> {
        scan::scan(self, request, None)
    }

    /// The columns in which rows of this table carry their ids along; `None` when it does not track its rows.
    pub fn row_tracking(&self) -> Option<&RowTrackingColumns> {
        self.layout().row_tracking.as_ref()
    }

    /// Reads rows of all files, each with its id and the version that added or last changed it.
    ///
    /// A row has the same id in all versions of the table. Two rows with the same id and version are the same.
    ///
    /// **Shape**: as [`scan`](Self::scan), then the two columns (`Int64`, never null).
    ///
    /// **Errors**: as [`scan`](Self::scan); `Invalid` when the table does not track its rows.
    pub fn scan_with_row_ids(&self, request: ScanRequest, columns: &RowTrackingColumns) -> Result<BatchStream> {
        scan::scan(self, request, Some(columns))
    }

    /// Reads rows of one file.
    ///
    /// **Shape**: the columns of the projection, or all, then the row index when it was asked for.
    ///
    /// **Errors**: as [`scan`](Self::scan); those of the file itself come out of the stream.
    pub fn read_file(&self, file: &DataFile, read: FileRead) -> Result<BatchStream> {
        scan::read_file(self, file, read)
    }

    /// Reads rows of these files, one after the other, a few files ahead.
    ///
    /// **Shape**, **Errors**: as [`read_file`](Self::read_file); row numbers, wanted or given, count from 0 in each file.
    pub fn read_files(&self, files: Vec<DataFile>, read: FileRead) -> Result<BatchStream> {
        scan::read_each(self, files, read)
    }

    /// Reads the rows of one file for which the predicate is true, and no others.
    ///
    /// **Errors**: as [`read_file`](Self::read_file).
    pub fn read_matching(&self, file: &DataFile, predicate: Predicate) -> Result<BatchStream> {
        let read = self.read_file(file, FileRead { predicate: Some(predicate.clone()), ..FileRead::default() })?;
        let (schema, url) = (read.schema(), self.url().to_owned());
        let rows = read.map(move |batch| {
            let batch = batch?;
            let kept = matching_rows(&predicate, &batch).and_then(|rows| filter_record_batch(&batch, &rows));
            let kept = kept.map_err(|source| DeltaError::Compute { attempted: "filter", url: url.clone(), source });
            kept.map_err(boathouse_base::Error::from)
        });
        Ok(BatchStream::new(schema, rows))
    }

    /// The last version that an application committed, with what it committed along.
    ///
    /// **Cost**: a GET of the commit that set it; when that is older than the checkpoint, of commits before the
    /// checkpoint until it is found.
    pub async fn app_transaction(&self, app_id: &str) -> Result<Option<CommittedAppTransaction>> {
        app_transaction::find(self, app_id).await
    }

    pub(crate) fn seen_us(&self) -> u64 {
        self.seen_us
    }

    /// Compares the checksum file of this version with a replay of the log.
    ///
    /// **Cost**: reads the log as if there was no checksum: the checkpoint, its files, the commits after it.
    ///
    /// **Errors**: `Corrupt` when the checksum file cannot be read. What does not agree is no error, but in the report.
    pub async fn validate_checksum(&self) -> Result<ChecksumReport> {
        upkeep::validate(self).await
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.loaded.layout
    }

    pub(crate) fn log(&self) -> &LoadedLog {
        &self.loaded.log
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} at version {})", self.url(), self.version())
    }
}

impl TableSnapshot for Snapshot {
    fn version(&self) -> u64 {
        Snapshot::version(self)
    }

    fn timestamp_us(&self) -> i64 {
        Snapshot::timestamp_us(self)
    }

    fn schema(&self) -> SchemaRef {
        Snapshot::schema(self)
    }

    fn partition_columns(&self) -> &[String] {
        Snapshot::partition_columns(self)
    }

    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, boathouse_base::Result<BatchStream>> {
        Box::pin(async move { Ok(Snapshot::scan(self, request)?) })
    }

    fn app_transaction(&self, app_id: &str) -> BoxFuture<'_, boathouse_base::Result<Option<CommittedAppTransaction>>> {
        let app_id = app_id.to_owned();
        Box::pin(async move { Ok(Snapshot::app_transaction(self, &app_id).await?) })
    }
}
