//! Loading deletion vectors.

use std::sync::Arc;

use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor, VectorLocation, file};
use boathouse_delta_protocol::{DeletionVectorProblem, ProtocolError};
use boathouse_storage::Storage;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::object::locate;
use crate::error::{DeltaError, Result};

/// The deletion vector of a data file, and where it is: all that is needed to load it from the store of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVector {
    /// The table.
    url: String,
    /// The version that says so.
    version: u64,
    /// The data file.
    data_file: String,
    /// The file of the vector as the log has it, and its path within the store; nothing when it stands in the log.
    file: Option<(String, String)>,
    descriptor: DeletionVectorDescriptor,
}

impl FileVector {
    /// Finds out where the vector is. Does no I/O.
    ///
    /// **Errors**: `Corrupt` when its name is none; `Unsupported` when it lies in another store.
    pub(crate) fn new(storage: &Storage, version: u64, data_file: &str, descriptor: &DeletionVectorDescriptor) -> Result<Self> {
        let file = match descriptor.location().map_err(|error| vector_error(storage.url(), version, data_file, error))? {
            VectorLocation::Inline => None,
            VectorLocation::InTable(path) | VectorLocation::Absolute(path) => {
                let object = locate(storage, &path)?;
                Some((path, object.to_string()))
            }
        };
        let (url, data_file) = (storage.url().to_owned(), data_file.to_owned());
        Ok(Self { url, version, data_file, file, descriptor: descriptor.clone() })
    }

    /// How many rows it deletes.
    pub fn cardinality(&self) -> u64 {
        self.descriptor.cardinality
    }

    /// Reads it. Its size, checksum and number of rows are verified.
    ///
    /// **Errors**: `Corrupt` names the data file, the vector and what is wrong with it; `NotFound` when its file is gone.
    ///
    /// **Cost**: one GET of a range, or nothing.
    pub async fn load(&self, store: &Arc<dyn ObjectStore>) -> Result<DeletionVector> {
        let vector = &self.descriptor;
        let Some((path, object)) = &self.file else { return vector.inline_bitmap().map_err(|error| self.failed(error)) };
        let object = Path::parse(object).map_err(|_| DeltaError::ForeignFile { url: self.url.clone(), path: path.clone() })?;
        // The first byte of the file is its format version, so that no vector starts before the second. It is checked
        // where that costs nothing.
        let start = u64::from(vector.offset.unwrap_or(1));
        let from = if start == 1 { 0 } else { start };
        let bytes = match store.get_range(&object, from..start + vector.file_bytes()).await {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => {
                let (url, path) = (self.url.clone(), path.clone());
                return Err(DeltaError::DataFileMissing { url, path, version: self.version });
            }
            Err(source) => match found_bytes(store, &object, start).await {
                Some(found) => return Err(self.corrupt(DeletionVectorProblem::Truncated { found })),
                None => {
                    let (url, path) = (self.url.clone(), path.clone());
                    return Err(DeltaError::Store { attempted: "read", url, path, source: Box::new(source) });
                }
            },
        };
        let bytes = if from == 0 {
            file::check_version(&bytes).map_err(|problem| self.corrupt(problem))?;
            bytes.slice(1..)
        } else {
            bytes
        };
        vector.file_bitmap(&bytes).map_err(|error| self.failed(error))
    }

    /// Checks that the vector speaks of rows that its file has.
    ///
    /// **Errors**: `Corrupt`.
    pub fn check_rows(&self, vector: &DeletionVector, rows: u64) -> Result<()> {
        if vector.count_in(0..rows) == vector.len() {
            Ok(())
        } else {
            Err(self.corrupt(DeletionVectorProblem::BeyondFile { rows }))
        }
    }

    fn corrupt(&self, problem: DeletionVectorProblem) -> DeltaError {
        self.failed(ProtocolError::CorruptDeletionVector { vector: self.descriptor.unique_id(), problem })
    }

    fn failed(&self, error: ProtocolError) -> DeltaError {
        vector_error(&self.url, self.version, &self.data_file, error)
    }
}

/// Reads the deletion vector of a data file.
pub(crate) async fn load_vector(
    storage: &Storage,
    version: u64,
    data_file: &str,
    vector: &DeletionVectorDescriptor,
) -> Result<DeletionVector> {
    FileVector::new(storage, version, data_file, vector)?.load(storage.object_store()).await
}

/// Says which data file an error about a deletion vector is about.
fn vector_error(url: &str, version: u64, data_file: &str, source: ProtocolError) -> DeltaError {
    DeltaError::DeletionVector { url: url.to_owned(), path: data_file.to_owned(), version, source: Box::new(source) }
}

/// How many bytes there are from `start` on, when the file is too short for a range that starts there.
async fn found_bytes(store: &Arc<dyn ObjectStore>, object: &Path, start: u64) -> Option<usize> {
    let size = store.head(object).await.ok()?.size;
    (size <= start).then_some(0)
}
