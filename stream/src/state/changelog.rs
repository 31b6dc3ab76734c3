//! What a file of state holds: rows, their hashes, when they are over, and what was taken out of older files.
//!
//! ```text
//!   rows       an Arrow IPC file, in blocks of 4,096 rows: what is read for one row
//!   index      an Arrow IPC stream of one batch: hash, expires_us
//!   removals   an Arrow IPC stream of one batch: segment, row
//!   trailer    the bytes of each part, and how many rows there are: four little-endian numbers of 64 bits; `BHSTATE1`
//! ```
//! So a file can be opened by its end, and its rows stay where they are until they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use datafusion::arrow::array::types::{Int64Type, UInt32Type, UInt64Type};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::error::ArrowError;

use super::rows::{BLOCK_ROWS, Filed, Rows};
use super::segment::Place;

/// The columns of the index.
const INDEX: [&str; 2] = ["hash", "expires_us"];
/// The columns of the removals: the segment and the row that is gone.
const REMOVED: [&str; 2] = ["segment", "row"];
/// The last bytes of a file.
const MAGIC: &[u8; 8] = b"BHSTATE1";
const TRAILER_BYTES: u64 = 4 * 8 + 8;

/// Rows of segments that were taken out before they were over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Removals(BTreeMap<u32, Vec<u32>>);

impl Removals {
    pub(crate) fn add(&mut self, place: Place) {
        self.0.entry(place.segment).or_default().push(place.row);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (segment, rows) in other.0 {
            self.0.entry(segment).or_default().extend(rows);
        }
    }

    /// Forgets segments that are not there any more.
    pub(crate) fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.0.retain(|segment, _| is_there(*segment));
    }

    /// In memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.values().map(|rows| rows.capacity() * size_of::<u32>()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.0.iter().flat_map(|(segment, rows)| rows.iter().map(|row| Place { segment: *segment, row: *row }))
    }
}

/// What one epoch changed in a store.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    /// Of the segment.
    pub(crate) number: u32,
    pub(crate) rows: RecordBatch,
    /// Of the keys of the rows, ascending.
    pub(crate) hashes: ScalarBuffer<u64>,
    pub(crate) expires: Option<Int64Array>,
    pub(crate) removals: Removals,
}

/// What a file gives back.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) number: u32,
    pub(crate) rows: Rows,
    pub(crate) hashes: ScalarBuffer<u64>,
    pub(crate) expires: Option<Int64Array>,
    pub(crate) removals: Removals,
}

/// The lengths of the parts of a file.
struct Trailer {
    rows_bytes: u64,
    index_bytes: u64,
    removals_bytes: u64,
    rows: u64,
}

impl Trailer {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.rows_bytes, self.index_bytes, self.removals_bytes, self.rows];
        numbers.iter().flat_map(|number| number.to_le_bytes()).chain(*MAGIC).collect()
    }

    /// Of a file with so many bytes.
    fn decode(last: &[u8], bytes: u64) -> Result<Self, ArrowError> {
        let is_none = || ArrowError::IpcError("it does not end as a file of state does".to_owned());
        let numbers = last.strip_suffix(MAGIC).filter(|numbers| numbers.len() == 32).ok_or_else(is_none)?;
        let number = |at: usize| numbers[at * 8..][..8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let trailer = Self { rows_bytes: number(0), index_bytes: number(1), removals_bytes: number(2), rows: number(3) };
        let parts = [trailer.rows_bytes, trailer.index_bytes, trailer.removals_bytes, TRAILER_BYTES];
        match parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part)) == Some(bytes) {
            true => Ok(trailer),
            false => Err(is_none()),
        }
    }
}

/// The rows of a segment as an Arrow IPC file.
pub(crate) fn encode_rows(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::with_capacity(rows.get_array_memory_size());
    let mut writer = FileWriter::try_new(&mut bytes, &rows.schema())?;
    for first in (0..rows.num_rows()).step_by(BLOCK_ROWS) {
        writer.write(&rows.slice(first, BLOCK_ROWS.min(rows.num_rows() - first)))?;
    }
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// A file.
pub(crate) fn encode(changes: &Changes) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = encode_rows(&changes.rows)?;
    let rows_bytes = bytes.len() as u64;
    let hashes: ArrayRef = Arc::new(UInt64Array::new(changes.hashes.clone(), None));
    let expires = changes.expires.clone().map(|expires| (INDEX[1], Arc::new(expires) as ArrayRef, true));
    let index = RecordBatch::try_from_iter_with_nullable([(INDEX[0], hashes, false)].into_iter().chain(expires))?;
    let (segments, gone): (Vec<u32>, Vec<u32>) = changes.removals.places().map(|place| (place.segment, place.row)).unzip();
    let removals = RecordBatch::try_from_iter([
        (REMOVED[0], Arc::new(UInt32Array::from(segments)) as ArrayRef),
        (REMOVED[1], Arc::new(UInt32Array::from(gone))),
    ])?;
    append(&mut bytes, &index)?;
    let index_bytes = bytes.len() as u64 - rows_bytes;
    append(&mut bytes, &removals)?;
    let removals_bytes = bytes.len() as u64 - rows_bytes - index_bytes;
    let trailer = Trailer { rows_bytes, index_bytes, removals_bytes, rows: changes.rows.num_rows() as u64 };
    bytes.extend(trailer.encode());
    Ok(bytes)
}

