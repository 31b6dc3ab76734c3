//! The online store: the newest features of each key, in memory, and durable.
//!
//! ```text
//!   online/NAME/segments/00000000000000000003-UUID.arrow    rows of one publication: keys, time, features
//!   online/NAME/manifest/00000000000000000003               which segments are the table, and what they were made from
//! ```
//!
//! A publication writes its segments first and then the manifest, by compare-and-set: that is the moment at which a
//! table changes. In memory it is one pointer: a lookup takes it once and reads from what it points to, so it sees
//! the old table or the new one, never both.
//!
//! Segments are named after the manifest that will hold them, so that a publication can clean up what no manifest
//! holds without touching those of another one under way.

mod lookup;
mod manifest;
mod publish;
mod segment;
mod table;

pub use lookup::SpecLookup;
pub use publish::{PublishFeatures, PublishReport};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::RecordBatch;
use boathouse_base::{BoxFuture, Env, FeatureLookup, FeatureSchema};
use boathouse_storage::Storage;

use crate::error::{Attempt, FeatureError, Result};
use crate::lookup_spec::FeatureSpec;
use crate::store::FeatureTable;
use manifest::Manifests;
use table::OnlineTable;

/// Looks up the newest features of a key. Cheap to clone; clones are one store.
///
/// **Cost**: a lookup takes microseconds and no I/O: tables lie in memory, their keys in a hash table.
///
/// It is a [`FeatureLookup`], which is what a serving endpoint asks for.
#[derive(Clone)]
pub struct OnlineStore {
    storage: Storage,
    env: Env,
    tables: Arc<RwLock<BTreeMap<String, Arc<OnlineTable>>>>,
}

/// What an online table is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineTableStatus {
    /// The feature table.
    pub table: String,
    /// Where its rows were read from.
    pub source_location: String,
    /// Which version of them.
    pub source_version: u64,
    /// When it was published, in microseconds since the Unix epoch (UTC).
    pub published_us: i64,
    /// How many keys it has.
    pub keys: u64,
    /// What it takes in memory.
    pub memory_bytes: u64,
    /// Rows older than this are not found, in microseconds.
    pub max_age_us: Option<u64>,
}

impl OnlineStore {
    /// Opens the store and loads every table in it.
    ///
    /// **Errors**: `Corrupt` names the object that is damaged.
    ///
    /// **Cost**: reads every segment.
    pub async fn open(storage: &Storage, env: Env) -> Result<Self> {
        let store = Self { storage: storage.at("online"), env, tables: Arc::default() };
        for name in store.manifests("").names().await? {
            store.refresh(&name).await?;
        }
        Ok(store)
    }

    /// Makes the newest rows of a feature table the ones that lookups find.
    pub fn publish<'a>(&'a self, table: &'a FeatureTable) -> PublishFeatures<'a> {
        PublishFeatures::new(self, table)
    }

    /// Takes in what another process has published. `false`: there is nothing newer, or no such table.
    ///
    /// **Cost**: one LIST and one GET, and the segments when there is something newer.
    pub async fn refresh(&self, table: &str) -> Result<bool> {
        let manifests = self.manifests(table);
        // The segments of a manifest live until the one after the next: a reader that is slower than that reads again.
        for _ in 0..8 {
            let Some((version, manifest)) = manifests.read().await? else { return Ok(false) };
            if self.loaded(table).is_some_and(|loaded| loaded.manifest_version() >= version) {
                return Ok(false);
            }
            match OnlineTable::load(&self.storage.at(table), version, manifest).await {
                Ok(loaded) => return Ok(self.swap(table, loaded)),
                Err(FeatureError::Storage { source, .. })
                    if boathouse_base::DomainError::kind(source.as_ref()) == boathouse_base::ErrorKind::NotFound
                        && manifests.read().await?.is_some_and(|(newer, _)| newer > version) => {}
                Err(error) => return Err(error),
            }
        }
        Err(FeatureError::Contention { attempt: format!("load the online table `{table}`"), attempts: 8 })
    }

