//! Batches to data files, partition by partition.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType as ArrowType, Field, FieldRef, Schema, SchemaRef};
use boathouse_base::{Env, Value};
use boathouse_delta_protocol::action::{Add, StringMap, encode_path};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::properties::CompressionCodec;
use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_protocol::stats::{ColumnPath, indexed_columns};
use boathouse_storage::Storage;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::encoder::{EncodeError, EncodedFile, Encoding, FileEncoder};
use super::flat::ScratchPool;
use super::partition::{Part, PartitionKey, Splitter};
use super::statistics::{self, Leaf};
use crate::conform::{FieldMatch, conform_field, find_field, relabel};
use crate::enforce::{Enforcer, cast_error, shown_row};
use crate::error::{DeltaError, OnTable, Result};
use crate::layout::Layout;
use crate::row_tracking::RowOrigins;
use crate::scan::CHANGE_TYPE;
use crate::snapshot::Snapshot;
use crate::table::DeltaTable;
use crate::variant;

/// How data files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataWriterSettings {
    /// A file ends when it has about so many bytes. `None`: the table's `delta.targetFileSize`, or 256 MiB.
    pub target_file_size_bytes: Option<u64>,
    /// A row group ends with so many rows.
    pub row_group_rows: usize,
    /// A row group ends with about so many encoded bytes.
    pub row_group_bytes: usize,
    /// So many partitions are written at once; beyond that, the fullest file is ended early.
    pub open_partitions: usize,
    /// All open files together hold about so many bytes in memory; beyond that, the fullest is ended early.
    pub open_bytes: usize,
    /// Threads that encode columns. `None`: one for each core, 8 at most.
    pub workers: Option<NonZeroUsize>,
    /// Whether the files change the rows of the table, or only rearrange them.
    pub data_change: bool,
    /// What is known of the order in which rows come.
    pub row_order: RowOrder,
}

/// What is known of the order in which rows come to a [`DataWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowOrder {
    /// Nothing: files of many partitions are open at once.
    #[default]
    Any,
    /// Rows of one partition come together: its files end where the next one begins. Where they do not, there are more files.
    ByPartition,
}

impl Default for DataWriterSettings {
    fn default() -> Self {
        Self {
            target_file_size_bytes: None,
            row_group_rows: 1 << 20,
            row_group_bytes: 128 << 20,
            open_partitions: 128,
            open_bytes: 512 << 20,
            workers: None,
            data_change: true,
            row_order: RowOrder::Any,
        }
    }
}

/// Bytes of a file when neither the caller nor the table says.
const TARGET_FILE_BYTES: u64 = 256 << 20;

/// The files that a [`DataWriter`] wrote. None of them is part of the table before a transaction adds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WrittenFiles {
    /// One action for each file, in the order of their partitions.
    pub adds: Vec<Add>,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The last numbers that were given out, by identity column: they go into the metadata with the files, which
    /// [`Transaction::add_written`](crate::Transaction::add_written) does.
    pub high_water_marks: Vec<(String, i64)>,
    /// Whether rows that were in the table before carry their ids along: the writer knew that the table tracks its rows.
    pub keeps_row_ids: bool,
}