fn append(bytes: &mut Vec<u8>, part: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, &part.schema())?;
    writer.write(part)?;
    writer.finish()
}

/// What [`encode`] has written, in memory.
pub(crate) fn decode(number: u32, bytes: &[u8]) -> Result<Recorded, ArrowError> {
    let all = bytes.len() as u64;
    let start = bytes.len().saturating_sub(TRAILER_BYTES as usize);
    let trailer = Trailer::decode(&bytes[start..], all)?;
    let (rows, rest) = bytes.split_at(usize::try_from(trailer.rows_bytes).unwrap_or(usize::MAX).min(bytes.len()));
    let reader = FileReader::try_new(Cursor::new(rows), None)?;
    let schema = reader.schema();
    let rows = concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>()?)?;
    if rows.num_rows() as u64 != trailer.rows {
        let (found, were) = (rows.num_rows(), trailer.rows);
        return Err(ArrowError::IpcError(format!("it has {found} rows, and {were} were written")));
    }
    recorded(number, Rows::Held(rows), rest)
}

/// A file on the local disk, whose rows stay there.
///
/// **Errors**: when it is not there, or is not what was written.
pub(crate) fn open(number: u32, path: &Path, bytes: u64) -> Result<Recorded, ArrowError> {
    let mut file = File::open(path)?;
    let trailer = trailer_of(&mut file, bytes)?;
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(trailer.rows_bytes))?;
    file.read_to_end(&mut rest)?;
    let rows = usize::try_from(trailer.rows).unwrap_or(usize::MAX);
    let rows = Filed::open(path, trailer.rows_bytes, rows, None)?;
    recorded(number, Rows::Filed(Box::new(rows)), &rest)
}

/// How many bytes of a file on the local disk are rows: its first ones.
pub(crate) fn rows_bytes(path: &Path, bytes: u64) -> Result<u64, ArrowError> {
    Ok(trailer_of(&mut File::open(path)?, bytes)?.rows_bytes)
}

fn trailer_of(file: &mut File, bytes: u64) -> Result<Trailer, ArrowError> {
    let at = bytes.checked_sub(TRAILER_BYTES).filter(|_| file.metadata().is_ok_and(|found| found.len() == bytes));
    let at = at.ok_or_else(|| ArrowError::IpcError(format!("it does not have the {bytes} bytes that were written")))?;
    let mut last = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.read_to_end(&mut last)?;
    Trailer::decode(&last, bytes)
}

/// From the parts behind the rows.
fn recorded(number: u32, rows: Rows, mut rest: &[u8]) -> Result<Recorded, ArrowError> {
    let index = next_part(&mut rest)?;
    let gone = next_part(&mut rest)?;
    let wrong = |what: &str| ArrowError::IpcError(format!("its {what} is not one"));
    let hashes = index.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let hashes = hashes.filter(|hashes| hashes.len() == rows.len()).ok_or_else(|| wrong("index"))?.values().clone();
    if !hashes.is_sorted() {
        return Err(wrong("index"));
    }
    let expires = index.columns().get(1).map(|column| column.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong("index")));
    let expires = expires.transpose()?.cloned();
    let column = |at: usize| {
        let numbers = gone.columns().get(at).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        numbers.ok_or_else(|| wrong("list of removals"))
    };
    let mut removals = Removals::default();
    for (segment, row) in column(0)?.values().iter().zip(column(1)?.values()) {
        removals.add(Place { segment: *segment, row: *row });
    }
    Ok(Recorded { number, rows, hashes, expires, removals })
}

fn next_part(bytes: &mut &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(&mut *bytes, None)?;
    let batch = reader.next().transpose()?.ok_or_else(|| ArrowError::IpcError("a part of the file is empty".to_owned()))?;
    // Up to the mark that ends the part.
    match reader.next() {
        None => Ok(batch),
        Some(_) => Err(ArrowError::IpcError("a part of the file has more than one batch".to_owned())),
    }
}
