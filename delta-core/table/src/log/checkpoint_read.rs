//! Checkpoints: the log up to a version, in one step.
//!
//! A checkpoint is one wide table: a column for each kind of action, and in each row one of them. What a table *is*
//! stands in a few rows, its files in all others. So the two are read apart: [`head`] looks at one narrow column of each
//! kind to find the few rows, [`adds`] reads the columns of files and nothing else.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, BooleanArray, MapArray, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use boathouse_delta_protocol::action::{
    Action, Add, CheckpointMetadata, DeletionVectorDescriptor, DomainMetadata, Format, Metadata, Protocol, Remove, Sidecar,
    StringMap, Txn,
};
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::files::{NewFile, Segment, SegmentBuilder};
use boathouse_delta_protocol::log_path::{
    Checkpoint, CheckpointFormat, LogFile, SIDECAR_FOLDER, checkpoint_name, checkpoint_part_name, uuid_checkpoint_name,
};
use boathouse_delta_protocol::{ProtocolError, commit};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::{FutureExt, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use tokio::sync::OnceCell;

use super::list::log_path;
use super::parsed_stats;
use crate::conform::{FieldMatch, conform};
use crate::decoder::contained;
use crate::error::{DeltaError, OnTable, Result};
use crate::scan::{ObjectReader, check_footer};

/// Files that are read at once.
const AT_ONCE: usize = 2;
/// Parts of a file that are decoded at once.
const PARTS_AT_ONCE: usize = 2;
/// A file with fewer row groups is decoded in one go.
const WORTH_PARTS: usize = 4;
/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// A file up to this size is fetched as a whole, once.
const SMALL_BYTES: u64 = 2 << 20;

/// A file of a checkpoint, or one of its sidecars.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointFile {
    version: u64,
    /// Relative to the table.
    path: String,
    json: bool,
    size_bytes: u64,
    /// What is in it, once a small one was read.
    whole: Arc<OnceCell<Bytes>>,
}

/// The files of a checkpoint, with their sizes.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointFiles {
    pub(crate) name: Checkpoint,
    files: Vec<CheckpointFile>,
}

impl CheckpointFiles {
    /// The version.
    pub(crate) fn version(&self) -> u64 {
        self.name.version
    }

    /// Looks up the sizes in a listing.
    pub(crate) fn new(name: Checkpoint, size_of: impl Fn(&LogFile) -> u64) -> Self {
        let version = name.version;
        let file = |file: &LogFile| {
            let (name, json) = file_name(file)?;
            Some(CheckpointFile::new(version, log_path(&name), json, size_of(file)))
        };
        let files = name.files.iter().filter_map(file).collect();
        Self { name, files }
    }
}

impl CheckpointFile {
    fn new(version: u64, path: String, json: bool, size_bytes: u64) -> Self {
        Self { version, path, json, size_bytes, whole: Arc::default() }
    }

    fn is_small(&self) -> bool {
        self.json || self.size_bytes <= SMALL_BYTES
    }

    /// All bytes of a small file.
    async fn whole(&self, storage: &Storage) -> Result<Bytes> {
        Ok(self.whole.get_or_try_init(|| storage.get(&self.path)).await?.clone())
    }
}

