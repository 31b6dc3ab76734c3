//! Compressed files, told apart by their name.

use std::borrow::Cow;
use std::io::{self, Read};

/// The content of a file: `.gz`, `.zst` and `.bz2` are unpacked, everything else is as it is.
pub(super) fn decompress<'a>(path: &str, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
    let mut content = Vec::new();
    if path.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content)?;
    } else if path.ends_with(".zst") {
        zstd::stream::read::Decoder::with_buffer(bytes)?.read_to_end(&mut content)?;
    } else if path.ends_with(".bz2") {
        bzip2::read::MultiBzDecoder::new(bytes).read_to_end(&mut content)?;
    } else {
        return Ok(Cow::Borrowed(bytes));
    }
    Ok(Cow::Owned(content))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn packed_files_come_back_and_truncated_ones_fail() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"hello").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(&*decompress("a.json.gz", &packed).unwrap(), b"hello");
        assert!(decompress("a.json.gz", &packed[..packed.len() - 4]).is_err());
        let packed = zstd::stream::encode_all(&b"hello"[..], 1).unwrap();
        assert_eq!(&*decompress("a.zst", &packed).unwrap(), b"hello");
        assert!(decompress("a.zst", &packed[..packed.len() - 2]).is_err());
        let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        packed.write_all(b"hello").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(&*decompress("a.csv.bz2", &packed).unwrap(), b"hello");
        assert_eq!(&*decompress("a.csv.bz2", &[packed.clone(), packed.clone()].concat()).unwrap(), b"hellohello");
        assert!(decompress("a.csv.bz2", &packed[..packed.len() - 2]).is_err());
        assert_eq!(&*decompress("a.json", b"hello").unwrap(), b"hello");
    }
}