/// Writes batches to new data files of a table.
///
/// Rows may come in any order; columns are found by name, cast where the cast loses nothing, and null where
/// they are missing. Every file is complete in the store before [`finish`](Self::finish) returns.
///
/// **Cost**: memory for one row group (encoded) and three chunks of 32 k rows for each open file.
///
/// # Example
/// ```no_run
/// # use boathouse_delta_table::{DataWriter, DataWriterSettings, Snapshot, Transaction};
/// # async fn example(snapshot: Snapshot, batch: arrow_array::RecordBatch) -> Result<(), boathouse_delta_table::DeltaError> {
/// let mut writer = DataWriter::new(&snapshot, DataWriterSettings::default())?;
/// writer.write(&batch).await?;
/// let written = writer.finish().await?;
/// let report = Transaction::begin(&snapshot).add_all(written.adds).operation("WRITE", []).commit().await?;
/// println!("version {}", report.version);
/// # Ok(()) }
/// ```
pub struct DataWriter {
    pub(super) storage: Storage,
    pub(super) env: Env,
    pub(super) layout: Arc<Layout>,
    settings: DataWriterSettings,
    pub(super) encoding: Arc<Encoding>,
    /// For files whose rows carry their ids along; of a table that tracks its rows.
    pub(super) tracked: Option<Arc<Encoding>>,
    /// Whether there is a column of variants, at any depth.
    has_variants: bool,
    pub(super) leaves: Vec<Leaf>,
    pub(super) indexed: Vec<ColumnPath>,
    file_columns: Vec<usize>,
    splitter: Option<Splitter>,
    enforcer: Option<Enforcer>,
    kind: FileKind,
    open: BTreeMap<Option<PartitionKey>, OpenFile>,
    /// Small files on their way to the store.
    ending: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// How many files were ended.
    ended: u64,
    /// Files by their partition, each with when it was ended.
    done: BTreeMap<Option<PartitionKey>, Vec<(u64, Add)>>,
    rows: u64,
    bytes: u64,
}

/// What files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Rows of the table.
    Data,
    /// Rows that changed, and what happened to each, for change readers.
    Changes,
}

struct OpenFile {
    relative: String,
    partition_values: StringMap,
    encoder: FileEncoder,
    /// Whether its rows carry their ids along.
    tracked: bool,
}

/// A file that was written to its end, or was not.
struct Ended {
    key: Option<PartitionKey>,
    nth: u64,
    relative: String,
    partition_values: StringMap,
    encoded: Result<EncodedFile, EncodeError>,
}

/// So many small files go to the store at once.
const ENDING_AT_ONCE: usize = 8;
/// A file is small that holds so many bytes in memory.
const SMALL_BYTES: usize = 4 << 20;

impl DataWriter {
    /// A writer for a table as it is at this version.
    ///
    /// **Errors**: `Unsupported` when the table needs something of writers that is not supported, or an engine that
    /// understands its rules and is not there.
    pub fn new(snapshot: &Snapshot, settings: DataWriterSettings) -> Result<Self> {
        let (protocol, metadata, layout) = (snapshot.protocol(), snapshot.metadata(), snapshot.layout());
        boathouse_delta_protocol::features::check_write(protocol, metadata).on(snapshot.url())?;
        let rules = Rules::of(protocol, metadata, &layout.schema).on(snapshot.url())?;
        let clustering = snapshot.clustering_columns()?;
        Self::with_layout(snapshot.table(), Arc::clone(layout), &rules, &clustering, settings)
    }

    /// A writer of files of changes: batches have a last column more, and rules have been applied.
    pub(super) fn for_changes(snapshot: &Snapshot, settings: DataWriterSettings) -> Result<Self> {
        let settings = DataWriterSettings { data_change: false, ..settings };
        let mut writer = Self::with_layout(snapshot.table(), Arc::clone(snapshot.layout()), &Rules::default(), &[], settings)?;
        let fields = writer.encoding.schema.fields().iter().cloned();
        let change_type = Arc::new(Field::new(CHANGE_TYPE, ArrowType::Utf8, false));
        let schema = Arc::new(Schema::new(fields.chain([change_type]).collect::<Vec<_>>()));
        let (properties, workers) = (Arc::clone(&writer.encoding.properties), writer.encoding.workers);
        let (row_group_rows, row_group_bytes) = (writer.encoding.row_group_rows, writer.encoding.row_group_bytes);
        let scratch = ScratchPool::default();
        writer.encoding = Arc::new(Encoding { schema, properties, row_group_rows, row_group_bytes, workers, scratch });
        writer.kind = FileKind::Changes;
        Ok(writer)
    }