/// Where the Parquet reader finds the bytes.
#[derive(Debug, Clone)]
enum Reader {
    Whole(Bytes),
    Object(ObjectReader),
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        match self {
            Self::Whole(bytes) => ready(slice(bytes, range)).boxed(),
            Self::Object(reader) => reader.get_bytes(range),
        }
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        match self {
            Self::Whole(bytes) => ready(ranges.into_iter().map(|range| slice(bytes, range)).collect()).boxed(),
            Self::Object(reader) => reader.get_byte_ranges(ranges),
        }
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        match self {
            Self::Whole(bytes) => {
                let read = ParquetMetaDataReader::new().with_arrow_reader_options(options).parse_and_finish(bytes);
                let checked = read.and_then(|metadata| {
                    check_footer(&metadata, bytes.len() as u64)?;
                    Ok(Arc::new(metadata))
                });
                ready(checked).boxed()
            }
            Self::Object(reader) => reader.get_metadata(options),
        }
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Result<Bytes, ParquetError> {
    let at = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
    match (at(range.start), at(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(bytes.slice(start..end)),
        _ => Err(ParquetError::EOF(format!("bytes {range:?} of a file of {}", bytes.len()))),
    }
}

/// What is read of the files in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// Everything.
    All,
    /// Everything but statistics, which are most of it.
    WithoutStats,
}

impl Columns {
    fn builder(self) -> SegmentBuilder {
        match self {
            Self::All => SegmentBuilder::with_stats(),
            Self::WithoutStats => SegmentBuilder::without_stats(),
        }
    }
}

/// Everything in a checkpoint but files: protocol, metadata, txns, domains, sidecars.
///
/// **Cost**: the footer of each file, and of few columns as much as it takes to find the few rows.
pub(crate) async fn head(storage: &Storage, checkpoint: &CheckpointFiles) -> Result<Vec<Action>> {
    let version = checkpoint.name.version;
    let files: Vec<_> = checkpoint.files.iter().map(|file| head_of(storage, file)).collect();
    let actions: Vec<Vec<Action>> = futures::stream::iter(files).buffered(AT_ONCE).try_collect().await?;
    let actions: Vec<Action> = actions.into_iter().flatten().collect();
    // A checkpoint that was cut off in a lucky place lacks what every table has.
    for name in ["protocol", "metaData"] {
        if !actions.iter().any(|action| action.name() == name) {
            return Err(ProtocolError::MissingAction { version, action: name }).on(storage.url());
        }
    }
    Ok(actions)
}

/// The files of a checkpoint that hold file actions: its own, and its sidecars.
pub(crate) async fn files(storage: &Storage, checkpoint: &CheckpointFiles) -> Result<Vec<CheckpointFile>> {
    let version = checkpoint.name.version;
    let mut files = checkpoint.files.clone();
    for action in head(storage, checkpoint).await? {
        let Action::Sidecar(sidecar) = action else { continue };
        let path = sidecar.decoded_path().on(storage.url())?.into_owned();
        let path = if path.contains('/') { path } else { log_path(&format!("{SIDECAR_FOLDER}/{path}")) };
        files.push(CheckpointFile::new(version, path, false, sidecar.size_in_bytes));
    }
    Ok(files)
}

/// The active files in a file of a checkpoint.
pub(crate) async fn adds(storage: &Storage, file: &CheckpointFile, columns: Columns) -> Result<Vec<Arc<Segment>>> {
    contained(read_adds(storage, file, columns), |source| corrupt(storage, file, source)).await
}

async fn read_adds(storage: &Storage, file: &CheckpointFile, columns: Columns) -> Result<Vec<Arc<Segment>>> {
    // Of a small file there is nothing to save.
    let columns = if file.is_small() { Columns::All } else { columns };
    if file.json {
        let mut builder = columns.builder();
        for action in json(storage, file).await? {
            if let Action::Add(add) = action {
                builder.push((&add).into());
            }
        }
        return Ok(builder.finish());
    }
    let (reader, metadata) = open(storage, file).await?;
    let leaves = leaves(&metadata, |group, column| {
        group == "add"
            && column != Some("dataChange")
            && (columns == Columns::All || !column.is_some_and(|c| c.starts_with("stats")))
    });
    let failed = |source| corrupt(storage, file, source);
    let groups = metadata.num_row_groups();
    if groups < WORTH_PARTS {
        let batches = rows(reader, &metadata, leaves, Rows::All).map_err(failed)?;
        return decode_adds(batches, columns).await.map_err(failed);
    }
    // Neighbouring row groups, side by side with others, each on a thread of its own.
    let part = groups.div_ceil(PARTS_AT_ONCE);
    let parts = (0..groups).step_by(part).map(|start| start..groups.min(start + part));
    let decoded = parts.map(|part| {
        let batches = rows(reader.clone(), &metadata, leaves.clone(), Rows::Groups(part));
        tokio::spawn(contained(async move { decode_adds(batches?, columns).await }, |source| source))
    });
    let mut segments = Vec::new();
    for decoded in futures::future::join_all(decoded).await {
        let decoded = decoded.map_err(|source| DeltaError::Task { url: storage.url().to_owned(), source })?;
        segments.extend(decoded.map_err(failed)?);
    }
    Ok(segments)
}

async fn decode_adds(mut batches: Batches, columns: Columns) -> Result<Vec<Arc<Segment>>, ParquetError> {
    let (wanted, mut builder) = (schema(), columns.builder());
    while let Some(batch) = batches.try_next().await? {
        push_adds(&batch, &wanted, &mut builder)?;
    }
    Ok(builder.finish())
}

/// The removed files in a file of a checkpoint.
pub(crate) async fn removes(storage: &Storage, file: &CheckpointFile) -> Result<Vec<Action>> {
    if file.json {
        let actions = json(storage, file).await?;
        return Ok(actions.into_iter().filter(|action| matches!(action, Action::Remove(_))).collect());
    }
    read_actions(storage, file, &["remove"]).await
}

fn file_name(file: &LogFile) -> Option<(String, bool)> {
    match file {
        LogFile::Checkpoint { version } => Some((checkpoint_name(*version), false)),
        LogFile::CheckpointPart { version, part, parts } => Some((checkpoint_part_name(*version, *part, *parts), false)),
        LogFile::UuidCheckpoint { version, uuid, format } => {
            Some((uuid_checkpoint_name(*version, uuid, *format), *format == CheckpointFormat::Json))
        }
        _ => None,
    }
}

async fn json(storage: &Storage, file: &CheckpointFile) -> Result<Vec<Action>> {
    let bytes = file.whole(storage).await?;
    commit::parse(file.version, &bytes).on(storage.url())
}

/// Kinds of actions that stand in few rows.
const HEAD: &[&str] = &["protocol", "metaData", "txn", "domainMetadata", "sidecar", "checkpointMetadata"];

async fn head_of(storage: &Storage, file: &CheckpointFile) -> Result<Vec<Action>> {
    if file.json {
        let actions = json(storage, file).await?;
        return Ok(actions.into_iter().filter(|a| !matches!(a, Action::Add(_) | Action::Remove(_))).collect());
    }
    read_actions(storage, file, HEAD).await
}

/// The actions of some kinds, found by one narrow column of each.
async fn read_actions(storage: &Storage, file: &CheckpointFile, kinds: &[&str]) -> Result<Vec<Action>> {
    contained(read_rows(storage, file, kinds), |source| corrupt(storage, file, source)).await
}

async fn read_rows(storage: &Storage, file: &CheckpointFile, kinds: &[&str]) -> Result<Vec<Action>> {
    let (reader, metadata) = open(storage, file).await?;
    let failed = |source| corrupt(storage, file, source);
    let present = |group: &str| kinds.contains(&group);
    // The first column that is not a list tells whether a row has the action.
    let keys = ["minReaderVersion", "id", "appId", "domain", "path", "version"];
    let narrow = leaves(&metadata, |group, column| present(group) && column.is_some_and(|c| keys.contains(&c)));
    if narrow.is_empty() {
        return Ok(Vec::new());
    }
    let mut filter = Vec::new();
    let mut batches = rows(reader.clone(), &metadata, narrow, Rows::All).map_err(failed)?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let groups: Vec<&StructArray> = batch.columns().iter().filter_map(|column| column.as_struct_opt()).collect();
        filter.push(BooleanArray::from_iter((0..batch.num_rows()).map(|row| Some(groups.iter().any(|g| g.is_valid(row))))));
    }
    let selection = RowSelection::from_filters(&filter);
    let wide = leaves(&metadata, |group, _| present(group));
    let mut batches = rows(reader, &metadata, wide, Rows::Selected(selection)).map_err(failed)?;
    let wanted = schema();
    let mut actions = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        push_actions(&batch, &wanted, &mut actions).map_err(failed)?;
    }
    Ok(actions)
}

