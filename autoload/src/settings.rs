//! Settings: plain values that say how files are found and decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

/// How the files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object a line (JSON lines, `.jsonl`, `.ndjson`), or documents over many lines.
    Json(JsonOptions),
    /// Delimited text.
    Csv(CsvOptions),
    /// Apache Parquet.
    Parquet,
    /// Apache Avro, object container files.
    Avro,
    /// XML: the elements of one name are rows.
    Xml(XmlOptions),
    /// Plain text: one column `value`.
    Text(TextOptions),
    /// Whole files: `path`, `modificationTime`, `length`, `content`.
    Binary,
}

impl Format {
    /// JSON lines with default options.
    pub fn json() -> Self {
        Self::Json(JsonOptions::default())
    }

    /// CSV with a header line and default options.
    pub fn csv() -> Self {
        Self::Csv(CsvOptions::default())
    }

    /// XML whose rows are the elements of this name.
    pub fn xml(row_tag: impl Into<String>) -> Self {
        Self::Xml(XmlOptions { row_tag: row_tag.into() })
    }

    /// A row for each line of text.
    pub fn text() -> Self {
        Self::Text(TextOptions::default())
    }

    /// Whether values are text, which types are read from.
    pub(crate) fn is_text(&self) -> bool {
        !matches!(self, Self::Parquet | Self::Avro | Self::Binary)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Xml(_) => "xml",
            Self::Text(_) => "text",
            Self::Binary => "binaryFile",
        }
    }
}

/// How XML is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XmlOptions {
    /// The name of the elements that are rows, without a prefix.
    pub row_tag: String,
}

/// How plain text is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextOptions {
    /// A row for each file, and not for each line.
    pub whole_files: bool,
}

/// Which columns stand in the names of folders, as in `day=2024-01-01/hour=7/a.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionColumns {
    /// None.
    #[default]
    Absent,
    /// These. A path without one of them has null there.
    Named(Vec<String>),
    /// Those that the paths of all files have that the first inference looks at.
    Inferred,
}

/// How JSON is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonOptions {
    /// Whether a file is one document or several, over any number of lines: objects, or arrays of objects.
    pub multi_line: bool,
    /// A longer line goes to quarantine.
    pub max_line_bytes: usize,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { multi_line: false, max_line_bytes: 64 << 20 }
    }
}

/// How CSV is read.
///
/// A record is one line: a quoted value does not reach over a line's end unless `multi_line` says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CsvOptions {
    /// Stands between values.
    pub delimiter: u8,
    /// Encloses a value that holds a delimiter; doubled inside of one.
    pub quote: u8,
    /// Where the column names come from.
    pub header: CsvHeader,
    /// Whether a quoted value may hold line ends. Without it, a quote that is never closed costs one line only.
    pub multi_line: bool,
    /// A value without quotes that reads like this is null.
    pub null_text: String,
    /// A longer line goes to quarantine.
    pub max_line_bytes: usize,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
            header: CsvHeader::FirstLine,
            multi_line: false,
            null_text: String::new(),
            max_line_bytes: 64 << 20,
        }
    }
}

/// Where the names of CSV columns come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CsvHeader {
    /// The first line of every file names its columns.
    FirstLine,
    /// No header: columns are `_c0`, `_c1`, … and the first line of a file fixes their number.
    Absent,
}

/// What a column's type is inferred from, for JSON and CSV. Parquet brings its own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ColumnTypes {
    /// Every top-level column is text (Databricks' default): nothing is ever lost to a wrong guess.
    #[default]
    Text,
    /// Whole numbers, floats, booleans, RFC 3339 instants, structs and lists are told apart.
    Inferred,
}

/// What happens when a file has a column that the schema does not have.
///
/// Whatever the mode: a value that does not fit its column, or has no column, goes to the rescued data column where
/// there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaEvolution {
    /// The column is added from that file on, and the stream goes on: the next plan simply has one column more. This is
    /// what happens unless something else is said.
    AddNewColumnsInline,
    /// Databricks' mode of this name: the schema with the new columns is remembered, and planning fails once with
    /// [`SchemaChanged`](crate::AutoLoadError::SchemaChanged), so that whatever stands behind the stream can be made
    /// ready. The next plan goes on.
    AddNewColumns,
    /// Like [`AddNewColumns`](Self::AddNewColumns), and a known column takes a wider type when values need one: whole
    /// numbers of more bits, whole number to float, date to local time.
    AddNewColumnsWithTypeWidening,
    /// The schema stays; the field goes to the rescued data column.
    Rescue,
    /// Planning fails until the column is named by a schema or a hint.
    FailOnNewColumns,
    /// The schema stays; the field is ignored. Values of known columns that do not fit are still rescued.
    None,
}

impl SchemaEvolution {
    /// Whether every file is looked at for new columns.
    pub(crate) fn looks(self) -> bool {
        !matches!(self, Self::Rescue | Self::None)
    }
}

/// Whether files that lie there at the very first start are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ExistingFiles {
    /// They are read.
    #[default]
    Include,
    /// They are remembered as seen and never read.
    Skip,
}

/// Whether a file that was overwritten is another file. Fixed at the first start of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Overwrites {
    /// A path is read once, whatever happens to it later.
    #[default]
    Ignore,
    /// Every version is read once, told apart by path, entity tag (or time of modification) and size. A version that
    /// is overwritten between its discovery and its reading gives no rows: the one that replaced it does. Every scan
    /// of a local folder then asks for the facts of every file.
    Read,
}

