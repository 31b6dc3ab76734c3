//! Files that left the log: their details as Parquet, which other tools read as well, and their keys.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use boathouse_storage::Storage;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::keys::{self, Bloom};
use super::record::Landed;
use crate::error::AutoLoadError;
use crate::fingerprint::Fingerprint;

const ROW_GROUP_FILES: usize = 16 << 10;

/// Which files a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentInfo {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Fewer than files when a file came twice.
    pub(super) keys: u64,
    /// Set apart from all others by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
}

impl SegmentInfo {
    pub(super) fn files_path(&self) -> String {
        format!("files/{:020}-{:020}.parquet", self.start, self.end)
    }

    pub(super) fn keys_path(&self) -> String {
        match &self.name {
            Some(name) => format!("files/{name}.keys"),
            None => format!("files/{:020}-{:020}.keys", self.start, self.end),
        }
    }

    pub(super) fn files(&self) -> u64 {
        self.end - self.start
    }
}

/// A segment, and what of it is in memory.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) info: SegmentInfo,
    bloom: Option<Bloom>,
    pub(super) keys: Option<Vec<Fingerprint>>,
    /// When its keys were last asked for.
    pub(super) used: u64,
}

impl Segment {
    pub(super) fn new(info: SegmentInfo) -> Self {
        Self { info, bloom: None, keys: None, used: 0 }
    }

    pub(super) fn with_keys(info: SegmentInfo, keys: Vec<Fingerprint>) -> Self {
        Self { info, bloom: Some(Bloom::of(&keys)), keys: Some(keys), used: 0 }
    }

    pub(super) async fn bloom(&mut self, state: &Storage) -> Result<&Bloom, AutoLoadError> {
        let bloom = match self.bloom.take() {
            Some(bloom) => bloom,
            None => {
                let path = self.info.keys_path();
                let bytes = state.get_range(&path, keys::bloom_range(self.info.keys)).await?;
                keys::decode_bloom(&bytes, self.info.keys)
                    .map_err(|reason| AutoLoadError::CorruptState { path: state.url_of(&path), reason })?
            }
        };
        Ok(self.bloom.insert(bloom))
    }

    pub(super) async fn keys(&mut self, state: &Storage) -> Result<&[Fingerprint], AutoLoadError> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => {
                let path = self.info.keys_path();
                let bytes = state.get(&path).await?;
                keys::decode(&bytes, self.info.keys)
                    .map_err(|reason| AutoLoadError::CorruptState { path: state.url_of(&path), reason })?
            }
        };
        Ok(self.keys.insert(keys))
    }

    pub(super) fn key_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.len() * size_of::<Fingerprint>())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("size_bytes", DataType::Int64, false),
        Field::new("modified_us", DataType::Int64, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("discovered_us", DataType::Int64, false),
    ]))
}

fn to_batch(files: &[Landed]) -> Result<RecordBatch, ParquetError> {
    let (mut paths, mut etags) = (StringBuilder::new(), StringBuilder::new());
    let (mut sizes, mut modified, mut discovered) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    for file in files {
        paths.append_value(&file.path);
        sizes.append_value(i64::try_from(file.size_bytes).unwrap_or(i64::MAX));
        modified.append_value(file.modified_us);
        etags.append_option(file.etag.as_deref());
        discovered.append_value(file.discovered_us);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(paths.finish()),
        Arc::new(sizes.finish()),
        Arc::new(modified.finish()),
        Arc::new(etags.finish()),
        Arc::new(discovered.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The details of files as a Parquet file: those of merged segments first, in their order, then loose ones.
pub(super) fn encode(merged: &[Bytes], loose: &[Landed]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_FILES))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema(), Some(properties))?;
    for segment in merged {
        for batch in ParquetRecordBatchReaderBuilder::try_new(segment.clone())?.with_batch_size(ROW_GROUP_FILES).build()? {
            writer.write(&batch?)?;
        }
    }
    for some in loose.chunks(ROW_GROUP_FILES) {
        writer.write(&to_batch(some)?)?;
    }
    writer.close()?;
    Ok(bytes)
}

/// The details of some files of a segment. Their fingerprints are not needed any more, and zero.
pub(super) fn decode(segment: &Bytes, offset: u64, count: u64) -> Result<Vec<Landed>, ParquetError> {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let reader = ParquetRecordBatchReaderBuilder::try_new(segment.clone())?
        .with_offset(place(offset))
        .with_limit(place(count))
        .with_batch_size(ROW_GROUP_FILES)
        .build()?;
    let mut files = Vec::new();
    for batch in reader {
        let batch = batch?;
        if batch.schema().fields() != schema().fields() {
            return Err(ParquetError::General("it has other columns than a segment".to_owned()));
        }
        let (paths, etags) = (batch.column(0).as_string::<i32>(), batch.column(3).as_string::<i32>());
        let numbers = |at: usize| batch.column(at).as_primitive::<Int64Type>();
        let (sizes, modified, discovered) = (numbers(1), numbers(2), numbers(4));
        files.extend((0..batch.num_rows()).map(|row| Landed {
            fingerprint: 0,
            path: Arc::from(paths.value(row)),
            size_bytes: u64::try_from(sizes.value(row)).unwrap_or(0),
            modified_us: modified.value(row),
            etag: etags.is_valid(row).then(|| Arc::from(etags.value(row))),
            discovered_us: discovered.value(row),
        }));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_from_any_place_of_a_merged_segment() {
        let file = |n: i64| Landed {
            fingerprint: 0,
            path: format!("day={n}/ä.json").into(),
            size_bytes: n.unsigned_abs(),
            modified_us: -n,
            etag: (n % 3 == 0).then(|| n.to_string().into()),
            discovered_us: 9,
        };
        let files: Vec<Landed> = (0..100).map(file).collect();
        let first = Bytes::from(encode(&[], &files[..40]).unwrap());
        let all = Bytes::from(encode(&[first], &files[40..]).unwrap());
        assert_eq!(decode(&all, 0, 100).unwrap(), files);
        assert_eq!(decode(&all, 39, 3).unwrap(), files[39..42]);
        assert_eq!(decode(&all, 99, 5).unwrap(), files[99..]);
    }
}