fn corrupt(storage: &Storage, file: &CheckpointFile, source: ParquetError) -> DeltaError {
    let (url, path) = (storage.url().to_owned(), file.path.clone());
    match source {
        ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
            Ok(error) => DeltaError::Store { attempted: "read", url, path, source: error },
            Err(inner) => DeltaError::CorruptFile { url, path, source: ParquetError::External(inner) },
        },
        source => DeltaError::CorruptFile { url, path, source },
    }
}

async fn open(storage: &Storage, file: &CheckpointFile) -> Result<(Reader, Arc<ParquetMetaData>)> {
    let mut reader = if file.is_small() {
        Reader::Whole(file.whole(storage).await?)
    } else {
        let object = storage.path_of(&file.path)?;
        Reader::Object(ObjectReader::new(Arc::clone(storage.object_store()), object, file.size_bytes))
    };
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = reader.get_metadata(Some(&options)).await.map_err(|source| corrupt(storage, file, source))?;
    Ok((reader, metadata))
}

/// Leaf columns by group and the group's column (`None` for odd shapes), without those that are null in every row.
fn leaves(metadata: &ParquetMetaData, wanted: impl Fn(&str, Option<&str>) -> bool) -> Vec<usize> {
    let schema = metadata.file_metadata().schema_descr();
    let all_null = |leaf: usize| {
        metadata.row_groups().iter().all(|group| {
            let column = group.column(leaf);
            let nulls = column.statistics().and_then(Statistics::null_count_opt);
            nulls.is_some_and(|nulls| u64::try_from(column.num_values()).is_ok_and(|values| nulls >= values))
        })
    };
    // Of the entries of a map, keys and values are read together: `add.partitionValues.key_value.value` may be null everywhere.
    let of_one_entry = |a: usize, b: usize| {
        let (a, b) = (schema.column(a), schema.column(b));
        let (a, b) = (a.path().parts(), b.path().parts());
        a.len() > 3 && a.len() == b.len() && a[..a.len() - 1] == b[..b.len() - 1]
    };
    let beside = |leaf: usize| [leaf.checked_sub(1), Some(leaf + 1).filter(|next| *next < schema.num_columns())];
    let is_needed = |leaf: usize| {
        !all_null(leaf) || beside(leaf).into_iter().flatten().any(|other| of_one_entry(leaf, other) && !all_null(other))
    };
    let kept = |leaf: &usize| {
        let path = schema.column(*leaf);
        let parts = path.path().parts();
        let group = parts.first().map_or("", String::as_str);
        wanted(group, parts.get(1).map(String::as_str)) && is_needed(*leaf)
    };
    (0..schema.num_columns()).filter(kept).collect()
}

