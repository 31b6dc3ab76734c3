//! Where a deletion vector is.

use serde::{Deserialize, Serialize};

use super::bitmap::DeletionVector;
use super::{file, z85};
use crate::action::decode_path;
use crate::error::{DeletionVectorProblem, ProtocolError, Result};

/// How [`DeletionVectorDescriptor::path_or_inline_dv`] is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageType {
    /// `u`: in a file below the table whose name is a UUID.
    #[serde(rename = "u")]
    UuidRelativePath,
    /// `i`: in the log itself.
    #[serde(rename = "i")]
    Inline,
    /// `p`: in a file with this absolute path.
    #[serde(rename = "p")]
    AbsolutePath,
}

impl StorageType {
    /// The letter in the log.
    pub fn letter(self) -> char {
        match self {
            Self::UuidRelativePath => 'u',
            Self::Inline => 'i',
            Self::AbsolutePath => 'p',
        }
    }

    /// From the letter in the log.
    pub fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "u" => Some(Self::UuidRelativePath),
            "i" => Some(Self::Inline),
            "p" => Some(Self::AbsolutePath),
            _ => None,
        }
    }
}

/// Which rows of a file are deleted, by reference.
///
/// **Source**: Delta protocol, "Deletion Vector Descriptor Schema".
///
/// # Example
/// ```
/// use boathouse_delta_protocol::deletion_vector::{DeletionVectorDescriptor, StorageType};
///
/// let inline = DeletionVectorDescriptor {
///     storage_type: StorageType::Inline,
///     path_or_inline_dv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L".to_owned(),
///     offset: None,
///     size_in_bytes: 44,
///     cardinality: 6,
/// };
/// let rows = inline.inline_bitmap()?;
/// assert_eq!(rows.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
/// # Ok::<_, boathouse_delta_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionVectorDescriptor {
    /// How to read the next field.
    pub storage_type: StorageType,
    /// A Base85 UUID with an optional prefix, the vector itself in Base85, or an absolute path.
    pub path_or_inline_dv: String,
    /// Where the vector starts in its file; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Bytes of the vector, before Base85, without length and checksum.
    pub size_in_bytes: u32,
    /// How many rows it deletes.
    pub cardinality: u64,
}

/// Where the bytes of a vector are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VectorLocation {
    /// In the descriptor: [`DeletionVectorDescriptor::inline_bitmap`] decodes it.
    Inline,
    /// In a file at this path below the table's folder.
    InTable(String),
    /// In a file at this absolute path or URL, without percent-encoding.
    Absolute(String),
}

impl DeletionVectorDescriptor {
    /// Tells this vector from others of the same data file.
    pub fn unique_id(&self) -> String {
        let letter = self.storage_type.letter();
        match self.offset {
            None => format!("{letter}{}", self.path_or_inline_dv),
            Some(offset) => format!("{letter}{}@{offset}", self.path_or_inline_dv),
        }
    }

    /// Where its bytes are.
    ///
    /// **Errors**: `Corrupt` when the name of the file is no Base85 UUID.
    pub fn location(&self) -> Result<VectorLocation> {
        match self.storage_type {
            StorageType::Inline => Ok(VectorLocation::Inline),
            // As the paths of data files, it is percent-encoded.
            StorageType::AbsolutePath => Ok(VectorLocation::Absolute(decode_path(&self.path_or_inline_dv)?.into_owned())),
            StorageType::UuidRelativePath => {
                let problem = || self.corrupt(DeletionVectorProblem::NotUuid);
                let text = &self.path_or_inline_dv;
                // The UUID is the last 20 characters; what precedes it is a folder.
                let at = text.len().checked_sub(20).ok_or_else(problem)?;
                let (prefix, uuid) = text.split_at_checked(at).ok_or_else(problem)?;
                let uuid: [u8; 16] = z85::decode(uuid).and_then(|b| b.try_into().ok()).ok_or_else(problem)?;
                Ok(VectorLocation::InTable(file::name(prefix, uuid)))
            }
        }
    }

    /// Decodes a vector that is kept in the log itself.
    ///
    /// **Errors**: `Corrupt` when it is not one, or has another size or another number of rows than it says.
    pub fn inline_bitmap(&self) -> Result<DeletionVector> {
        if self.storage_type != StorageType::Inline {
            return Err(self.corrupt(DeletionVectorProblem::Storage { stored: "in a file", asked: "in the log" }));
        }
        let bytes = z85::decode(&self.path_or_inline_dv).ok_or_else(|| self.corrupt(DeletionVectorProblem::NotBase85))?;
        // Z85 works in groups of four bytes, so there may be some to spare.
        let size = self.size_in_bytes as usize;
        let bytes =
            bytes.get(..size).ok_or_else(|| self.corrupt(DeletionVectorProblem::Size { expected: size, found: bytes.len() }))?;
        self.check(DeletionVector::decode(bytes).map_err(|p| self.corrupt(p))?)
    }

    /// Decodes a vector from the bytes of its file.
    ///
    /// `bytes` are those from [`offset`](Self::offset) on: [`file_bytes`](Self::file_bytes) of them.
    ///
    /// **Errors**: `Corrupt` when size, checksum or number of rows are not what they should be.
    pub fn file_bitmap(&self, bytes: &[u8]) -> Result<DeletionVector> {
        let problem = |p| self.corrupt(p);
        let data = file::payload(bytes, self.size_in_bytes as usize).map_err(problem)?;
        self.check(DeletionVector::decode(data).map_err(problem)?)
    }

    /// How many bytes of the file, from [`offset`](Self::offset) on, [`file_bitmap`](Self::file_bitmap) needs:
    /// length, vector and checksum.
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.size_in_bytes) + 8
    }

    fn check(&self, vector: DeletionVector) -> Result<DeletionVector> {
        let found = vector.len();
        if found == self.cardinality {
            Ok(vector)
        } else {
            Err(self.corrupt(DeletionVectorProblem::Cardinality { expected: self.cardinality, found }))
        }
    }

    fn corrupt(&self, problem: DeletionVectorProblem) -> ProtocolError {
        ProtocolError::CorruptDeletionVector { vector: self.unique_id(), problem }
    }
}
