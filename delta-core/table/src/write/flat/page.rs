//! Pages of a column chunk: their headers, their compression, and how they are read one after the other.
//!
//! **Source**: Parquet format, parquet.thrift, `PageHeader`; Thrift compact protocol.

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Encoding};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::packing::zigzag;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::write) enum Codec {
    Nothing,
    Zstd { level: i32 },
}

impl Codec {
    /// Nothing for the codecs that the `parquet` crate has to do.
    pub(in crate::write) fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::UNCOMPRESSED => Some(Self::Nothing),
            Compression::ZSTD(level) => Some(Self::Zstd { level: level.compression_level() }),
            _ => None,
        }
    }
}

/// What encoding a page needs, and the next page needs again: as many as there are threads, not as columns.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A page before it is compressed.
    pub(super) page: Vec<u8>,
    pub(super) zstd: Zstd,
}

/// Idle [`Scratch`], for the next thread that encodes.
#[derive(Default)]
pub(crate) struct ScratchPool(Mutex<Vec<Scratch>>);

impl ScratchPool {
    pub(crate) fn take(&self) -> Scratch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps it if no more than `most` are idle.
    pub(crate) fn give(&self, scratch: Scratch, most: usize) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < most {
            idle.push(scratch);
        }
    }
}

impl fmt::Debug for ScratchPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScratchPool").finish_non_exhaustive()
    }
}

/// A compressor with its tables, and the room for what it makes.
#[derive(Default)]
pub(super) struct Zstd {
    compressor: Option<(i32, zstd::bulk::Compressor<'static>)>,
    made: Vec<u8>,
}

impl Zstd {
    pub(super) fn compress(&mut self, bytes: &[u8], level: i32) -> Result<&[u8]> {
        let failed = |error: std::io::Error| ParquetError::External(Box::new(error));
        let mut compressor = match self.compressor.take() {
            Some((held, compressor)) if held == level => compressor,
            _ => zstd::bulk::Compressor::new(level).map_err(failed)?,
        };
        self.made.clear();
        self.made.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        compressor.compress_to_buffer(bytes, &mut self.made).map_err(failed)?;
        self.compressor = Some((level, compressor));
        Ok(&self.made)
    }
}

/// What kind of page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Data(Encoding),
    Dictionary,
}

/// A page that is done.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) header: Bytes,
    pub(super) body: Bytes,
    /// Bytes of the body before compression.
    plain_bytes: usize,
}

impl Page {
    /// A page of `values` values, nulls included, whose body had `plain_bytes` bytes before it was compressed.
    pub(super) fn new(kind: PageKind, values: usize, plain_bytes: usize, body: &[u8]) -> Result<Self> {
        let number = |what: &str, value: usize| {
            i32::try_from(value)
                .map(i64::from)
                .map_err(|_| ParquetError::General(format!("a page with {value} {what}: at most {} can be written", i32::MAX)))
        };
        let mut out = Vec::with_capacity(32);
        // A field is one byte, of the distance to the number of the field before and of its type, and a value.
        let mut field = |distance: u8, value: i64| {
            out.push(distance << 4 | 5);
            zigzag(value, &mut out);
        };
        field(1, if kind == PageKind::Dictionary { 2 } else { 0 });
        field(1, number("bytes", plain_bytes)?);
        field(1, number("bytes", body.len())?);
        let values = number("values", values)?;
        const STRUCT: u8 = 12;
        match kind {
            PageKind::Data(encoding) => {
                out.push(2 << 4 | STRUCT);
                let mut field = |value: i64| {
                    out.push(1 << 4 | 5);
                    zigzag(value, &mut out);
                };
                field(values);
                field(id(encoding)?);
                // Definition and repetition levels.
                field(id(Encoding::RLE)?);
                field(id(Encoding::RLE)?);
            }
            PageKind::Dictionary => {
                out.push(4 << 4 | STRUCT);
                out.push(1 << 4 | 5);
                zigzag(values, &mut out);
                out.push(1 << 4 | 5);
                zigzag(id(Encoding::PLAIN)?, &mut out);
            }
        }
        // The ends of both structs.
        out.extend_from_slice(&[0, 0]);
        Ok(Self { header: out.into(), body: Bytes::copy_from_slice(body), plain_bytes })
    }

    /// Bytes in the file.
    pub(super) fn bytes(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Bytes that it would have without compression.
    pub(super) fn uncompressed_bytes(&self) -> usize {
        self.header.len() + self.plain_bytes
    }
}

/// The numbers of the encodings in parquet.thrift.
fn id(encoding: Encoding) -> Result<i64> {
    Ok(match encoding {
        Encoding::PLAIN => 0,
        Encoding::RLE => 3,
        Encoding::DELTA_BINARY_PACKED => 5,
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 6,
        Encoding::RLE_DICTIONARY => 8,
        other => return Err(ParquetError::NYI(format!("pages encoded as {other}"))),
    })
}

/// Pages one after the other, without a copy that holds them all.
#[derive(Debug, Clone)]
pub(super) struct Rope(VecDeque<Bytes>);

impl Rope {
    pub(super) fn new(pages: impl IntoIterator<Item = Page>) -> Self {
        Self(pages.into_iter().flat_map(|page| [page.header, page.body]).filter(|piece| !piece.is_empty()).collect())
    }

    fn skip(&mut self, mut bytes: u64) {
        while let Some(piece) = self.0.front_mut() {
            let step = usize::try_from(bytes).map_or(piece.len(), |bytes| bytes.min(piece.len()));
            piece.advance(step);
            bytes -= step as u64;
            if !piece.is_empty() {
                return;
            }
            self.0.pop_front();
        }
    }
}

impl Read for Rope {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        let taken = into.len().min(piece.len());
        piece.copy_to_slice(&mut into[..taken]);
        if piece.is_empty() {
            self.0.pop_front();
        }
        Ok(taken)
    }
}

impl Length for Rope {
    fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl ChunkReader for Rope {
    type T = Self;

    fn get_read(&self, start: u64) -> Result<Self> {
        let mut rest = self.clone();
        rest.skip(start);
        Ok(rest)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = Vec::new();
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} of a chunk of {}", Length::len(self))));
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_rope_reads_as_its_pieces_in_a_row() {
        let page = |body: &'static [u8]| Page { header: Bytes::from_static(b"h"), body: body.into(), plain_bytes: 0 };
        let rope = Rope::new(vec![page(b"ab"), page(b""), page(b"cde")]);
        let all = b"habhhcde";
        assert_eq!(Length::len(&rope), all.len() as u64);
        for start in 0..=all.len() {
            let mut read = Vec::new();
            rope.get_read(start as u64).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, all[start..]);
            for length in 0..=all.len() - start {
                assert_eq!(rope.get_bytes(start as u64, length).unwrap(), all[start..start + length]);
            }
            assert!(rope.get_bytes(start as u64, all.len() - start + 1).is_err());
        }
    }

    #[test]
    fn what_is_compressed_can_be_read_and_levels_may_change() {
        let bytes = b"one two one two one two one two ".repeat(50);
        let mut zstd = Zstd::default();
        for level in [1, 3, 3, -1] {
            let made = zstd.compress(&bytes, level).unwrap();
            assert!(made.len() < bytes.len() / 10);
            assert_eq!(zstd::bulk::decompress(made, bytes.len()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_page_too_large_for_its_header_is_refused() {
        let error = Page::new(PageKind::Data(Encoding::PLAIN), 1, 1 << 31, b"x").unwrap_err();
        assert!(error.to_string().contains("2147483648 bytes"), "{error}");
    }
}
