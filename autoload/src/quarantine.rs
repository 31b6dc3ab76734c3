//! Lines and files that could not be read: kept with their place and reason, so that nothing vanishes.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use boathouse_base::BatchStream;
use boathouse_storage::Storage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::decode::SourceFile;
use crate::error::AutoLoadError;

/// So many bytes of a bad line are kept.
const RAW_BYTES: usize = 4096;

/// Something that is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuarantinedLine {
    #[serde(skip)]
    sequence: u64,
    file_path: String,
    /// From 1; absent for a whole file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    byte_offset: Option<u64>,
    reason: String,
    /// The beginning of the line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    raw: Option<String>,
}

impl QuarantinedLine {
    pub(crate) fn line(file: &SourceFile, line: u64, byte_offset: u64, reason: String, raw: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(&raw[..raw.len().min(RAW_BYTES)]).into_owned();
        Self {
            sequence: file.sequence,
            file_path: file.url.clone(),
            line: Some(line),
            byte_offset: Some(byte_offset),
            reason,
            raw: Some(raw),
        }
    }

    /// Whether it stands for a whole file.
    pub(crate) fn is_file(&self) -> bool {
        self.line.is_none()
    }

    pub(crate) fn as_error(&self) -> AutoLoadError {
        AutoLoadError::CorruptFile { url: self.file_path.clone(), reason: self.reason.clone() }
    }

    pub(crate) fn whole_file(file: &SourceFile, reason: String) -> Self {
        Self { sequence: file.sequence, file_path: file.url.clone(), line: None, byte_offset: None, reason, raw: None }
    }
}

/// How much lies in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineCounts {
    /// Lines that are no records.
    pub lines: u64,
    /// Files that could not be read as a whole, or not to their end.
    pub files: u64,
}

/// The durable list: one object for each file that has bad lines, named by the file's place in the order of
/// discovery. Reading a file again writes the same object again.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    state: Storage,
}

const FOLDER: &str = "quarantine";

impl Quarantine {
    pub(crate) fn new(state: Storage) -> Self {
        Self { state }
    }

    /// Writes the lines down. Lines of one file come together.
    pub(crate) async fn put(&self, lines: &[QuarantinedLine]) -> Result<(), AutoLoadError> {
        for of_file in lines.chunk_by(|a, b| a.sequence == b.sequence) {
            let mut text = String::from("{\"v\":1}\n");
            for line in of_file {
                let json = serde_json::to_string(line).map_err(|source| AutoLoadError::Encode { what: "quarantine", source })?;
                text.push_str(&json);
                text.push('\n');
            }
            let sequence = of_file.first().map_or(0, |line| line.sequence);
            let path = format!("{FOLDER}/{sequence:020}.jsonl");
            self.state.put(&path, Bytes::from(text)).await?;
        }
        Ok(())
    }

    pub(crate) async fn counts(&self) -> Result<QuarantineCounts, AutoLoadError> {
        let mut objects = std::pin::pin!(self.objects().await?);
        let mut counts = QuarantineCounts::default();
        while let Some(lines) = objects.try_next().await? {
            for line in lines {
                *(if line.line.is_some() { &mut counts.lines } else { &mut counts.files }) += 1;
            }
        }
        Ok(counts)
    }

    pub(crate) async fn stream(&self) -> Result<BatchStream, AutoLoadError> {
        let schema = schema();
        let batches = self.objects().await?.map(|lines| {
            let batch = to_batch(&lines?).map_err(AutoLoadError::Assemble)?;
            Ok(batch)
        });
        Ok(BatchStream::new(schema, batches))
    }

    async fn objects(
        &self,
    ) -> Result<impl futures::Stream<Item = Result<Vec<QuarantinedLine>, AutoLoadError>> + Send + 'static, AutoLoadError> {
        let found = self.state.list(FOLDER).await?;
        let state = self.state.clone();
        let objects = futures::stream::iter(found).map(move |object| {
            let state = state.clone();
            async move {
                let path = object.path;
                let bytes = state.get(&path).await?;
                parse(&path, &bytes).map_err(|reason| AutoLoadError::CorruptState { path: state.url_of(&path), reason })
            }
        });
        Ok(objects.buffered(16))
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<Vec<QuarantinedLine>, String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let sequence = name.strip_suffix(".jsonl").and_then(|digits| digits.parse().ok());
    let sequence = sequence.ok_or_else(|| format!("`{name}` is no name of a quarantine object"))?;
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    if lines.next() != Some(b"{\"v\":1}") {
        return Err("its format is unknown to this version, which knows 1".to_owned());
    }
    lines
        .map(|line| {
            let line: QuarantinedLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            Ok(QuarantinedLine { sequence, ..line })
        })
        .collect()
}

/// Shape of the list.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("file_sequence", DataType::Int64, false),
        Field::new("file_path", DataType::Utf8, false),
        Field::new("line", DataType::Int64, true),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("raw", DataType::Utf8, true),
    ]))
}

fn to_batch(lines: &[QuarantinedLine]) -> Result<RecordBatch, ArrowError> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| signed(line.sequence)))),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.file_path))),
        Arc::new(lines.iter().map(|line| line.line.map(signed)).collect::<Int64Array>()),
        Arc::new(lines.iter().map(|line| line.byte_offset.map(signed)).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.reason))),
        Arc::new(lines.iter().map(|line| line.raw.as_deref()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns)
}
