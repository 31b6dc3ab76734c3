//! Checkpoints: the log up to a version, in one step.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use boathouse_delta_protocol::action::{
    Action, Add, CheckpointMetadata, DeletionVectorDescriptor, DomainMetadata, Format, Metadata, Protocol, Remove, Sidecar,
    StringMap, Txn,
};
use boathouse_delta_protocol::deletion_vector::StorageType;
use boathouse_delta_protocol::log_path::{
    Checkpoint, CheckpointFormat, LogFile, SIDECAR_FOLDER, checkpoint_name, checkpoint_part_name, uuid_checkpoint_name,
};
use boathouse_delta_protocol::replay::Replay;
use boathouse_delta_protocol::{ProtocolError, commit};
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::list::log_path;
use crate::conform::{FieldMatch, conform};
use crate::error::{DeltaError, OnTable, Result};

/// Files that are fetched at once.
const AT_ONCE: usize = 4;

/// Reads all files of a checkpoint, and the sidecars that they name.
pub(crate) async fn read_checkpoint(storage: &Storage, checkpoint: &Checkpoint) -> Result<Replay> {
    let version = checkpoint.version;
    let mut replay = Replay::from_checkpoint(version);
    let mut sidecars = Vec::new();
    let (mut protocol, mut metadata) = (false, false);
    let names: Vec<(String, bool)> = checkpoint.files.iter().filter_map(file_name).collect();
    let files: Vec<_> = names.into_iter().map(|(name, json)| read_file(storage, log_path(&name), version, json)).collect();
    let mut files = std::pin::pin!(futures::stream::iter(files).buffered(AT_ONCE));
    while let Some(actions) = files.try_next().await? {
        for action in &actions {
            match action {
                Action::Sidecar(sidecar) => sidecars.push(sidecar.clone()),
                Action::Protocol(_) => protocol = true,
                Action::Metadata(_) => metadata = true,
                _ => {}
            }
        }
        replay.apply_checkpoint(actions).on(storage.url())?;
    }
    // A checkpoint that was cut off in a lucky place lacks what every table has.
    for (found, action) in [(protocol, "protocol"), (metadata, "metaData")] {
        if !found {
            return Err(ProtocolError::MissingAction { version, action }).on(storage.url());
        }
    }
    let paths = sidecars.iter().map(|sidecar| {
        let path = sidecar.decoded_path().on(storage.url())?.into_owned();
        Ok(if path.contains('/') { path } else { log_path(&format!("{SIDECAR_FOLDER}/{path}")) })
    });
    let paths = paths.collect::<Result<Vec<_>>>()?;
    let files: Vec<_> = paths.into_iter().map(|path| read_file(storage, path, version, false)).collect();
    let mut files = std::pin::pin!(futures::stream::iter(files).buffered(AT_ONCE));
    while let Some(actions) = files.try_next().await? {
        replay.apply_checkpoint(actions).on(storage.url())?;
    }
    Ok(replay)
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

async fn read_file(storage: &Storage, path: String, version: u64, json: bool) -> Result<Vec<Action>> {
    let bytes = storage.get(&path).await?;
    if json {
        return commit::parse(version, &bytes).on(storage.url());
    }
    let url = storage.url().to_owned();
    let decoded = tokio::task::spawn_blocking(move || decode(bytes)).await;
    let decoded = decoded.map_err(|source| DeltaError::Task { url: url.clone(), source })?;
    decoded.map_err(|source| DeltaError::CorruptFile { url, path, source })
}

/// The actions of a Parquet file of a checkpoint.
fn decode(bytes: Bytes) -> Result<Vec<Action>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let wanted = schema();
    let roots = builder.parquet_schema().root_schema().get_fields();
    let mut columns = Vec::new();
    for root in roots {
        let Ok(field) = wanted.field_with_name(root.name()) else { continue };
        // Parsed statistics and partition values repeat what stands there as text.
        let DataType::Struct(fields) = field.data_type() else { continue };
        columns.extend(fields.iter().map(|f| format!("{}.{}", root.name(), f.name())));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
    let mut actions = Vec::new();
    for batch in builder.with_projection(mask).with_batch_size(8192).build()? {
        rows(&batch?, &wanted, &mut actions)?;
    }
    Ok(actions)
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

fn rows(batch: &RecordBatch, schema: &Schema, actions: &mut Vec<Action>) -> Result<(), ParquetError> {
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
        self.text(name).ok_or_else(|| ParquetError::General(format!("an action of the checkpoint has no `{name}`")))
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