type Batches = parquet::arrow::async_reader::ParquetRecordBatchStream<Reader>;

/// Which rows of a file.
enum Rows {
    All,
    Groups(Range<usize>),
    Selected(RowSelection),
}

fn rows(reader: Reader, metadata: &Arc<ParquetMetaData>, leaves: Vec<usize>, which: Rows) -> Result<Batches, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let arrow = ArrowReaderMetadata::try_new(Arc::clone(metadata), options)?;
    let mask = ProjectionMask::leaves(metadata.file_metadata().schema_descr(), leaves);
    let builder =
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader, arrow).with_projection(mask).with_batch_size(BATCH_ROWS);
    match which {
        Rows::All => builder.build(),
        Rows::Groups(groups) => builder.with_row_groups(groups.collect()).build(),
        Rows::Selected(selection) => builder.with_row_selection(selection).build(),
    }
}

/// The columns of a checkpoint that are read, and written.
pub(crate) fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let bool = |name: &str| Field::new(name, DataType::Boolean, true);
    let map = |name: &str| {
        let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
        let entries = Field::new("key_value", DataType::Struct(entries.into()), false);
        Field::new(name, DataType::Map(Arc::new(entries), false), true)
    };
    let list = |name: &str| Field::new(name, DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true);
    let group = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let vector = || {
        let fields = vec![text("storageType"), text("pathOrInlineDv"), int("offset"), int("sizeInBytes"), long("cardinality")];
        group("deletionVector", fields)
    };
    Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                bool("dataChange"),
                text("stats"),
                map("tags"),
                vector(),
                long("baseRowId"),
                long("defaultRowCommitVersion"),
                text("clusteringProvider"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                bool("dataChange"),
                bool("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
                vector(),
                long("baseRowId"),
                long("defaultRowCommitVersion"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group("protocol", vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")]),
        group("domainMetadata", vec![text("domain"), text("configuration"), bool("removed")]),
        group("checkpointMetadata", vec![long("version"), map("tags")]),
        group("sidecar", vec![text("path"), long("sizeInBytes"), long("modificationTime"), map("tags")]),
    ])
}

/// The files of a batch, borrowed from its columns.
fn push_adds(batch: &RecordBatch, schema: &Schema, builder: &mut SegmentBuilder) -> Result<(), ParquetError> {
    let (Some(column), Ok(field)) = (batch.column_by_name("add"), schema.field_with_name("add")) else { return Ok(()) };
    let parsed = column.as_struct_opt().and_then(|add| add.column_by_name("stats_parsed")).cloned();
    let column = conform(column, field.data_type(), FieldMatch::Name)?;
    let Some(group) = column.as_struct_opt() else { return Ok(()) };
    let texts = |name: &str| group.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let longs = |name: &str| group.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let maps = |name: &str| group.column_by_name(name).and_then(|c| c.as_map_opt());
    let (paths, stats, provider) = (texts("path"), texts("stats"), texts("clusteringProvider"));
    let (sizes, times) = (longs("size"), longs("modificationTime"));
    let (row_ids, row_versions) = (longs("baseRowId"), longs("defaultRowCommitVersion"));
    let (partitions, tags) = (maps("partitionValues"), maps("tags"));
    let has_vectors = group.column_by_name("deletionVector").is_some_and(|c| c.null_count() < c.len());
    let text = |column: Option<&'_ StringArray>, row: usize| column.filter(|c| c.is_valid(row)).map(|c| c.value(row).to_owned());
    let long = |column: Option<&arrow_array::Int64Array>, row: usize| column.filter(|c| c.is_valid(row)).map(|c| c.value(row));
    let mut partition_values = Vec::new();
    for row in (0..group.len()).filter(|row| group.is_valid(*row)) {
        let line = Row { group, row };
        let path = paths.filter(|c| c.is_valid(row)).map(|c| c.value(row)).ok_or_else(|| missing("path"))?;
        let size = long(sizes, row).unwrap_or_default();
        let size =
            u64::try_from(size).map_err(|_| ParquetError::General(format!("an action of the checkpoint has `size` {size}")))?;
        partition_values.clear();
        if let Some(map) = partitions {
            entries(map, row, &mut partition_values);
        }
        let stats = match stats.filter(|c| c.is_valid(row)) {
            Some(stats) => Some(Cow::Borrowed(stats.value(row))),
            None => parsed.as_ref().and_then(|parsed| parsed_stats::to_json(parsed, row)).map(Cow::Owned),
        };
        builder.push(NewFile {
            path: Cow::Borrowed(path),
            partition_values: std::mem::take(&mut partition_values),
            size,
            modification_time: long(times, row).unwrap_or_default(),
            data_change: false,
            stats,
            tags: tags.filter(|map| map.is_valid(row)).and_then(|_| line.map("tags")),
            deletion_vector: if has_vectors { line.vector()? } else { None },
            base_row_id: long(row_ids, row),
            default_row_commit_version: long(row_versions, row),
            clustering_provider: text(provider, row),
        });
    }
    Ok(())
}

fn entries<'a>(map: &'a MapArray, row: usize, into: &mut Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>) {
    if map.is_null(row) {
        return;
    }
    let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>()) else { return };
    let offsets = map.value_offsets();
    let (Ok(start), Ok(end)) = (usize::try_from(offsets[row]), usize::try_from(offsets[row + 1])) else { return };
    for at in start..end {
        into.push((Cow::Borrowed(keys.value(at)), values.is_valid(at).then(|| Cow::Borrowed(values.value(at)))));
    }
}

