//! From the URL of a model folder to a model.

use std::collections::BTreeMap;
use std::fmt;

use boathouse_base::{BoxFuture, SharedModel};
use boathouse_storage::{Location, Storage, Stores};
use bytes::Bytes;

use super::files::{MLMODEL_FILE, ModelFiles, payload};
use crate::error::{Result, ServingError};

/// Loads the model at a source, as a catalog names it: what an endpoint needs to know of storage.
///
/// Hand in your own for folders elsewhere, or for model formats of your own.
pub trait ModelLoader: Send + Sync + fmt::Debug {
    /// The model in the folder at `source`, a URL.
    ///
    /// **Errors**: `NotFound` when there is no such folder; `Unsupported` for a flavor that is not known;
    /// `Corrupt` when a file contradicts its format.
    fn load<'a>(&'a self, source: &'a str) -> BoxFuture<'a, boathouse_base::Result<SharedModel>>;
}

/// Loads model folders from the stores that URLs name.
///
/// **Cost**: two reads: `MLmodel`, and the file that it names.
#[derive(Debug, Clone)]
pub struct StorageLoader {
    stores: Stores,
}

impl StorageLoader {
    /// Loads through these stores.
    pub fn new(stores: Stores) -> Self {
        Self { stores }
    }
}

impl Default for StorageLoader {
    fn default() -> Self {
        Self::new(Stores::new())
    }
}

impl ModelLoader for StorageLoader {
    fn load<'a>(&'a self, source: &'a str) -> BoxFuture<'a, boathouse_base::Result<SharedModel>> {
        Box::pin(async move {
            let storage = self.stores.open(&Location::parse(source)?)?;
            let files = ModelFiles::read(&storage).await?;
            // Parsing a large model or optimising a graph takes CPU time.
            let load = tokio::task::spawn_blocking(move || files.load()).await;
            Ok(load.map_err(|e| ServingError::Stopped { message: e.to_string(), panicked: e.is_panic() })??)
        })
    }
}

impl ModelFiles {
    /// Reads `MLmodel` and the file that it names; others are left where they are.
    ///
    /// **Errors**: [`ServingError::ModelFile`] of kind `NotFound` when there is no such folder;
    /// [`ServingError::Flavor`] when this build loads none of its flavors.
    pub async fn read(folder: &Storage) -> Result<Self> {
        let get = async |path: &str| {
            folder.get(path).await.map_err(|e| ServingError::ModelFile {
                action: "read",
                url: folder.url_of(path),
                source: e.into(),
            })
        };
        let mut files = BTreeMap::from([(MLMODEL_FILE.to_owned(), get(MLMODEL_FILE).await?)]);
        let (_, data) = payload(&Self::from_files(files.clone()).mlmodel()?)?;
        let bytes: Bytes = get(&data).await?;
        files.insert(data, bytes);
        Ok(Self::from_files(files))
    }

    /// Writes every file into a folder, `MLmodel` last: a folder with one is whole.
    ///
    /// **Errors**: [`ServingError::ModelFile`].
    pub async fn write(&self, folder: &Storage) -> Result<()> {
        let (last, first): (Vec<_>, Vec<_>) = self.iter().partition(|(path, _)| *path == MLMODEL_FILE);
        for (path, bytes) in first.into_iter().chain(last) {
            folder.put(path, bytes.clone()).await.map_err(|e| ServingError::ModelFile {
                action: "write",
                url: folder.url_of(path),
                source: e.into(),
            })?;
        }
        Ok(())
    }
}
