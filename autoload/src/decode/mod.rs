//! From the bytes of a file to record batches, and to what could not be read.
//!
//! ```text
//!   bytes ─▶ decompress ─▶ lines ─▶ Column::push ─▶ Rows ─▶ RecordBatch
//!                            │            └─▶ what does not fit ─▶ rescued data column
//!                            └─▶ no record at all ─▶ quarantine
//! ```
//! The same splitting serves [`inspect`], which looks at a file for columns that the schema does not have.

mod adapt;
mod column;
mod compression;
mod csv;
mod inspect;
mod json;
mod lines;
mod parquet;
mod rows;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Fields};
use bytes::Bytes;

pub(crate) use column::Column;
pub(crate) use inspect::{inspect, needs_whole_file, observe_parquet_footer};
pub(crate) use json::{JsonObject, unescape};
pub(crate) use rows::{Rows, Target};

use crate::quarantine::QuarantinedLine;
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
    match format {
        Format::Parquet => {
            for (file, bytes) in files {
                parquet::decode(file, bytes, unknown, fields, target, &mut bad, emit)?;
            }
        }
        Format::Json(options) => {
            let mut rows = Rows::new(fields, Arc::clone(target))?;
            for_each_text(files, &mut bad, |file, text, bad| json::decode(options, unknown, file, text, &mut rows, bad, emit))?;
            rows.flush(emit)?;
        }
        Format::Csv(options) => {
            let mut rows = Rows::new(fields, Arc::clone(target))?;
            for_each_text(files, &mut bad, |file, text, bad| csv::decode(options, unknown, file, text, &mut rows, bad, emit))?;
            rows.flush(emit)?;
        }
    }
    Ok(bad)
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
