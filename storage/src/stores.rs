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
use crate::store_options::StoreOptions;
use crate::synced::SyncedLocalFileSystem;

/// Opens locations, one store for each bucket or name. Clones share what they opened: `memory://name/` is one store for
/// all who hold a clone.
///
/// # Example
/// ```
/// use boathouse_storage::{Location, Stores};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let stores = Stores::new();
/// stores.open(&Location::parse("memory://lake/orders")?)?.put("a.json", "{}").await?;
/// let same = stores.open(&Location::parse("memory://lake")?)?;
/// assert_eq!(same.get("orders/a.json").await?, "{}");
/// # Ok::<_, boathouse_storage::StorageError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stores {
    /// By scheme and host, such as `s3://bucket`.
    opened: Arc<Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>>,
    options: StoreOptions,
    writes: Writes,
}

/// When a write to the local disk returns.
#[derive(Debug, Clone, Copy, Default)]
enum Writes {
    /// When the operating system has it.
    #[default]
    Handed,
    /// When the disk has it.
    Synced,
}

impl Stores {
    /// Nothing is opened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves every location of one bucket or name (`s3://bucket`, `memory://name`) from this store: one with options
    /// of its own, or one for tests.
    ///
    /// **Errors**: `Invalid` when the location is a folder inside: a store is for the whole.
    pub fn with_store(self, root: &Location, store: Arc<dyn ObjectStore>) -> Result<Self, StorageError> {
        if !root.url().path().trim_matches('/').is_empty() {
            return Err(StorageError::InvalidLocation {
                text: root.as_str().to_owned(),
                reason: format!("a store serves the whole of {}", root_of(root.url())),
            });
        }
        self.remember(root_of(root.url()), store);
        Ok(self)
    }

    /// Sets options of cloud stores that are opened from now on: those of S3 begin with `aws_`, of Azure with `azure_`, of
    /// Google's with `google_`. They go before the environment variables of the same names.
    ///
    /// # Example
    /// ```
    /// # use boathouse_storage::Stores;
    /// // An S3 server of one's own.
    /// let stores = Stores::new().with_options([
    ///     ("aws_endpoint", "http://127.0.0.1:9000"),
    ///     ("aws_allow_http", "true"),
    ///     ("aws_region", "us-east-1"),
    ///     ("aws_access_key_id", "me"),
    ///     ("aws_secret_access_key", "a secret"),
    /// ]);
    /// // Debug output names options, and keeps their values to itself.
    /// assert!(!format!("{stores:?}").contains("a secret"));
    /// ```
    #[must_use]
    pub fn with_options<K: Into<String>, V: Into<String>>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Self {
        for (name, value) in options {
            self.options.insert(name.into().to_ascii_lowercase(), value.into());
        }
        self
    }

    /// Local disks that are opened from now on are forced to keep each object before its write returns (`fsync`): it
    /// survives a power cut. Clouds do so anyway.
    ///
    /// **Cost**: two flushes of the disk for each object.
    #[must_use]
    pub fn with_synced_writes(self) -> Self {
        Self { writes: Writes::Synced, ..self }
    }

    /// Opens a location. Does no I/O. Credentials of cloud stores come from [options](Self::with_options), and from the
    /// environment variables that their own tools use.
    ///
    /// **Errors**: `Invalid` for a URL of an unknown kind, and for an option that its store does not have; `Unsupported`
    /// when its feature is off.
    pub fn open(&self, location: &Location) -> Result<Storage, StorageError> {
        let url = location.url();
        let prefix = if url.scheme() == "file" { local_path(location)? } else { decoded(location)? };
        let root = root_of(url);
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&root).map(Arc::clone);
        let store = match known {
            Some(store) => store,
            None => self.remember(root, build(location, &self.options, self.writes)?),
        };
        Ok(Storage::from_object_store(store, prefix, location.as_str()))
    }

    /// The first one to come stays.
    fn remember(&self, root: String, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(opened.entry(root).or_insert(store))
    }
}

/// What one store serves: scheme, container and host.
fn root_of(url: &Url) -> String {
    url[..url::Position::BeforePath].to_owned()
}

fn build(location: &Location, options: &StoreOptions, writes: Writes) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let url = location.url();
    match url.scheme() {
        "file" => Ok(match writes {
            Writes::Handed => Arc::new(LocalFileSystem::new()),
            Writes::Synced => Arc::new(SyncedLocalFileSystem::new()),
        }),
        "memory" => Ok(Arc::new(InMemory::new())),
        "s3" | "s3a" => s3(url, options),
        "az" | "abfs" | "abfss" | "azure" => azure(url, options),
        "gs" => gcs(url, options),
        other => Err(StorageError::InvalidLocation {
            text: location.as_str().to_owned(),
            reason: format!("there is no store for `{other}://`"),
        }),
    }
}

fn local_path(location: &Location) -> Result<Path, StorageError> {
    let invalid = |reason: String| StorageError::InvalidLocation { text: location.as_str().to_owned(), reason };
    let path =
        location.local_path().ok_or_else(|| invalid("it names a host, and only the local disk can be opened".to_owned()))?;
    Path::from_absolute_path(path).map_err(|error| invalid(error.to_string()))
}

/// The path of a URL as the store has it: with its percent-encoding taken off.
fn decoded(location: &Location) -> Result<Path, StorageError> {
    Path::from_url_path(location.url().path())
        .map_err(|error| StorageError::InvalidLocation { text: location.as_str().to_owned(), reason: error.to_string() })
}

#[cfg(feature = "s3")]
fn s3(url: &Url, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
    let failed = |source| StorageError::Setup { url: url.to_string(), source };
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in options.of("aws_") {
        builder = builder.with_config(name.parse::<AmazonS3ConfigKey>().map_err(failed)?, value);
    }
    let store = builder.with_url(url.as_str()).with_conditional_put(S3ConditionalPut::ETagMatch).build();
    Ok(Arc::new(store.map_err(failed)?))
}

#[cfg(feature = "azure")]
fn azure(url: &Url, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    let failed = |source| StorageError::Setup { url: url.to_string(), source };
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (name, value) in options.of("azure_") {
        builder = builder.with_config(name.parse::<AzureConfigKey>().map_err(failed)?, value);
    }
    Ok(Arc::new(builder.with_url(url.as_str()).build().map_err(failed)?))
}

#[cfg(feature = "gcs")]
fn gcs(url: &Url, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    let failed = |source| StorageError::Setup { url: url.to_string(), source };
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (name, value) in options.of("google_") {
        builder = builder.with_config(name.parse::<GoogleConfigKey>().map_err(failed)?, value);
    }
    Ok(Arc::new(builder.with_url(url.as_str()).build().map_err(failed)?))
}

#[cfg(not(feature = "s3"))]
fn s3(url: &Url, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Err(StorageError::FeatureOff { text: url.to_string(), feature: "s3" })
}

#[cfg(not(feature = "azure"))]
fn azure(url: &Url, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Err(StorageError::FeatureOff { text: url.to_string(), feature: "azure" })
}

#[cfg(not(feature = "gcs"))]
fn gcs(url: &Url, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, StorageError> {
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

    #[cfg(feature = "s3")]
    #[test]
    fn an_option_that_no_store_has_is_refused_with_its_name() {
        let stores = Stores::new().with_options([("aws_endpiont", "http://127.0.0.1:9000")]);
        let error = stores.open(&Location::parse("s3://bucket/x").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("aws_endpiont"), "{error}");
    }
}
