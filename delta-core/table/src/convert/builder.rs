//! The builder of a conversion, and its steps in order.

use std::collections::BTreeMap;

use arrow_schema::{Field, Schema};
use boathouse_delta_protocol::action::{Add, StringMap, encode_path};
use boathouse_delta_protocol::partition;
use boathouse_delta_protocol::properties::TableProperties;
use boathouse_delta_protocol::schema::{ColumnMappingMode, PrimitiveType, StructField, StructType};
use boathouse_delta_protocol::stats::{FileStats, indexed_columns};
use boathouse_storage::ObjectEntry;
use futures::{StreamExt, TryStreamExt};

use super::footers::{self, Footer};
use super::partitions;
use crate::create::new_table;
use crate::error::{ConvertProblem, DeltaError, OnTable, Result};
use crate::table::DeltaTable;
use crate::transaction::Transaction;

/// Footers that are read at once.
const AT_ONCE: usize = 16;

/// Whether files of a converted table get statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConvertStatistics {
    /// From their footers: rows, bounds, nulls. Of floats there are no bounds: no footer says whether there are NaNs.
    #[default]
    FromFooters,
    /// None: queries look into every file.
    None,
}

/// Makes a table of the Parquet files in its folder. Made by [`DeltaTable::convert_parquet`].
///
/// Files and folders whose names begin with `_` or `.` are left alone, except folders of a partition column. All other files must be
/// Parquet. Columns have the types of the files, and may be null; a file may lack columns, and have narrower numbers. Values in the names
/// of folders, `day=2024-01-01/`, become partition columns.
///
/// # Example
/// ```
/// # use boathouse_delta_table::{DeltaError, DeltaTable};
/// # use boathouse_storage::{Storage, system_env};
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// # use parquet::arrow::ArrowWriter;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let storage = Storage::memory();
/// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap();
/// # let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
/// # writer.write(&batch).unwrap();
/// storage.put("day=2024-01-01/f.parquet", writer.into_inner().unwrap()).await?;
/// let table = DeltaTable::at(storage, system_env());
/// let report = table.convert_parquet().run().await?;
/// assert_eq!((report.version, report.files, report.rows), (0, 1, 2));
/// assert_eq!(table.snapshot().await?.partition_columns(), ["day"]);
/// # Ok::<_, DeltaError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is converted before `run`"]
pub struct ConvertBuilder {
    table: DeltaTable,
    partition_columns: Option<Vec<Field>>,
    statistics: ConvertStatistics,
    properties: BTreeMap<String, String>,
    name: Option<String>,
    description: Option<String>,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertReport {
    /// The version of the table: 0.
    pub version: u64,
    /// Files of the table.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

/// A file of the folder.
struct Found {
    entry: ObjectEntry,
    values: Vec<(String, Option<String>)>,
    footer: Footer,
}

impl ConvertBuilder {
    pub(crate) fn new(table: DeltaTable) -> Self {
        Self {
            table,
            partition_columns: None,
            statistics: ConvertStatistics::default(),
            properties: BTreeMap::new(),
            name: None,
            description: None,
        }
    }

    /// Says which columns the names of folders are about, and of which types. Without it, both are inferred: integer, long, double, date
    /// and string are told apart.
    pub fn partitioned_by(mut self, columns: impl IntoIterator<Item = Field>) -> Self {
        self.partition_columns = Some(columns.into_iter().collect());
        self
    }

    /// Takes statistics from footers, or none.
    pub fn statistics(mut self, statistics: ConvertStatistics) -> Self {
        self.statistics = statistics;
        self
    }

    /// Sets a property.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Names the table.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Describes the table.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Converts. The folder is a table afterwards, or as it was.
    ///
    /// **Errors**: `AlreadyExists` when it is a table; `NotFound` without a Parquet file; `Corrupt` names the file that is none;
    /// `Invalid` names the file whose folders or columns do not fit those of the others.
    ///
    /// **Cost**: a LIST of the folder; the footer of each file; one commit, which names all files.
    pub async fn run(self) -> Result<ConvertReport> {
        let table = self.table.clone();
        let (storage, url) = (table.storage(), table.url());
        if let Some(found) = table.try_snapshot().await? {
            return Err(DeltaError::TableExists { url: url.to_owned(), version: found.version() });
        }
        let declared: Vec<&str> = self.partition_columns.iter().flatten().map(|field| field.name().as_str()).collect();
        let problem = |problem| DeltaError::CannotConvert { url: url.to_owned(), problem };
        let entries: Vec<ObjectEntry> = storage
            .list("")
            .await?
            .into_iter()
            // Some stores show folders as empty objects.
            .filter(|entry| entry.size_bytes > 0 && !is_hidden(&entry.path, &declared))
            .collect();
        let read = |entry: ObjectEntry| async move {
            let footer = footers::read(storage, &entry).await?;
            Ok::<_, DeltaError>(Found { values: partitions::of_path(&entry.path), entry, footer })
        };
        let reading: Vec<_> = entries.into_iter().map(read).collect();
        let files: Vec<Found> = futures::stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        let Some(first) = files.first() else { return Err(problem(ConvertProblem::NoFiles)) };
        let names: Vec<String> = first.values.iter().map(|(column, _)| column.clone()).collect();
        for file in &files {
            let found: Vec<&str> = file.values.iter().map(|(column, _)| column.as_str()).collect();
            if found != names {
                return Err(problem(ConvertProblem::OtherFolders {
                    path: file.entry.path.clone(),
                    found: found.join(", "),
                    expected: names.join(", "),
                }));
            }
        }
        let partition_columns = self.partition_fields(&names, &files, &problem)?;
        let schema = merged(url, &files, &partition_columns)?;
        if TableProperties::parse(&self.properties).on(url)?.column_mapping_mode != ColumnMappingMode::None {
            return Err(problem(ConvertProblem::ColumnMapping));
        }
        let partition_names: Vec<String> = partition_columns.iter().map(|field| field.name.clone()).collect();
        let (protocol, metadata) =
            new_table(&table, schema, &partition_names, &self.properties, self.name.clone(), self.description.clone())?;
        let (schema, properties) = (metadata.schema().on(url)?, metadata.properties().on(url)?);
        let indexed = indexed_columns(&schema, &partition_names, &properties).on(url)?;
        let mut adds = Vec::with_capacity(files.len());
        let (mut bytes, mut rows) = (0_u64, 0_u64);
        for file in &files {
            let mut partition_values = StringMap::new();
            for (field, (_, text)) in partition_columns.iter().zip(&file.values) {
                let primitive = field.data_type.as_primitive().unwrap_or(PrimitiveType::String);
                let value = partition::parse(&field.name, primitive, text.as_deref()).on(url)?;
                partition_values.insert(&field.name, partition::format(&field.name, primitive, &value).on(url)?);
            }
            let stats = match self.statistics {
                ConvertStatistics::None => None,
                ConvertStatistics::FromFooters => Some(file.footer.stats(&schema, &indexed)),
            };
            adds.push(Add {
                path: encode_path(&file.entry.path),
                partition_values,
                size: file.entry.size_bytes,
                modification_time: file.entry.modified_us.div_euclid(1000),
                data_change: true,
                stats: stats.map(|stats: FileStats| stats.to_json(&schema, ColumnMappingMode::None)),
                ..Add::default()
            });
            bytes = bytes.saturating_add(file.entry.size_bytes);
            rows = rows.saturating_add(file.footer.rows);
        }
        let files = adds.len() as u64;
        let collected = self.statistics == ConvertStatistics::FromFooters;
        let report = Transaction::create(table.clone(), protocol, metadata)
            .add_all(adds)
            .operation(
                "CONVERT",
                [
                    ("numFiles", files.to_string()),
                    ("partitionedBy", serde_json::Value::from(partition_names).to_string()),
                    ("collectStats", collected.to_string()),
                    ("sourceFormat", "parquet".to_owned()),
                ],
            )
            .metrics([("numConvertedFiles", files)])
            .commit()
            .await?;
        Ok(ConvertReport { version: report.version, files, bytes, rows })
    }

    /// The partition columns, by the names of folders: as they were declared, or inferred.
    fn partition_fields(
        &self,
        names: &[String],
        files: &[Found],
        problem: &impl Fn(ConvertProblem) -> DeltaError,
    ) -> Result<Vec<StructField>> {
        let Some(declared) = &self.partition_columns else {
            let infer = |(at, name): (usize, &String)| {
                let values = files.iter().filter_map(move |file| file.values.get(at)?.1.as_deref());
                StructField::nullable(name.clone(), partitions::infer(values))
            };
            return Ok(names.iter().enumerate().map(infer).collect());
        };
        let same = declared.len() == names.len()
            && declared.iter().zip(names).all(|(field, name)| field.name().to_lowercase() == name.to_lowercase());
        if !same {
            let list = |names: Vec<&str>| names.join(", ");
            return Err(problem(ConvertProblem::OtherPartitions {
                declared: list(declared.iter().map(|field| field.name().as_str()).collect()),
                found: list(names.iter().map(String::as_str).collect()),
            }));
        }
        let fields = StructType::from_arrow(&Schema::new(declared.clone())).on(self.table.url())?.as_data().fields;
        Ok(fields.into_iter().map(|field| StructField { nullable: true, ..field }).collect())
    }
}

/// Whether a path is hidden by its name. A folder of values is not, even of a column that begins with `_`, if it was declared.
fn is_hidden(path: &str, declared: &[&str]) -> bool {
    path.split('/').any(|part| {
        let is_declared = part.split_once('=').is_some_and(|(column, _)| declared.contains(&column));
        part.starts_with(['_', '.']) && !is_declared
    })
}

/// One schema that all files fit; then the partition columns. Folders know better than files what their columns are.
fn merged(url: &str, files: &[Found], partition_columns: &[StructField]) -> Result<StructType> {
    let is_partition =
        |field: &StructField| partition_columns.iter().any(|column| column.name.to_lowercase() == field.name.to_lowercase());
    let mut schema: Option<StructType> = None;
    for file in files {
        let data = StructType::new(file.footer.schema.fields.iter().filter(|field| !is_partition(field)).cloned());
        let Some(known) = schema.as_ref() else {
            schema = Some(data);
            continue;
        };
        // The file may have wider numbers than those before it.
        let merged = known.merge(&data).or_else(|narrower| data.merge(known).map_err(|_| narrower));
        let unfit = |source| {
            let path = file.entry.path.clone();
            DeltaError::CannotConvert {
                url: url.to_owned(),
                problem: ConvertProblem::OtherSchema { path, source: Box::new(source) },
            }
        };
        schema = Some(merged.map_err(unfit)?);
    }
    let mut schema = schema.unwrap_or_default();
    schema.fields.extend(partition_columns.iter().cloned());
    Ok(schema)
}
