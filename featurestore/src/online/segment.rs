//! Rows as a durable object: an Arrow IPC file.

use std::io::Cursor;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use boathouse_storage::Storage;
use bytes::Bytes;

use super::manifest::SegmentEntry;
use crate::error::{Attempt, FeatureError, Result};

/// The rows as bytes.
pub(super) fn encode(rows: &RecordBatch, attempt: impl Fn() -> String) -> Result<Bytes> {
    let mut writer = FileWriter::try_new(Vec::new(), rows.schema_ref()).attempt(&attempt)?;
    writer.write(rows).and_then(|()| writer.finish()).attempt(&attempt)?;
    Ok(Bytes::from(writer.into_inner().attempt(attempt)?))
}

pub(super) fn entry(path: String, rows: &RecordBatch, bytes: &Bytes) -> SegmentEntry {
    SegmentEntry { path, rows: rows.num_rows() as u64, bytes: bytes.len() as u64, checksum: checksum(bytes) }
}

/// Reads a segment back, and knows when it is not what was written.
pub(super) async fn read(folder: &Storage, segment: &SegmentEntry, table: &str) -> Result<Vec<RecordBatch>> {
    let attempt = || format!("load the online table `{table}`");
    let bytes = folder.get(&segment.path).await.attempt(attempt)?;
    let damaged = |reason: String| FeatureError::Corrupt { attempt: attempt(), url: folder.url_of(&segment.path), reason };
    if bytes.len() as u64 != segment.bytes {
        return Err(damaged(format!("it has {} bytes, and {} were written", bytes.len(), segment.bytes)));
    }
    let found = checksum(&bytes);
    if found != segment.checksum {
        return Err(damaged(format!("its checksum is {found}, and {} was written", segment.checksum)));
    }
    let reader = FileReader::try_new(Cursor::new(bytes), None).map_err(|source| damaged(source.to_string()))?;
    let schema = reader.schema();
    let mut batches = reader.collect::<Result<Vec<_>, _>>().map_err(|source| damaged(source.to_string()))?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows as u64 != segment.rows {
        return Err(damaged(format!("it has {rows} rows, and {} were written", segment.rows)));
    }
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    Ok(batches)
}

/// FNV-1a, 64 bits: finds damage, not malice. **Source**: Fowler, Noll, Vo, IETF draft-eastlake-fnv.
fn checksum(bytes: &[u8]) -> String {
    let hash =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_published_examples() {
        assert_eq!(checksum(b""), "cbf29ce484222325");
        assert_eq!(checksum(b"a"), "af63dc4c8601ec8c");
        assert_eq!(checksum(b"foobar"), "85944171f73967e8");
    }
}