    /// A writer for a table of this layout, with these rules, clustered by these columns.
    pub(crate) fn with_layout(
        table: &DeltaTable,
        layout: Arc<Layout>,
        rules: &Rules,
        clustering: &[ColumnPath],
        settings: DataWriterSettings,
    ) -> Result<Self> {
        let (storage, env) = (table.storage().clone(), table.env().clone());
        // What only rearranges rows adds none.
        let enforcer = match settings.data_change {
            true => Enforcer::new(storage.url(), &layout, rules, table.expressions())?,
            false => None,
        };
        let file_columns = layout.file_columns();
        let leaves = statistics::leaves(file_columns.iter().map(|at| &layout.schema.fields[*at]));
        let mut indexed = indexed_columns(&layout.schema, &layout.partition_columns, &layout.properties).on(storage.url())?;
        let unindexed: Vec<ColumnPath> = clustering.iter().filter(|path| !indexed.contains(path)).cloned().collect();
        indexed.extend(unindexed);
        let workers = settings.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, |n| n.get().min(8));
        let properties = Arc::new(writer_properties(layout.properties.compression_codec));
        let encoding = |schema: SchemaRef| {
            Arc::new(Encoding {
                schema,
                properties: Arc::clone(&properties),
                row_group_rows: settings.row_group_rows.max(1),
                row_group_bytes: settings.row_group_bytes,
                workers,
                scratch: ScratchPool::default(),
            })
        };
        let tracked = layout.row_tracking.as_ref().map(|columns| encoding(layout.tracked_file_schema(columns)));
        let encoding = encoding(layout.file_schema());
        let splitter = match layout.partition_columns.len() {
            0 => None,
            _ => {
                let types = layout.partition_types().into_iter().map(|(_, primitive)| primitive.to_arrow());
                let splitter = Splitter::new(types);
                Some(splitter.map_err(|source| compute("partition", storage.url(), source))?)
            }
        };
        let has_variants = layout.schema.find_variant().is_some();
        Ok(Self {
            storage,
            env,
            layout,
            has_variants,
            settings,
            encoding,
            tracked,
            leaves,
            indexed,
            file_columns,
            splitter,
            enforcer,
            kind: FileKind::Data,
            open: BTreeMap::new(),
            ending: FuturesUnordered::new(),
            ended: 0,
            done: BTreeMap::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Says in which order the rows come that are written from here on.
    pub fn set_row_order(&mut self, order: RowOrder) {
        self.settings.row_order = order;
    }

    /// Rows given so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends new rows. What the table fills in may be missing: defaults, generated columns, identity columns.
    ///
    /// **Errors**: `Invalid` names a column that does not fit, or that has a null and must not, or the constraint
    /// that a row violates; what the store says. After an error the writer is only good for [`abort`](Self::abort).
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.complete(batch)? {
            Some(complete) => self.append(&complete, None).await,
            None => self.append(batch, None).await,
        }
    }

    /// New rows with what the table fills in, checked; nothing when the table has no rules. They are not written yet:
    /// [`write_kept`](Self::write_kept) does.
    ///
    /// **Errors**: as [`write`](Self::write).
    pub fn complete(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        match &mut self.enforcer {
            Some(enforcer) if batch.num_rows() > 0 => enforcer.complete(batch).map(Some),
            _ => Ok(None),
        }
    }

    /// Looks at new rows as [`write`](Self::write) does, and writes none.
    ///
    /// **Errors**: as [`write`](Self::write).
    pub fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let complete = self.complete(batch)?;
        let batch = complete.as_ref().unwrap_or(batch);
        self.file_batch(batch)?;
        self.partition_arrays(batch).map(drop)
    }

    /// Appends rows of the table that were changed: they have all columns, and obey the constraints.
    ///
    /// **Errors**: as [`write`](Self::write); `Unsupported` when the table tracks its rows: see
    /// [`write_changed_from`](Self::write_changed_from).
    pub async fn write_changed(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_origins(batch, None)?;
        self.append_changed(batch, None).await
    }

    /// Appends rows of the table that were changed, each with where it comes from; rows among them that were not changed keep their
    /// commit version, and those that are new have no origin.
    ///
    /// **Errors**: as [`write`](Self::write); `Invalid` when the table does not track its rows.
    pub async fn write_changed_from(&mut self, batch: &RecordBatch, origins: &RowOrigins) -> Result<()> {
        self.check_origins(batch, Some(origins))?;
        self.append_changed(batch, Some(origins)).await
    }