/// How new files are found, unless something tells of them
/// ([`AutoLoaderBuilder::events`](crate::AutoLoaderBuilder::events)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DiscoveryMode {
    /// Every plan lists the folder. Of a local folder, it reads the directories that changed.
    #[default]
    Listing,
    /// Every plan lists what comes after the highest name of all and of each leaf folder, and a listing of everything
    /// ([`Settings::backfill_interval`]) finds what came out of order. For buckets whose names grow with time. A local
    /// folder is listed as with [`Listing`](Self::Listing).
    HighestNames,
    /// The operating system tells of files in a local folder; see [`FolderWatch`](crate::FolderWatch).
    Watch,
}

/// What happens with a planned file that is gone when it is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MissingFiles {
    /// Reading fails.
    #[default]
    Fail,
    /// It gives no rows.
    Ignore,
}

/// What happens with a file that cannot be opened, or breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CorruptFiles {
    /// It becomes an entry of the [quarantine](crate::AutoLoader::quarantine), and the batch goes on.
    #[default]
    Quarantine,
    /// Reading fails.
    Fail,
    /// The batch goes on, and nothing tells of it.
    Ignore,
}

/// Whether rows carry where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MetadataColumn {
    /// No extra column.
    #[default]
    Absent,
    /// A last column `_metadata`: a struct of `file_path`, `file_name`, `file_size` (bytes),
    /// `file_modification_time` (microseconds, UTC) and `row_index` (from 0, in the file; rows that went to quarantine
    /// do not count).
    Present,
}

/// Everything that says how an [`AutoLoader`](crate::AutoLoader) works, without its components.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the files are written.
    pub format: Format,
    /// What types of text columns come from.
    pub column_types: ColumnTypes,
    /// Types of named top-level columns, which win over inference. A hinted column exists from the start.
    pub schema_hints: BTreeMap<String, DataType>,
    /// The schema, instead of inference. Its columns become nullable.
    pub schema: Option<arrow_schema::SchemaRef>,
    /// Which columns stand in the names of folders.
    pub partition_columns: PartitionColumns,
    /// What happens with new columns. `None`: [`SchemaEvolution::AddNewColumnsInline`] without a given schema,
    /// [`SchemaEvolution::Rescue`] with one.
    pub schema_evolution: Option<SchemaEvolution>,
    /// The column for what does not fit; `None` gives up what does not fit.
    pub rescued_data_column: Option<String>,
    /// Which files are meant: see [`AutoLoaderBuilder::path_glob`](crate::AutoLoaderBuilder::path_glob).
    pub path_glob: Option<String>,
    /// Only files that were modified after this instant, in microseconds since the Unix epoch (UTC).
    pub modified_after_us: Option<i64>,
    /// Only files that were modified before this instant.
    pub modified_before_us: Option<i64>,
    /// Files that were modified longer ago than this when they are found are not read. `None`: any age.
    pub max_file_age: Option<Duration>,
    /// What happens to files that are there at the first start.
    pub existing_files: ExistingFiles,
    /// Whether a file that was overwritten is read again.
    pub overwrites: Overwrites,
    /// How new files are found.
    pub discovery: DiscoveryMode,
    /// The whole folder is listed when it was not for so long. `None`: at the first start only, and when events got lost.
    /// Without effect on what lists everything anyway.
    pub backfill_interval: Option<Duration>,
    /// What happens with a planned file that is gone when it is to be read.
    pub missing_files: MissingFiles,
    /// What happens with a file that cannot be opened.
    pub corrupt_files: CorruptFiles,
    /// Whether rows carry where they come from.
    pub metadata_column: MetadataColumn,
    /// Files in a batch when the read limit names no number.
    pub max_files: u64,
    /// About so many bytes in a batch when the read limit names no number; one file is always admitted.
    pub max_bytes: Option<u64>,
    /// The first inference looks at so many files at most.
    pub inference_files: usize,
    /// The first inference stops after so many bytes.
    pub inference_bytes: u64,
    /// Rows in a record batch, at most.
    pub batch_rows: usize,
    /// Files fetched at the same time.
    pub concurrent_fetches: usize,
    /// Bytes of planned files kept in memory so that reading does not fetch them again.
    pub cache_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::json(),
            column_types: ColumnTypes::default(),
            schema_hints: BTreeMap::new(),
            schema: None,
            schema_evolution: None,
            partition_columns: PartitionColumns::default(),
            rescued_data_column: Some("_rescued_data".to_owned()),
            path_glob: None,
            modified_after_us: None,
            modified_before_us: None,
            max_file_age: None,
            existing_files: ExistingFiles::default(),
            overwrites: Overwrites::default(),
            discovery: DiscoveryMode::default(),
            backfill_interval: None,
            missing_files: MissingFiles::default(),
            corrupt_files: CorruptFiles::default(),
            metadata_column: MetadataColumn::default(),
            max_files: 1000,
            max_bytes: None,
            inference_files: 1000,
            inference_bytes: 50 << 20,
            batch_rows: 8192,
            concurrent_fetches: 32,
            cache_bytes: 128 << 20,
        }
    }
}

impl Settings {
    pub(crate) fn evolution(&self) -> SchemaEvolution {
        self.schema_evolution.unwrap_or(if self.schema.is_some() {
            SchemaEvolution::Rescue
        } else {
            SchemaEvolution::AddNewColumnsInline
        })
    }

    /// Names that no data column may take.
    pub(crate) fn is_reserved(&self, name: &str) -> bool {
        self.rescued_data_column.as_deref().is_some_and(|rescued| rescued.eq_ignore_ascii_case(name))
            || (self.metadata_column == MetadataColumn::Present && name.eq_ignore_ascii_case(METADATA))
    }
}

/// The name of the metadata column.
pub(crate) const METADATA: &str = "_metadata";