fn missing(name: &str) -> ParquetError {
    ParquetError::General(format!("an action of the checkpoint has no `{name}`"))
}

fn push_actions(batch: &RecordBatch, schema: &Schema, actions: &mut Vec<Action>) -> Result<(), ParquetError> {
    for field in schema.fields() {
        let Some(column) = batch.column_by_name(field.name()) else { continue };
        let column = conform(column, field.data_type(), FieldMatch::Name)?;
        let Some(group) = column.as_struct_opt() else { continue };
        for row in (0..group.len()).filter(|row| group.is_valid(*row)) {
            if let Some(action) = action(field.name(), &Row { group, row })? {
                actions.push(action);
            }
        }
    }
    Ok(())
}

fn action(name: &str, row: &Row<'_>) -> Result<Option<Action>, ParquetError> {
    Ok(Some(match name {
        "txn" => Txn {
            app_id: row.required("appId")?,
            version: row.long("version").unwrap_or_default(),
            last_updated: row.long("lastUpdated"),
        }
        .into(),
        "add" => Add {
            path: row.required("path")?,
            partition_values: row.map("partitionValues").unwrap_or_default(),
            size: row.size("size")?.unwrap_or_default(),
            modification_time: row.long("modificationTime").unwrap_or_default(),
            data_change: row.bool("dataChange").unwrap_or_default(),
            stats: row.text("stats"),
            tags: row.map("tags"),
            deletion_vector: row.vector()?,
            base_row_id: row.long("baseRowId"),
            default_row_commit_version: row.long("defaultRowCommitVersion"),
            clustering_provider: row.text("clusteringProvider"),
        }
        .into(),
        "remove" => Remove {
            path: row.required("path")?,
            deletion_timestamp: row.long("deletionTimestamp"),
            data_change: row.bool("dataChange").unwrap_or_default(),
            extended_file_metadata: row.bool("extendedFileMetadata"),
            partition_values: row.map("partitionValues"),
            size: row.size("size")?,
            deletion_vector: row.vector()?,
            base_row_id: row.long("baseRowId"),
            default_row_commit_version: row.long("defaultRowCommitVersion"),
            ..Remove::default()
        }
        .into(),
        "metaData" => Metadata {
            id: row.required("id")?,
            name: row.text("name"),
            description: row.text("description"),
            format: row.group("format").map_or_else(Format::default, |format| Format {
                provider: format.text("provider").unwrap_or_else(|| "parquet".to_owned()),
                options: present(format.map("options")),
            }),
            schema_string: row.required("schemaString")?,
            partition_columns: row.list("partitionColumns").unwrap_or_default(),
            created_time: row.long("createdTime"),
            configuration: present(row.map("configuration")),
        }
        .into(),
        "protocol" => Protocol {
            min_reader_version: row.int("minReaderVersion").unwrap_or(1),
            min_writer_version: row.int("minWriterVersion").unwrap_or(1),
            reader_features: row.list("readerFeatures"),
            writer_features: row.list("writerFeatures"),
        }
        .into(),
        "domainMetadata" => DomainMetadata {
            domain: row.required("domain")?,
            configuration: row.text("configuration").unwrap_or_default(),
            removed: row.bool("removed").unwrap_or_default(),
        }
        .into(),
        "checkpointMetadata" => {
            CheckpointMetadata { version: row.size("version")?.unwrap_or_default(), tags: row.map("tags") }.into()
        }
        "sidecar" => Sidecar {
            path: row.required("path")?,
            size_in_bytes: row.size("sizeInBytes")?.unwrap_or_default(),
            modification_time: row.long("modificationTime").unwrap_or_default(),
            tags: row.map("tags"),
        }
        .into(),
        _ => return Ok(None),
    }))
}

