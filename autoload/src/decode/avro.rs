//! Avro object container files, with the schema that each brings.
//!
//! The reader takes a file that ends within a block for one that ends before it, so the blocks are walked over first.
//!
//! **Source**: Apache Avro 1.12, "Object Container Files".

use std::io::Cursor;

use arrow_array::RecordBatch;
use arrow_avro::reader::{Reader, ReaderBuilder};
use arrow_schema::{ArrowError, Fields};
use bytes::Bytes;

use super::typed::normalized;

const SYNC_BYTES: usize = 16;

fn reader(bytes: &Bytes, batch_rows: usize) -> Result<Reader<Cursor<Bytes>>, ArrowError> {
    ReaderBuilder::new().with_batch_size(batch_rows).build(Cursor::new(bytes.clone()))
}

/// The batches of a file; the last item is an error where the file breaks off.
pub(super) fn open(
    bytes: &Bytes,
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>> + use<>, ArrowError> {
    let (end, broken) = match blocks(bytes) {
        Ok(()) => (bytes.len(), None),
        Err((end, reason)) => (end, Some(Err(ArrowError::AvroError(reason)))),
    };
    let whole = reader(&bytes.slice(..end), batch_rows)?;
    Ok(whole.chain(broken))
}

/// The columns of a file; the error is why it cannot be read.
pub(super) fn fields(bytes: &Bytes) -> Result<Fields, ArrowError> {
    Ok(normalized(reader(bytes, 1)?.schema().fields()))
}

/// Walks over the blocks. The error is where the whole ones end, and what follows them.
fn blocks(bytes: &[u8]) -> Result<(), (usize, String)> {
    let mut walk = Walk { bytes, at: 4 };
    // A header that is none is the reader's to refuse.
    let Some(sync) = walk.header() else { return Ok(()) };
    while walk.at < bytes.len() {
        let start = walk.at;
        let broken = |what: &str| Err((start, format!("the block at byte {start} {what}")));
        let Some(size) = walk.long().and_then(|_rows| walk.long()).and_then(|size| usize::try_from(size).ok()) else {
            return broken("has no size");
        };
        match walk.take(size).and_then(|_data| walk.take(SYNC_BYTES)) {
            None => return broken("is longer than the file"),
            Some(found) if found != sync => return broken("does not end with the marker of the file"),
            Some(_) => {}
        }
    }
    Ok(())
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Passes over the header's metadata; gives the marker.
    fn header(&mut self) -> Option<&'a [u8]> {
        loop {
            let mut entries = self.long()?;
            if entries == 0 {
                return self.take(SYNC_BYTES);
            }
            if entries < 0 {
                self.long()?;
                entries = entries.checked_neg()?;
            }
            for _ in 0..entries {
                for _key_and_value in 0..2 {
                    let length = usize::try_from(self.long()?).ok()?;
                    self.take(length)?;
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// A number of seven bits a byte, the sign last.
    fn long(&mut self) -> Option<i64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
            }
        }
        None
    }
}
