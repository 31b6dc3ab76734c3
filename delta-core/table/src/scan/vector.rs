//! Loading deletion vectors.

use boathouse_delta_protocol::deletion_vector::{DeletionVector, DeletionVectorDescriptor, VectorLocation};
use boathouse_storage::Storage;
use object_store::ObjectStoreExt;

use super::object::locate;
use crate::error::{DeltaError, OnTable, Result};

/// Reads a deletion vector. Its size, checksum and number of rows are verified.
pub(crate) async fn load_vector(storage: &Storage, version: u64, vector: &DeletionVectorDescriptor) -> Result<DeletionVector> {
    let path = match vector.location().on(storage.url())? {
        VectorLocation::Inline => return vector.inline_bitmap().on(storage.url()),
        VectorLocation::InTable(path) | VectorLocation::Absolute(path) => path,
    };
    let object = locate(storage, &path)?;
    // The first byte of the file is its format version, so that no vector starts before the second.
    let start = u64::from(vector.offset.unwrap_or(1));
    let bytes = storage.object_store().get_range(&object, start..start + vector.file_bytes()).await;
    let bytes = bytes.map_err(|source| match source {
        object_store::Error::NotFound { .. } => {
            DeltaError::DataFileMissing { url: storage.url().to_owned(), path: path.clone(), version }
        }
        source => {
            DeltaError::Store { attempted: "read", url: storage.url().to_owned(), path: path.clone(), source: Box::new(source) }
        }
    })?;
    vector.file_bitmap(&bytes).on(storage.url())
}
