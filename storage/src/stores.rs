//! Opening stores, and meeting those in memory again by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::error::StorageError;
use crate::location::Location;
use crate::storage::Storage;

/// Opens locations. Clones share the stores in memory: `memory://name/` is one store for all who hold a clone.
#[derive(Debug, Clone, Default)]
pub struct Stores {
    memory: Arc<Mutex<BTreeMap<String, Arc<InMemory>>>>,
}

impl Stores {
    /// An opener without stores in memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a location. Does no I/O. Credentials of cloud stores come from the environment variables that their own
    /// tools use.
    ///
    /// **Errors**: `Invalid` for a URL of an unknown kind; `Unsupported` when its feature is off.
    pub fn open(&self, location: &Location) -> Result<Storage, StorageError> {
        let url = location.url();
        let (store, prefix) = match url.scheme() {
            "file" => local(location)?,
            "memory" => {
                let name = url.host_str().unwrap_or_default().to_owned();
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                let store: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(memory.entry(name).or_default());
                (store, decoded(location)?)
            }
            "s3" | "s3a" => (s3(url)?, decoded(location)?),
            "az" | "abfs" | "abfss" | "azure" => (azure(url)?, decoded(location)?),
            "gs" => (gcs(url)?, decoded(location)?),
            other => {
                return Err(StorageError::InvalidLocation {
                    text: location.as_str().to_owned(),
                    reason: format!("there is no store for `{other}://`"),
                });
            }
        };
        Ok(Storage::from_object_store(store, prefix, location.as_str()))
    }
}

fn local(location: &Location) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
    let invalid = |reason: String| StorageError::InvalidLocation { text: location.as_str().to_owned(), reason };
    let path =
        location.local_path().ok_or_else(|| invalid("it names a host, and only the local disk can be opened".to_owned()))?;
    let path = Path::from_absolute_path(path).map_err(|error| invalid(error.to_string()))?;
    Ok((Arc::new(LocalFileSystem::new()), path))
}

/// The path of a URL as the store has it: with its percent-encoding taken off.
fn decoded(location: &Location) -> Result<Path, StorageError> {
    Path::from_url_path(location.url().path())
        .map_err(|error| StorageError::InvalidLocation { text: location.as_str().to_owned(), reason: error.to_string() })
}

#[cfg(feature = "s3")]
fn s3(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    let store = AmazonS3Builder::from_env().with_url(url.as_str()).with_conditional_put(S3ConditionalPut::ETagMatch).build();
    Ok(Arc::new(store.map_err(|source| StorageError::Setup { url: url.to_string(), source })?))
}

#[cfg(feature = "azure")]
fn azure(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let store = object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build();
    Ok(Arc::new(store.map_err(|source| StorageError::Setup { url: url.to_string(), source })?))
}

#[cfg(feature = "gcs")]
fn gcs(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let store = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build();
    Ok(Arc::new(store.map_err(|source| StorageError::Setup { url: url.to_string(), source })?))
}

#[cfg(not(feature = "s3"))]
fn s3(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Err(StorageError::FeatureOff { text: url.to_string(), feature: "s3" })
}

#[cfg(not(feature = "azure"))]
fn azure(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Err(StorageError::FeatureOff { text: url.to_string(), feature: "azure" })
}

#[cfg(not(feature = "gcs"))]
fn gcs(url: &Url) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Err(StorageError::FeatureOff { text: url.to_string(), feature: "gcs" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use boathouse_base::{DomainError, ErrorKind};

    #[tokio::test]
    async fn a_memory_store_is_met_again_by_name_through_clones_only() {
        let stores = Stores::new();
        let location = Location::parse("memory://lake/tables").unwrap();
        stores.open(&location).unwrap().put("a", "1").await.unwrap();
        assert_eq!(stores.clone().open(&location).unwrap().get("a").await.unwrap().as_ref(), b"1");
        assert_eq!(Stores::new().open(&location).unwrap().get_optional("a").await.unwrap(), None);
    }

    #[test]
    fn an_unknown_store_is_refused_with_its_scheme() {
        let error = Stores::new().open(&Location::parse("ftp://host/x").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("ftp://"), "{error}");
    }

    #[cfg(not(feature = "s3"))]
    #[test]
    fn a_store_whose_feature_is_off_names_the_feature() {
        let error = Stores::new().open(&Location::parse("s3://bucket/x").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("feature `s3`"), "{error}");
    }
}