    /// Appends new rows that [`complete`](Self::complete) has completed, or that needed nothing.
    ///
    /// **Errors**: as [`write`](Self::write).
    pub async fn write_complete(&mut self, batch: &RecordBatch) -> Result<()> {
        self.append(batch, None).await
    }

    /// Appends rows of the table as they are: nothing is filled in, and no constraint is checked.
    ///
    /// **Errors**: as [`write`](Self::write); `Unsupported` when the table tracks its rows: see
    /// [`write_kept_from`](Self::write_kept_from).
    pub async fn write_kept(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_origins(batch, None)?;
        self.append(batch, None).await
    }

    /// Appends rows of the table as they are, each with where it comes from.
    ///
    /// **Errors**: as [`write_kept`](Self::write_kept); `Invalid` when the table does not track its rows.
    pub async fn write_kept_from(&mut self, batch: &RecordBatch, origins: &RowOrigins) -> Result<()> {
        self.check_origins(batch, Some(origins))?;
        self.append(batch, Some(origins)).await
    }

    /// Rows of a table that tracks them must not lose their ids.
    fn check_origins(&self, batch: &RecordBatch, origins: Option<&RowOrigins>) -> Result<()> {
        let url = || self.storage.url().to_owned();
        let rows = batch.num_rows();
        match (&self.tracked, origins) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(DeltaError::RowTrackingOff { url: url(), attempted: "write" }),
            (Some(_), None) => Err(DeltaError::RowsWithoutOrigin { url: url(), found: format!("{rows} rows have no origin") }),
            (Some(_), Some(origins)) if origins.rows() == Some(rows) => Ok(()),
            (Some(_), Some(origins)) => {
                let found = format!(
                    "{rows} rows have {} row ids and {} commit versions",
                    origins.ids.len(),
                    origins.commit_versions.len()
                );
                Err(DeltaError::RowsWithoutOrigin { url: url(), found })
            }
        }
    }

    async fn append_changed(&mut self, batch: &RecordBatch, origins: Option<&RowOrigins>) -> Result<()> {
        match &self.enforcer {
            Some(enforcer) if batch.num_rows() > 0 => {
                let checked = enforcer.changed(batch)?;
                self.append(&checked, origins).await
            }
            _ => self.append(batch, origins).await,
        }
    }

    /// Appends rows that have all that the table fills in.
    pub(super) async fn append(&mut self, batch: &RecordBatch, origins: Option<&RowOrigins>) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let mut data = self.file_batch(batch)?;
        if let Some(origins) = origins {
            data = self.with_hidden(&data, Some(origins))?;
        }
        let tracked = origins.is_some();
        let Some(splitter) = &self.splitter else { return self.write_part(None, Vec::new(), data, tracked).await };
        let columns = self.partition_arrays(batch)?;
        let parts = splitter.split(&columns, &data).map_err(|source| compute("partition", self.storage.url(), source))?;
        for Part { key, values, batch } in parts {
            self.write_part(Some(key), values, batch, tracked).await?;
        }
        Ok(())
    }

    /// A batch of a file with the hidden columns; new rows have nulls there.
    fn with_hidden(&self, data: &RecordBatch, origins: Option<&RowOrigins>) -> Result<RecordBatch> {
        let Some(columns) = &self.layout.row_tracking else { return Ok(data.clone()) };
        let none = || Int64Array::new_null(data.num_rows());
        let (ids, versions) = origins.map_or_else(|| (none(), none()), |from| (from.ids.clone(), from.commit_versions.clone()));
        let field = |name: &String| Arc::new(Field::new(name, ArrowType::Int64, true));
        let fields = data.schema_ref().fields().iter().cloned();
        let fields: Vec<FieldRef> = fields.chain([field(&columns.row_id), field(&columns.commit_version)]).collect();
        let arrays = data.columns().iter().cloned().chain([Arc::new(ids) as ArrayRef, Arc::new(versions)]).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|source| compute("write", self.storage.url(), source))
    }

    /// Ends all files.
    ///
    /// **Errors**: what the store says; then the files that were written are deleted again, as far as possible.
    pub async fn finish(mut self) -> Result<WrittenFiles> {
        while let Some((key, file)) = self.open.pop_first() {
            if let Err(error) = self.end_file(key, file).await {
                self.abort().await;
                return Err(error);
            }
        }
        while let Some(ended) = self.ending.next().await {
            if let Err(error) = self.note(ended) {
                self.abort().await;
                return Err(error);
            }
        }
        let mut done = std::mem::take(&mut self.done);
        done.values_mut().for_each(|adds| adds.sort_by_key(|(nth, _)| *nth));
        let adds = done.into_values().flatten().map(|(_, add)| add).collect();
        let high_water_marks = self.enforcer.as_ref().map(Enforcer::high_water_marks).unwrap_or_default();
        let keeps_row_ids = self.tracked.is_some();
        Ok(WrittenFiles { adds, rows: self.rows, bytes: self.bytes, high_water_marks, keeps_row_ids })
    }

    /// Gives up: files that were written are deleted, as far as possible.
    pub async fn abort(mut self) {
        for (_, file) in std::mem::take(&mut self.open) {
            file.encoder.abort().await;
        }
        while let Some(ended) = self.ending.next().await {
            if let Err(error) = self.note(ended) {
                tracing::debug!(%error, "a file of a write that is given up could not be written");
            }
        }
        let adds: Vec<Add> = std::mem::take(&mut self.done).into_values().flatten().map(|(_, add)| add).collect();
        discard(&self.storage, &adds).await;
    }

    async fn write_part(
        &mut self,
        key: Option<PartitionKey>,
        values: Vec<Value>,
        mut batch: RecordBatch,
        tracked: bool,
    ) -> Result<()> {
        let mut file = match self.open.remove(&key) {
            // Rows that carry ids along need a file with room for them; in it, new rows go along.
            Some(file) if tracked && !file.tracked => {
                self.end_file(key.clone(), file).await?;
                self.begin_file(&values, tracked)?
            }
            Some(file) => file,
            None => {
                while self.settings.row_order == RowOrder::ByPartition
                    && let Some((key, file)) = self.open.pop_first()
                {
                    self.end_file(key, file).await?;
                }
                self.begin_file(&values, tracked)?
            }
        };
        if file.tracked && !tracked {
            batch = self.with_hidden(&batch, None)?;
        }
        if let Err(error) = file.encoder.write(batch).await {
            let error = self.encode_error(&file.relative, error);
            file.encoder.abort().await;
            return Err(error);
        }
        let target = self.settings.target_file_size_bytes.or(self.layout.properties.target_file_size_bytes);
        if file.encoder.bytes() >= target.unwrap_or(TARGET_FILE_BYTES).max(1) {
            return self.end_file(key, file).await;
        }
        self.open.insert(key, file);
        while self.open.len() > self.settings.open_partitions.max(1) || self.held_bytes() > self.settings.open_bytes {
            // Ties go to the first partition, so that the same rows give the same files.
            let fullest =
                self.open.iter().max_by_key(|(key, f)| (f.encoder.memory(), f.encoder.rows(), std::cmp::Reverse((*key).clone())));
            let Some(key) = fullest.map(|(key, _)| key.clone()) else { break };
            if self.open.len() == 1 {
                break;
            }
            if let Some(file) = self.open.remove(&key) {
                self.end_file(key, file).await?;
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        if self.splitter.is_none() { 0 } else { self.open.values().map(|f| f.encoder.memory()).sum() }
    }

    /// The name of a new file with these partition values, and the values as the log has them.
    pub(super) fn name_file(&self, values: &[Value]) -> Result<(String, StringMap)> {
        let url = self.storage.url();
        let mut texts = Vec::with_capacity(values.len());
        for ((column, primitive), value) in self.layout.partition_types().into_iter().zip(values) {
            let text = partition::format(column, primitive, value).on(url)?;
            texts.push((self.layout.physical_name(column), text));
        }
        let folder = partition::folder(texts.iter().map(|(column, text)| (*column, text.as_deref())));
        let codec = extension(self.layout.properties.compression_codec);
        let (root, kind) = match self.kind {
            FileKind::Data => ("", "part"),
            FileKind::Changes => ("_change_data", "cdc"),
        };
        let name = format!("{kind}-00000-{}-c000{codec}.parquet", self.env.uuid());
        let relative = [root, &folder, &name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        Ok((relative, texts.into_iter().collect()))
    }

    fn begin_file(&self, values: &[Value], tracked: bool) -> Result<OpenFile> {
        let (relative, partition_values) = self.name_file(values)?;
        let path = self.storage.path_of(&relative)?;
        let store = Arc::clone(self.storage.object_store());
        let encoding = self.tracked.as_ref().filter(|_| tracked).unwrap_or(&self.encoding);
        let encoder = FileEncoder::new(Arc::clone(encoding), store, path)
            .map_err(|source| self.encode_error(&relative, EncodeError::Parquet(source)))?;
        Ok(OpenFile { relative, partition_values, encoder, tracked })
    }

    async fn end_file(&mut self, key: Option<PartitionKey>, file: OpenFile) -> Result<()> {
        let OpenFile { relative, partition_values, encoder, .. } = file;
        if encoder.rows() == 0 {
            encoder.abort().await;
            return Ok(());
        }
        let (nth, small) = (self.ended, encoder.memory() <= SMALL_BYTES);
        self.ended += 1;
        let ended = async move { Ended { key, nth, relative, partition_values, encoded: encoder.finish().await } };
        if !small {
            let ended = ended.await;
            return self.note(ended);
        }
        self.ending.push(Box::pin(ended));
        if self.ending.len() >= ENDING_AT_ONCE
            && let Some(ended) = self.ending.next().await
        {
            self.note(ended)?;
        }
        Ok(())
    }

    /// Remembers a file that is in the store.
    fn note(&mut self, ended: Ended) -> Result<()> {
        let Ended { key, nth, relative, partition_values, encoded } = ended;
        let EncodedFile { bytes, rows, metadata, has_nan } = encoded.map_err(|error| self.encode_error(&relative, error))?;
        debug_assert_eq!(metadata.file_metadata().num_rows(), i64::try_from(rows).unwrap_or(i64::MAX));
        let stats = (self.kind == FileKind::Data).then(|| {
            let stats = statistics::collect(&metadata, &self.leaves, &self.indexed, &has_nan);
            stats.to_json(&self.layout.schema, self.layout.mode)
        });
        self.bytes += bytes;
        let add = Add {
            path: encode_path(&relative),
            partition_values,
            size: bytes,
            modification_time: self.env.now_ms(),
            data_change: self.settings.data_change,
            stats,
            ..Add::default()
        };
        self.done.entry(key).or_default().push((nth, add));
        Ok(())
    }

    /// The columns that files have, with the table's types where the encoder needs them.
    fn file_batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.file_columns.iter().enumerate().map(|(place, at)| {
            let column = self.column(batch, *at, Layouts::AnyText)?;
            let stored = self.encoding.schema.field(place).data_type();
            // Within lists, maps and structs, names in files and names of users may differ.
            if column.data_type().is_nested() && column.data_type() != stored {
                return relabel(&column, stored).map_err(|source| compute("write", self.storage.url(), source));
            }
            Ok(column)
        });
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        if self.kind == FileKind::Changes {
            columns.extend(batch.columns().last().map(Arc::clone));
        }
        let schema = passed_schema(&self.encoding.schema, &columns);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|source| compute("write", self.storage.url(), source))
    }

    fn partition_arrays(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let places = self.layout.partition_columns.iter().filter_map(|name| self.layout.schema.index_of(name));
        places.map(|at| self.column(batch, at, Layouts::Exact)).collect()
    }

    /// A column of the table, from the batch.
    fn column(&self, batch: &RecordBatch, at: usize, layouts: Layouts) -> Result<ArrayRef> {
        let field = self.layout.arrow.field(at);
        let array = match find_field(batch.schema_ref().fields(), field, FieldMatch::Name) {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some(found) => {
                let array = batch.column(found);
                if layouts == Layouts::AnyText && is_same_text(array.data_type(), field.data_type()) {
                    Arc::clone(array)
                } else {
                    let cast = |source| cast_error(self.storage.url(), array, field, source);
                    let fit = conform_field(array, field, FieldMatch::Name).map_err(cast)?;
                    if self.has_variants {
                        variant::check(&fit, field).map_err(cast)?;
                    }
                    fit
                }
            }
        };
        if !field.is_nullable()
            && let Some(nulls) = array.logical_nulls().filter(|n| n.null_count() > 0)
        {
            let row = nulls.iter().position(|valid| !valid).unwrap_or_default();
            let (url, column) = (self.storage.url().to_owned(), field.name().clone());
            let values = shown_row(batch, row).into();
            return Err(DeltaError::NullInRequiredColumn { url, column, row, values });
        }
        Ok(array)
    }

    fn encode_error(&self, path: &str, error: EncodeError) -> DeltaError {
        encode_error(self.storage.url(), path, error)
    }
}