    /// What the tables are made from, sorted by name.
    pub fn status(&self) -> Vec<OnlineTableStatus> {
        self.read_tables(|tables| tables.values().map(|table| table.status()).collect())
    }

    /// The newest feature row of each key: see [`FeatureLookup::lookup`].
    ///
    /// **Errors**: `NotFound` without that table; `Invalid` for a key column that is missing or has another type.
    pub fn get(&self, table: &str, keys: &RecordBatch) -> Result<RecordBatch> {
        self.online(table)?.get(keys, self.env.now_us())
    }

    /// The key columns and the feature columns of a table.
    ///
    /// **Errors**: `NotFound` without that table.
    pub fn schema(&self, table: &str) -> Result<FeatureSchema> {
        Ok(self.online(table)?.schema().clone())
    }

    /// The rows with the features that a training set of this spec has, by the same names and in the same order.
    ///
    /// Ages are measured from the time column of the spec, where the rows have it, and from now otherwise.
    ///
    /// **Errors**: as [`get`](Self::get); `Invalid` for a feature that the online table does not have.
    pub fn assemble(&self, spec: &FeatureSpec, rows: &RecordBatch) -> Result<RecordBatch> {
        lookup::assemble(self, spec, rows)
    }

    /// A [`FeatureLookup`] whose one table, called `name`, is everything that a spec looks up.
    pub fn with_spec(&self, name: impl Into<String>, spec: FeatureSpec) -> SpecLookup {
        SpecLookup::new(self.clone(), name.into(), spec)
    }

    fn manifests(&self, table: &str) -> Manifests {
        Manifests::new(&self.storage, table)
    }

    fn loaded(&self, table: &str) -> Option<Arc<OnlineTable>> {
        self.read_tables(|tables| tables.get(table).cloned())
    }

    fn online(&self, table: &str) -> Result<Arc<OnlineTable>> {
        self.loaded(table).ok_or_else(|| FeatureError::NotOnline {
            table: table.to_owned(),
            known: self.read_tables(|tables| tables.keys().cloned().collect()),
        })
    }

    /// Puts a table in, unless a newer one is there.
    fn swap(&self, name: &str, table: OnlineTable) -> bool {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.get(name).is_some_and(|there| there.manifest_version() >= table.manifest_version()) {
            return false;
        }
        tables.insert(name.to_owned(), Arc::new(table));
        true
    }

    // A panic elsewhere cannot leave the map half-changed: each change is one insertion.
    fn read_tables<T>(&self, read: impl FnOnce(&BTreeMap<String, Arc<OnlineTable>>) -> T) -> T {
        read(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for OnlineStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.read_tables(|tables| tables.keys().cloned().collect());
        f.debug_struct("OnlineStore").field("storage", &self.storage).field("tables", &names).finish_non_exhaustive()
    }
}

impl FeatureLookup for OnlineStore {
    fn feature_schema<'a>(&'a self, table: &'a str) -> BoxFuture<'a, boathouse_base::Result<FeatureSchema>> {
        Box::pin(async move { Ok(self.schema(table)?) })
    }

    fn lookup<'a>(&'a self, table: &'a str, keys: &'a RecordBatch) -> BoxFuture<'a, boathouse_base::Result<RecordBatch>> {
        Box::pin(async move { Ok(self.get(table, keys)?) })
    }
}

/// Lists what a store holds.
async fn names_below(storage: &Storage) -> Result<Vec<String>> {
    let objects = storage.list("").await.attempt(|| "list the online tables".to_owned())?;
    let manifest = |path: &str| match path.split_once('/') {
        Some((name, rest)) if rest.starts_with("manifest/") => Some(name.to_owned()),
        _ => None,
    };
    let mut names: Vec<String> = objects.iter().filter_map(|object| manifest(&object.path)).collect();
    names.dedup();
    Ok(names)
}
