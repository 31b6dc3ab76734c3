//! Bytes on their way to one object: a single put when they are few, a multipart upload otherwise.

use std::sync::Arc;

use boathouse_storage::Storage;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

/// Bytes of one part of an upload.
pub(crate) const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way at once: what an upload may hold in memory.
const PARTS_AT_ONCE: usize = 2;

/// An object that is being written. It becomes visible when [`finish`](Self::finish) succeeds, not before.
pub(crate) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    state: State,
    bytes: u64,
}

enum State {
    Small(Vec<Bytes>),
    Parts(WriteMultipart),
}

impl Upload {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { store, path, state: State::Small(Vec::new()), bytes: 0 }
    }

    /// Appends bytes. Waits while too many parts are on their way.
    pub(crate) async fn put(&mut self, bytes: Bytes) -> object_store::Result<()> {
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        match &mut self.state {
            State::Small(held) if before + (bytes.len() as u64) < PART_BYTES as u64 => held.push(bytes),
            State::Small(held) => {
                let held = std::mem::take(held);
                let upload = self.store.put_multipart(&self.path).await?;
                let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
                held.into_iter().for_each(|b| parts.put(b));
                parts.put(bytes);
                self.state = State::Parts(parts);
            }
            State::Parts(parts) => {
                parts.wait_for_capacity(PARTS_AT_ONCE).await?;
                parts.put(bytes);
            }
        }
        Ok(())
    }

    /// Makes the object visible, and says how many bytes it has.
    pub(crate) async fn finish(self) -> object_store::Result<u64> {
        match self.state {
            State::Small(held) => {
                self.store.put(&self.path, PutPayload::from_iter(held)).await?;
            }
            State::Parts(parts) => {
                parts.finish().await?;
            }
        }
        Ok(self.bytes)
    }

    /// Gives the upload up. Best effort: what a store keeps of it is never referenced.
    pub(crate) async fn abort(self) {
        if let State::Parts(parts) = self.state
            && let Err(error) = parts.abort().await
        {
            tracing::warn!(path = %self.path, %error, "an abandoned upload could not be cleaned up");
        }
    }
}

/// Copies an object so that the copy is young: within the store where both places are in one, or else piece by piece.
pub(crate) async fn copy_object(from: &Storage, source: &Path, to: &Storage, target: Path) -> object_store::Result<()> {
    // On a local disk a copy within the store would be a hard link, which is as old as its source.
    if Arc::ptr_eq(from.object_store(), to.object_store()) && !to.url().starts_with("file:") {
        return to.object_store().copy(source, &target).await;
    }
    let mut bytes = from.object_store().get(source).await?.into_stream();
    let mut upload = Upload::new(Arc::clone(to.object_store()), target);
    while let Some(piece) = bytes.next().await {
        if let Err(error) = async { upload.put(piece?).await }.await {
            upload.abort().await;
            return Err(error);
        }
    }
    upload.finish().await.map(drop)
}