fn present(map: Option<StringMap>) -> std::collections::BTreeMap<String, String> {
    let map = map.unwrap_or_default();
    map.iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect()
}

/// A row of a column of structs, whose columns have the types of [`schema`].
struct Row<'a> {
    group: &'a StructArray,
    row: usize,
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Option<&'a dyn Array> {
        let column = self.group.column_by_name(name)?.as_ref();
        column.is_valid(self.row).then_some(column)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.column(name)?.as_string_opt::<i32>().map(|a| a.value(self.row).to_owned())
    }

    fn required(&self, name: &str) -> Result<String, ParquetError> {
        self.text(name).ok_or_else(|| missing(name))
    }

    fn long(&self, name: &str) -> Option<i64> {
        self.column(name)?.as_primitive_opt::<Int64Type>().map(|a| a.value(self.row))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, ParquetError> {
        let negative = |v: i64| ParquetError::General(format!("an action of the checkpoint has `{name}` {v}"));
        self.long(name).map(|v| u64::try_from(v).map_err(|_| negative(v))).transpose()
    }

    fn int(&self, name: &str) -> Option<i32> {
        self.column(name)?.as_primitive_opt::<Int32Type>().map(|a| a.value(self.row))
    }

    fn bool(&self, name: &str) -> Option<bool> {
        self.column(name)?.as_boolean_opt().map(|a| a.value(self.row))
    }

    fn group(&self, name: &str) -> Option<Row<'a>> {
        let group = self.column(name)?.as_struct_opt()?;
        Some(Row { group, row: self.row })
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        let values = self.column(name)?.as_list_opt::<i32>()?.value(self.row);
        Some(values.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
    }

    fn map(&self, name: &str) -> Option<StringMap> {
        let entries = self.column(name)?.as_map_opt()?.value(self.row);
        let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
        Some(keys.iter().zip(values).filter_map(|(key, value)| Some((key?, value))).collect())
    }

    fn vector(&self) -> Result<Option<Box<DeletionVectorDescriptor>>, ParquetError> {
        let Some(vector) = self.group("deletionVector") else { return Ok(None) };
        let Some(letter) = vector.text("storageType") else { return Ok(None) };
        let general = |what: String| ParquetError::General(format!("a deletion vector of the checkpoint has {what}"));
        let number = |name: &str, value: Option<i32>| {
            value.map(|v| u32::try_from(v).map_err(|_| general(format!("`{name}` {v}")))).transpose()
        };
        Ok(Some(Box::new(DeletionVectorDescriptor {
            storage_type: StorageType::from_letter(&letter).ok_or_else(|| general(format!("the storage type `{letter}`")))?,
            path_or_inline_dv: vector.required("pathOrInlineDv")?,
            offset: number("offset", vector.int("offset"))?,
            size_in_bytes: number("sizeInBytes", vector.int("sizeInBytes"))?.unwrap_or_default(),
            cardinality: vector.size("cardinality")?.unwrap_or_default(),
        })))
    }
}
