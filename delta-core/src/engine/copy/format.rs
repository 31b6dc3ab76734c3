//! The formats of files that are loaded.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::config::{CsvOptions, JsonOptions};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::error::Result;
use datafusion::object_store::{ObjectMeta, ObjectStore};

/// A format of files, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// Parquet.
    Parquet,
    /// Lines of values.
    Csv(CsvFiles),
    /// JSON objects.
    Json(JsonFiles),
}

/// How CSV is read. Compressed files are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFiles {
    /// Whether the first line of a file names its columns. Otherwise they are `_c0`, `_c1`, ….
    pub header: bool,
    /// What stands between values.
    pub delimiter: u8,
    /// What stands around values.
    pub quote: u8,
    /// What stands before a quote within quotes. `None`: the quote itself.
    pub escape: Option<u8>,
    /// What lines begin with that are passed over.
    pub comment: Option<u8>,
    /// A text that means null, besides the empty one.
    pub null_value: String,
    /// Whether the types of columns that the table does not have are found out, and those that a SELECT reads. Otherwise they are text.
    pub infer_schema: bool,
    /// Whether values in quotes may go over several lines.
    pub multi_line: bool,
}

impl Default for CsvFiles {
    fn default() -> Self {
        let (delimiter, quote) = (b',', b'"');
        let (escape, comment, null_value) = (None, None, String::new());
        Self { header: false, delimiter, quote, escape, comment, null_value, infer_schema: false, multi_line: false }
    }
}

/// How JSON is read. Compressed files are not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonFiles {
    /// Whether a file is one array of objects. Otherwise each line is an object.
    pub multi_line: bool,
}

impl CopyFormat {
    /// The name that statements and the history have for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet => "PARQUET",
            Self::Csv(_) => "CSV",
            Self::Json(_) => "JSON",
        }
    }

    /// The columns of a file, as its format knows them.
    pub(super) async fn columns(&self, session: &dyn Session, store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<Schema> {
        let reader: Arc<dyn FileFormat> = match self {
            Self::Csv(csv) if !csv.infer_schema => Arc::new(csv.reader().with_schema_infer_max_rec(1)),
            _ => self.reader(),
        };
        let schema = reader.infer_schema(session, store, std::slice::from_ref(file)).await?;
        let Self::Csv(csv) = self else { return Ok(schema.as_ref().clone()) };
        let column = |(nth, field): (usize, &Arc<Field>)| {
            let name = if csv.header { field.name().clone() } else { format!("_c{nth}") };
            let data_type = if csv.infer_schema { field.data_type().clone() } else { DataType::Utf8 };
            Field::new(name, data_type, true)
        };
        Ok(Schema::new(schema.fields().iter().enumerate().map(column).collect::<Vec<_>>()))
    }

    /// The reader of the engine.
    pub(super) fn reader(&self) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => {
                let parquet = ParquetFormat::default().with_force_view_types(false).with_skip_metadata(true);
                // As nanoseconds, the times of old writers end in the year 2262.
                Arc::new(parquet.with_coerce_int96(Some("us".to_owned())))
            }
            Self::Csv(csv) => Arc::new(csv.reader().with_schema_infer_max_rec(usize::MAX)),
            Self::Json(json) => {
                let options = JsonOptions { newline_delimited: !json.multi_line, ..JsonOptions::default() };
                // A column that comes late would be overlooked otherwise.
                Arc::new(JsonFormat::default().with_options(options).with_schema_infer_max_rec(usize::MAX))
            }
        }
    }
}

impl CsvFiles {
    fn reader(&self) -> CsvFormat {
        let options = CsvOptions {
            has_header: Some(self.header),
            delimiter: self.delimiter,
            quote: self.quote,
            escape: self.escape,
            comment: self.comment,
            newlines_in_values: Some(self.multi_line),
            null_regex: (!self.null_value.is_empty()).then(|| format!("^(|{})$", quoted(&self.null_value))),
            ..CsvOptions::default()
        };
        CsvFormat::default().with_options(options)
    }
}

/// A text as a pattern that matches nothing but it.
fn quoted(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
