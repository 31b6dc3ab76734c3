//! From the bytes of a file to record batches, and to what could not be read.
//!
//! ```text
//!   bytes ─▶ decompress ─▶ lines ─▶ Column::push ─▶ Rows ─▶ RecordBatch
//!                            │            └─▶ what does not fit ─▶ rescued data column
//!                            └─▶ no record at all ─▶ quarantine
//! ```
//! The same splitting serves [`inspect`], which looks at a file for columns that the schema does not have.

mod adapt;
mod avro;
mod binary;
mod column;
mod compression;
mod csv;
mod inspect;
mod json;
mod lines;
mod output;
mod parquet;
mod rows;
mod text;
mod typed;
mod xml;

use std::sync::Arc;

use arrow_schema::{ArrowError, Fields};
use bytes::Bytes;

pub(crate) use binary::fields as binary_fields;
pub(crate) use column::Column;
pub(crate) use inspect::{inspect, needs_whole_file, observe_parquet_footer};
pub(crate) use json::{JsonObject, unescape};
pub(crate) use rows::Target;

use output::{Emit, Output};
use rows::Rows;

use crate::quarantine::QuarantinedLine;
use crate::schema::{data_fields, is_partition, value_of};
use crate::settings::Format;

/// A landed file, as its rows name it.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Its place in the order of discovery.
    pub(crate) sequence: u64,
    /// Below the landing folder.
    pub(crate) path: String,
    /// The whole URL.
    pub(crate) url: String,
    pub(crate) size_bytes: u64,
    pub(crate) modified_us: i64,
    /// Members of its rows' rescued data that stand in its path, and do not fit their columns.
    pub(crate) rest: String,
}

/// The values in a path that do not fit their columns, as members of the rescued data.
pub(crate) fn misfits_of_path(path: &str, fields: &Fields) -> String {
    let mut rest = String::new();
    for field in fields.iter().filter(|field| is_partition(field)) {
        let Some(value) = value_of(path, field.name()) else { continue };
        if !Column::new(field.data_type()).is_some_and(|mut column| column.push_text(&value)) {
            let mut quoted = String::new();
            json::quote_into(&mut quoted, &value);
            column::add_member(&mut rest, field.name(), &quoted);
        }
    }
    rest
}

/// What happens to fields that the schema does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    Rescue,
    Ignore,
}

/// Why decoding stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nobody wants more rows.
    Cancelled,
    /// Arrays could not be put together: a bug of ours.
    Arrow(ArrowError),
}

impl From<ArrowError> for Stop {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

/// Decodes files of one schema version, one after the other.
///
/// **Errors**: only those of `emit` and of Arrow. What a file does wrong goes to the quarantined lines.
pub(crate) fn decode(
    format: &Format,
    unknown: UnknownFields,
    fields: &Fields,
    target: &Arc<Target>,
    files: &[(Arc<SourceFile>, Bytes)],
    emit: Emit<'_>,
) -> Result<Vec<QuarantinedLine>, Stop> {
    let mut output = Output::new(unknown, data_fields(fields), Arc::clone(target), emit);
    let output = match format {
        Format::Parquet => {
            for (file, bytes) in files {
                typed::decode("Parquet", file, parquet::open(bytes, target.batch_rows), &mut output)?;
            }
            output
        }
        Format::Avro => {
            for (file, bytes) in files {
                typed::decode("Avro", file, avro::open(bytes, target.batch_rows), &mut output)?;
            }
            output
        }
        Format::Binary => {
            for (file, bytes) in files {
                match binary::to_batch(file, bytes) {
                    Ok(batch) => output.emit(typed::convert(file, &batch, 0, &output)?)?,
                    Err(error) => output.refuse_file(file, error.to_string()),
                }
            }
            output
        }
        Format::Json(options) => texts(files, output, |file, text, rows| json::decode(options, file, text, rows))?,
        Format::Csv(options) => texts(files, output, |file, text, rows| csv::decode(options, file, text, rows))?,
        Format::Xml(options) => texts(files, output, |file, text, rows| xml::decode(options, file, text, rows))?,
        Format::Text(options) => texts(files, output, |file, text, rows| text::decode(options, file, text, rows))?,
    };
    Ok(output.into_refused())
}

/// Decodes files of text, which share batches.
fn texts<'a>(
    files: &[(Arc<SourceFile>, Bytes)],
    output: Output<'a>,
    decode: impl Fn(&Arc<SourceFile>, &[u8], &mut Rows<'a>) -> Result<(), Stop>,
) -> Result<Output<'a>, Stop> {
    let mut rows = Rows::new(output)?;
    for (file, bytes) in files {
        match compression::decompress(&file.path, bytes) {
            Ok(text) => decode(file, &text, &mut rows)?,
            Err(error) => rows.output.refuse_file(file, format!("decompress the file: {error}")),
        }
    }
    rows.finish()
}
