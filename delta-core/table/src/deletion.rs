//! Deleting many objects.

use boathouse_storage::Storage;
use futures::StreamExt;

use crate::error::{DeltaError, Result};

/// Deletes objects, in bulk where the store can. Those that are gone already are as good as deleted.
///
/// **Errors**: the first one, after everything else was tried.
pub(crate) async fn delete_all(storage: &Storage, paths: &[String]) -> Result<()> {
    let located: Vec<_> = paths.iter().map(|path| storage.path_of(path)).collect::<Result<_, _>>()?;
    let asked = futures::stream::iter(located.into_iter().map(Ok)).boxed();
    let mut deleted = storage.object_store().delete_stream(asked);
    let mut failed = None;
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => {
                failed.get_or_insert(source);
            }
        }
    }
    match failed {
        None => Ok(()),
        Some(source) => Err(DeltaError::Store {
            attempted: "delete",
            url: storage.url().to_owned(),
            path: paths.first().cloned().unwrap_or_default(),
            source: Box::new(source),
        }),
    }
}
