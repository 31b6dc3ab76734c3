//! `_last_checkpoint`, which moves forward only.

use std::sync::Arc;

use boathouse_delta_protocol::log_path::{LAST_CHECKPOINT, LastCheckpoint};
use boathouse_storage::Storage;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::super::list::log_path;
use crate::error::{DeltaError, OnTable, Result};

/// How often the pointer is looked at again when another writer changes it meanwhile.
const ATTEMPTS: u32 = 5;

/// Points to a checkpoint, unless a later one is pointed to. Says whether it was moved.
///
/// Where the store can, the pointer is exchanged only if nobody else did meanwhile. Where it cannot, a writer that was
/// held up right here may move it back a little: that costs readers a few commits, and no truth.
pub(super) async fn advance(storage: &Storage, pointer: &LastCheckpoint) -> Result<bool> {
    let (store, path) = (storage.object_store(), storage.path_of(&log_path(LAST_CHECKPOINT))?);
    let bytes = pointer.to_json().on(storage.url())?;
    let failed = |attempted, source| DeltaError::Store {
        attempted,
        url: storage.url().to_owned(),
        path: log_path(LAST_CHECKPOINT),
        source: Box::new(source),
    };
    for _ in 0..ATTEMPTS {
        let mode = match store.get(&path).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                let bytes = found.bytes().await.map_err(|source| failed("read", source))?;
                // A damaged pointer is no pointer.
                if LastCheckpoint::parse(&bytes).is_ok_and(|last| last.version > pointer.version) {
                    return Ok(false);
                }
                if version.e_tag.is_some() { PutMode::Update(version) } else { PutMode::Overwrite }
            }
            Err(object_store::Error::NotFound { .. }) => PutMode::Create,
            Err(source) => return Err(failed("read", source)),
        };
        match put(store, &path, &bytes, mode).await {
            Ok(()) => return Ok(true),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {}
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                put(store, &path, &bytes, PutMode::Overwrite).await.map_err(|source| failed("write", source))?;
                return Ok(true);
            }
            Err(source) => return Err(failed("write", source)),
        }
    }
    // Others move it all the time: they are further.
    Ok(false)
}

async fn put(
    store: &Arc<dyn ObjectStore>,
    path: &object_store::path::Path,
    bytes: &[u8],
    mode: PutMode,
) -> object_store::Result<()> {
    let options = PutOptions { mode, ..PutOptions::default() };
    store.put_opts(path, PutPayload::from(bytes.to_vec()), options).await.map(drop)
}
