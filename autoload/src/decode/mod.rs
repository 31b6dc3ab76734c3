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
mod parquet;
mod rows;
mod text;
mod typed;
mod xml;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Fields};
use bytes::Bytes;

pub(crate) use binary::fields as binary_fields;
pub(crate) use column::Column;
pub(crate) use inspect::{inspect, needs_whole_file, observe_parquet_footer};
pub(crate) use json::{JsonObject, unescape};
pub(crate) use rows::{Rows, Target};

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

/// Takes finished batches; an error stops the decoding.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), Stop>;

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
    let mut bad = Vec::new();
    // What stands in paths is added when batches are put together.
    let fields = &data_fields(fields);
    let text = || Rows::new(fields, Arc::clone(target));
    match format {
        Format::Parquet => {
            for (file, bytes) in files {
                let opened = parquet::open(bytes, target.batch_rows).map_err(|error| error.to_string());
                typed_file("Parquet", file, opened, unknown, fields, target, &mut bad, emit)?;
            }
        }
        Format::Avro => {
            for (file, bytes) in files {
                let opened = avro::open(bytes, target.batch_rows).map_err(|error| error.to_string());
                typed_file("Avro", file, opened, unknown, fields, target, &mut bad, emit)?;
            }
        }
        Format::Binary => {
            for (file, bytes) in files {
                match binary::to_batch(file, bytes) {
                    Ok(batch) => emit(typed::convert(file, &batch, unknown, fields, target, 0)?)?,
                    Err(error) => bad.push(QuarantinedLine::whole_file(file, error.to_string())),
                }
            }
        }
        Format::Json(options) => {
            let mut rows = text()?;
            for_each_text(files, &mut bad, |file, text, bad| json::decode(options, unknown, file, text, &mut rows, bad, emit))?;
            rows.flush(emit)?;
        }
        Format::Csv(options) => {
            let mut rows = text()?;
            for_each_text(files, &mut bad, |file, text, bad| csv::decode(options, unknown, file, text, &mut rows, bad, emit))?;
            rows.flush(emit)?;
        }
        Format::Xml(options) => {
            let mut rows = text()?;
            for_each_text(files, &mut bad, |file, text, bad| xml::decode(options, unknown, file, text, &mut rows, bad, emit))?;
            rows.flush(emit)?;
        }
        Format::Text(options) => {
            let mut rows = text()?;
            for_each_text(files, &mut bad, |file, content, bad| {
                text::decode(options, unknown, file, content, &mut rows, bad, emit)
            })?;
            rows.flush(emit)?;
        }
    }
    Ok(bad)
}

/// Decodes a file that brings its types. What comes before a break stays.
#[expect(clippy::too_many_arguments, reason = "a file, the schema it meets, and where the outcome goes")]
fn typed_file<E: std::fmt::Display>(
    format: &'static str,
    file: &Arc<SourceFile>,
    opened: Result<impl Iterator<Item = Result<RecordBatch, E>>, String>,
    unknown: UnknownFields,
    fields: &Fields,
    target: &Target,
    bad: &mut Vec<QuarantinedLine>,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let batches = match opened {
        Ok(batches) => batches,
        Err(error) => {
            bad.push(QuarantinedLine::whole_file(file, format!("open the {format} file: {error}")));
            return Ok(());
        }
    };
    let mut rows = 0;
    for batch in batches {
        match batch {
            Ok(batch) => {
                emit(typed::convert(file, &batch, unknown, fields, target, rows)?)?;
                rows += batch.num_rows() as u64;
            }
            Err(error) => {
                bad.push(QuarantinedLine::whole_file(file, format!("read the {format} file after {rows} rows: {error}")));
                return Ok(());
            }
        }
    }
    Ok(())
}

fn for_each_text(
    files: &[(Arc<SourceFile>, Bytes)],
    bad: &mut Vec<QuarantinedLine>,
    mut decode: impl FnMut(&Arc<SourceFile>, &[u8], &mut Vec<QuarantinedLine>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for (file, bytes) in files {
        match compression::decompress(&file.path, bytes) {
            Ok(text) => decode(file, &text, bad)?,
            Err(error) => bad.push(QuarantinedLine::whole_file(file, format!("decompress the file: {error}"))),
        }
    }
    Ok(())
}