impl std::fmt::Debug for DataWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataWriter").field("url", &self.storage.url()).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// An error of writing a file as one of the table.
pub(super) fn encode_error(url: &str, path: &str, error: EncodeError) -> DeltaError {
    let (url, path) = (url.to_owned(), path.to_owned());
    match error {
        EncodeError::Parquet(source) => DeltaError::Encode { url, path, source },
        EncodeError::Store(source) => DeltaError::Store { attempted: "write", url, path, source: Box::new(source) },
        EncodeError::Worker(source) => DeltaError::Task { url, source },
    }
}

/// Which Arrow layouts of a type will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layouts {
    /// The table's alone.
    Exact,
    /// For text and bytes, every layout: the encoder reads all of them, and a cast would copy.
    AnyText,
}

fn is_same_text(from: &ArrowType, to: &ArrowType) -> bool {
    match (from, to) {
        (ArrowType::Dictionary(_, values), _) => is_same_text(values, to),
        (ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View, ArrowType::Utf8)
        | (ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView, ArrowType::Binary) => true,
        _ => false,
    }
}

/// The file's schema with the layouts that the columns really have.
fn passed_schema(schema: &SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    if schema.fields().iter().zip(columns).all(|(f, c)| f.data_type() == c.data_type()) {
        return SchemaRef::clone(schema);
    }
    let fields = schema
        .fields()
        .iter()
        .zip(columns)
        .map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Deletes files that no commit refers to. Best effort.
pub(crate) async fn discard(storage: &Storage, adds: &[Add]) {
    let mut deletes = Vec::with_capacity(adds.len());
    for add in adds {
        let (storage, path) = (storage.clone(), add.decoded_path().map(|path| path.into_owned()));
        deletes.push(async move {
            let Ok(path) = path else { return };
            if let Err(error) = storage.delete(&path).await {
                tracing::warn!(path, %error, "an unused data file could not be deleted");
            }
        });
    }
    futures::stream::iter(deletes).buffer_unordered(8).collect::<Vec<()>>().await;
}

fn compute(attempted: &'static str, url: &str, source: arrow_schema::ArrowError) -> DeltaError {
    DeltaError::Compute { attempted, url: url.to_owned(), source }
}

fn extension(codec: CompressionCodec) -> &'static str {
    match codec {
        CompressionCodec::Uncompressed => "",
        CompressionCodec::Snappy => ".snappy",
        CompressionCodec::Gzip => ".gz",
        CompressionCodec::Lz4Raw => ".lz4raw",
        CompressionCodec::Zstd => ".zstd",
    }
}

fn writer_properties(codec: CompressionCodec) -> WriterProperties {
    let compression = match codec {
        CompressionCodec::Uncompressed => Compression::UNCOMPRESSED,
        CompressionCodec::Snappy => Compression::SNAPPY,
        CompressionCodec::Gzip => Compression::GZIP(GzipLevel::default()),
        CompressionCodec::Lz4Raw => Compression::LZ4_RAW,
        // Level 1: each higher level costs more time than the bytes it saves are worth.
        CompressionCodec::Zstd => Compression::ZSTD(ZstdLevel::default()),
    };
    WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_created_by(crate::ENGINE_INFO.to_owned())
        .build()
}
