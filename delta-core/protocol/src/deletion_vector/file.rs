//! The file that holds deletion vectors.
//!
//! ```text
//!   1                    format version
//!   ┌ size (4, big-endian) │ vector (size bytes) │ CRC-32 of the vector (4, big-endian) ┐  once a vector
//! ```
//! A descriptor's offset points at `size`.
//!
//! **Source**: Delta protocol, "Deletion Vector File Storage Format".

use super::checksum::crc32;
use crate::error::DeletionVectorProblem;

/// The first byte of such a file.
pub const FORMAT_VERSION: u8 = 1;

/// The path of the file below the table's folder.
pub fn name(prefix: &str, uuid: [u8; 16]) -> String {
    let mut name = String::with_capacity(64);
    if !prefix.is_empty() {
        name.push_str(prefix);
        name.push('/');
    }
    name.push_str("deletion_vector_");
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            name.push('-');
        }
        name.push_str(&format!("{byte:02x}"));
    }
    name.push_str(".bin");
    name
}

/// Checks the first byte of a file.
///
/// **Errors**: when it is empty or of another format version.
pub fn check_version(bytes: &[u8]) -> Result<(), DeletionVectorProblem> {
    match bytes.first() {
        Some(&FORMAT_VERSION) => Ok(()),
        Some(&found) => Err(DeletionVectorProblem::FileVersion { found }),
        None => Err(DeletionVectorProblem::Truncated { found: 0 }),
    }
}

/// The vector among the bytes from its offset on, with its checksum verified.
///
/// **Errors**: when they end too early, hold another size, or another checksum.
pub fn payload(bytes: &[u8], size: usize) -> Result<&[u8], DeletionVectorProblem> {
    let truncated = DeletionVectorProblem::Truncated { found: bytes.len() };
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| truncated.clone())?;
    let found = u32::from_be_bytes(*head) as usize;
    if found != size {
        return Err(DeletionVectorProblem::Size { expected: size, found });
    }
    let (data, rest) = rest.split_at_checked(size).ok_or_else(|| truncated.clone())?;
    let expected = u32::from_be_bytes(*rest.first_chunk::<4>().ok_or(truncated)?);
    let found = crc32(data);
    if expected == found { Ok(data) } else { Err(DeletionVectorProblem::Checksum { expected, found }) }
}

/// Appends a vector to the bytes of a file, and says at which offset.
///
/// An empty `file` gets its format version first.
pub fn append(file: &mut Vec<u8>, vector: &[u8]) -> u64 {
    if file.is_empty() {
        file.push(FORMAT_VERSION);
    }
    let offset = file.len() as u64;
    // A vector is far below 4 GB: it has at most one bit a row, and descriptors keep 32 bits.
    file.extend_from_slice(&u32::try_from(vector.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend_from_slice(vector);
    file.extend_from_slice(&crc32(vector).to_be_bytes());
    offset
}
