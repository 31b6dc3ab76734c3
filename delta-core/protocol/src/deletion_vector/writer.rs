//! Writing deletion vectors: small ones into the log, the others many to a file.

use super::bitmap::DeletionVector;
use super::descriptor::{DeletionVectorDescriptor, StorageType};
use super::{file, z85};
use crate::error::{ProtocolError, Result};

/// Offsets and sizes in the log have 31 bits.
const LARGEST_BYTES: usize = i32::MAX as usize;

impl DeletionVectorDescriptor {
    /// A vector that is kept in the log itself. Only for small ones: every checkpoint carries it along.
    ///
    /// **Errors**: `Exhausted` for a vector beyond 2 GB.
    pub fn inline(vector: &DeletionVector) -> Result<Self> {
        let bytes = vector.encode();
        Ok(Self {
            storage_type: StorageType::Inline,
            path_or_inline_dv: z85::encode(&bytes),
            offset: None,
            size_in_bytes: size(bytes.len(), 0)?,
            cardinality: vector.len(),
        })
    }

    /// The same vector in a copy of its file, which is named by this UUID and lies in the table's folder.
    #[must_use]
    pub fn in_file(&self, uuid: [u8; 16]) -> Self {
        let (storage_type, path_or_inline_dv) = (StorageType::UuidRelativePath, z85::encode(&uuid));
        Self { storage_type, path_or_inline_dv, ..self.clone() }
    }
}

/// The bytes of a file of deletion vectors that is being put together.
///
/// # Example
/// ```
/// use boathouse_delta_protocol::deletion_vector::{DeletionVector, VectorFile, VectorLocation};
///
/// let (one, two): (DeletionVector, DeletionVector) = ([3, 4].into_iter().collect(), [7].into_iter().collect());
/// let mut file = VectorFile::new([7; 16]);
/// let (first, second) = (file.push(&one)?, file.push(&two)?);
/// assert_eq!(first.location()?, VectorLocation::InTable(file.path()));
/// let bytes = file.into_bytes();
/// assert_eq!(first.file_bitmap(&bytes[1..])?, one);
/// let start = second.offset.unwrap() as usize;
/// assert_eq!(second.file_bitmap(&bytes[start..])?, two);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone)]
pub struct VectorFile {
    uuid: [u8; 16],
    bytes: Vec<u8>,
}

impl VectorFile {
    /// An empty file that is named by this UUID.
    pub fn new(uuid: [u8; 16]) -> Self {
        Self { uuid, bytes: Vec::new() }
    }

    /// Appends a vector, and says how the log refers to it.
    ///
    /// **Errors**: `Exhausted` when the file would grow beyond 2 GB.
    pub fn push(&mut self, vector: &DeletionVector) -> Result<DeletionVectorDescriptor> {
        let bytes = vector.encode();
        let size_in_bytes = size(bytes.len(), self.bytes.len())?;
        let offset = file::append(&mut self.bytes, &bytes);
        Ok(DeletionVectorDescriptor {
            storage_type: StorageType::UuidRelativePath,
            path_or_inline_dv: z85::encode(&self.uuid),
            // It fits: `size` has looked at it.
            offset: u32::try_from(offset).ok(),
            size_in_bytes,
            cardinality: vector.len(),
        })
    }

    /// Whether it holds no vector.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its path below the table's folder.
    pub fn path(&self) -> String {
        file::name("", self.uuid)
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The size of a vector behind `before` bytes, with its length and its checksum.
fn size(bytes: usize, before: usize) -> Result<u32> {
    let too_large = || ProtocolError::VectorTooLarge { bytes };
    let end = before.checked_add(bytes).and_then(|end| end.checked_add(9)).filter(|end| *end <= LARGEST_BYTES);
    end.and_then(|_| u32::try_from(bytes).ok()).ok_or_else(too_large)
}
