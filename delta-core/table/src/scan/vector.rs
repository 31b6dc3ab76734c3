//! Loading deletion vectors.

use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor, VectorLocation, file};
use boathouse_delta_protocol::{DeletionVectorProblem, ProtocolError};
use boathouse_storage::Storage;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::object::locate;
use crate::error::{DeltaError, Result};

/// Reads the deletion vector of a data file. Its size, checksum and number of rows are verified.
///
/// **Errors**: `Corrupt` names the data file, the vector and what is wrong with it; `NotFound` when its file is gone.
pub(crate) async fn load_vector(
    storage: &Storage,
    version: u64,
    data_file: &str,
    vector: &DeletionVectorDescriptor,
) -> Result<DeletionVector> {
    let on = |error| vector_error(storage, version, data_file, error);
    let path = match vector.location().map_err(on)? {
        VectorLocation::Inline => return vector.inline_bitmap().map_err(on),
        VectorLocation::InTable(path) | VectorLocation::Absolute(path) => path,
    };
    let corrupt = |problem| on(ProtocolError::CorruptDeletionVector { vector: vector.unique_id(), problem });
    let object = locate(storage, &path)?;
    // The first byte of the file is its format version, so that no vector starts before the second. It is checked
    // where that costs nothing.
    let start = u64::from(vector.offset.unwrap_or(1));
    let from = if start == 1 { 0 } else { start };
    let bytes = match storage.object_store().get_range(&object, from..start + vector.file_bytes()).await {
        Ok(bytes) => bytes,
        Err(object_store::Error::NotFound { .. }) => {
            return Err(DeltaError::DataFileMissing { url: storage.url().to_owned(), path, version });
        }
        Err(source) => match found_bytes(storage, &object, start).await {
            Some(found) => return Err(corrupt(DeletionVectorProblem::Truncated { found })),
            None => {
                let url = storage.url().to_owned();
                return Err(DeltaError::Store { attempted: "read", url, path, source: Box::new(source) });
            }
        },
    };
    let bytes = if from == 0 {
        file::check_version(&bytes).map_err(corrupt)?;
        bytes.slice(1..)
    } else {
        bytes
    };
    vector.file_bitmap(&bytes).map_err(on)
}

/// Says which data file an error about a deletion vector is about.
pub(crate) fn vector_error(storage: &Storage, version: u64, data_file: &str, source: ProtocolError) -> DeltaError {
    DeltaError::DeletionVector { url: storage.url().to_owned(), path: data_file.to_owned(), version, source: Box::new(source) }
}

/// How many bytes there are from `start` on, when the file is too short for a range that starts there.
async fn found_bytes(storage: &Storage, object: &Path, start: u64) -> Option<usize> {
    let size = storage.object_store().head(object).await.ok()?.size;
    (size <= start).then_some(0)
}
