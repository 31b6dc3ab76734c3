//! Tables that statements name by their path.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use boathouse_base::{DomainError, Env, ErrorKind, TableVersion};
use boathouse_delta_table::{DeltaError, DeltaTable};
use boathouse_frames::into_datafusion;
use boathouse_storage::{Location, Storage, Stores, system_env};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::prelude::SessionContext;

use super::names::CurrentCatalog;
use crate::engine::error::{self, EngineError};
use crate::engine::ext::{DeltaTableExt, understood};
use crate::engine::provider::DeltaTableProvider;
use crate::engine::scan::FooterCaches;

/// The schema whose tables are paths: ``delta.`/data/flights` ``.
pub(crate) const SCHEMA: &str = "delta";

/// How the folder of a schema in a warehouse ends.
const SCHEMA_FOLDER: &str = ".db";

/// Where tables are found, and made, by path.
#[derive(Clone)]
pub(crate) struct Lake {
    stores: Stores,
    env: Env,
    warehouse: Option<Location>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Handles by URL, so that a second statement finds what the first one loaded.
    tables: BTreeMap<String, DeltaTable>,
    /// Versions that a statement under way speaks of, by a name that nobody else has.
    travelled: BTreeMap<String, Arc<dyn TableProvider>>,
    next: u64,
    /// The schema of names without one, when the session began: its tables stand in the warehouse itself.
    first_schema: Option<String>,
    /// Footers of files that this session read.
    footers: FooterCaches,
}

impl Lake {
    pub(crate) fn new(stores: Stores, env: Env, warehouse: Option<Location>) -> Self {
        Self { stores, env, warehouse, shared: Arc::default() }
    }

    /// The lake of a session; it gets one when it has none.
    pub(crate) fn of(session: &SessionContext) -> error::Result<Self> {
        let (catalog, _) = default_catalog(session);
        if let Some(schema) = session.catalog(&catalog).and_then(|catalog| catalog.schema(SCHEMA))
            && let Some(paths) = <dyn SchemaProvider>::downcast_ref::<Paths>(schema.as_ref())
        {
            return Ok(paths.lake.clone());
        }
        let lake = Self::new(Stores::new(), system_env(), None);
        lake.join(session)?;
        Ok(lake)
    }

    /// Makes paths tables of the session, and lets its names mean tables as they are when a statement begins.
    pub(crate) fn join(&self, session: &SessionContext) -> error::Result<()> {
        CurrentCatalog::join(session, self);
        let (name, schema) = default_catalog(session);
        self.lock().first_schema.get_or_insert(schema);
        let Some(catalog) = session.catalog(&name) else { return Ok(()) };
        let joined = catalog.register_schema(SCHEMA, Arc::new(Paths { lake: self.clone() }));
        joined.map(|_| ()).map_err(|error| EngineError::Plan {
            statement: format!("make `{SCHEMA}` the schema of paths"),
            source: boathouse_frames::from_datafusion("name the schema", error),
        })
    }

    /// The table at a path or URL. Does no I/O.
    pub(crate) fn open(&self, path: &str) -> error::Result<DeltaTable> {
        let storage = self.folder(path)?;
        let mut shared = self.lock();
        let url = storage.url().to_owned();
        let open = || understood(&DeltaTable::at(storage, self.env.clone()));
        Ok(shared.tables.entry(url).or_insert_with(open).clone())
    }

    /// A folder, or a file, at a path or URL. Does no I/O.
    pub(crate) fn folder(&self, path: &str) -> error::Result<Storage> {
        let failed =
            |source: boathouse_storage::StorageError| EngineError::Location { path: path.to_owned(), source: Box::new(source) };
        self.stores.open(&Location::parse(path).map_err(failed)?).map_err(failed)
    }

    /// The path of a table that is created without one. A schema beside the first one is a folder, as in Spark's warehouses.
    pub(crate) fn managed(&self, schema: &str, name: &str) -> Option<String> {
        Some(self.folder_of(schema)?.join(name).as_str().to_owned())
    }

    /// Where the tables of a schema are placed.
    fn folder_of(&self, schema: &str) -> Option<Location> {
        let is_first = self.lock().first_schema.as_deref() == Some(schema);
        let folder =
            |warehouse: &Location| if is_first { warehouse.clone() } else { warehouse.join(&format!("{schema}{SCHEMA_FOLDER}")) };
        self.warehouse.as_ref().map(folder)
    }

    /// The table of this name where a table without a `LOCATION` is placed; whether there is one is not known. Does no I/O.
    pub(crate) fn placed(&self, schema: &str, name: &str) -> error::Result<Option<DeltaTable>> {
        // Such a name is no folder of its own.
        if name.is_empty() || name.contains('/') || name.starts_with('.') || name.ends_with(SCHEMA_FOLDER) {
            return Ok(None);
        }
        self.managed(schema, name).map(|path| self.open(&path)).transpose()
    }

    /// The names of tables that were placed below the folder of a schema, also by other sessions.
    ///
    /// **Cost**: one LIST, and one for each folder in it.
    pub(crate) async fn placed_tables(&self, schema: &str) -> error::Result<Vec<String>> {
        let Some(folder) = self.folder_of(schema) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for name in self.folder(folder.as_str())?.folders().await.map_err(DeltaError::from)? {
            if let Some(table) = self.placed(schema, &name)?
                && table.exists().await?
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Lets go of what is known of a table.
    pub(crate) fn forget(&self, url: &str) {
        self.lock().tables.remove(url);
    }

    /// A table as it is now, if it is one of Delta: with the columns of its newest version unless it is pinned, and with the footers that the
    /// session read before. A table that is gone stays as it was known; its scan says so.
    pub(crate) async fn current(&self, table: Arc<dyn TableProvider>) -> error::Result<Arc<dyn TableProvider>> {
        let Some(known) = <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(table.as_ref()) else { return Ok(table) };
        match known.refreshed().await {
            Ok(current) => Ok(Arc::new(self.with_footers(current))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(table),
            Err(error) => Err(error.into()),
        }
    }

    /// The provider with the footers that the session read before.
    pub(crate) fn with_footers(&self, provider: DeltaTableProvider) -> DeltaTableProvider {
        let footers = self.lock().footers.of(provider.table().storage().object_store());
        provider.with_footers(footers)
    }

    /// Gives one version of a table a name until the guard is dropped.
    pub(crate) fn travel(&self, provider: Arc<dyn TableProvider>) -> Travelled {
        let mut shared = self.lock();
        shared.next += 1;
        let name = format!("version {}", shared.next);
        shared.travelled.insert(name.clone(), provider);
        Travelled { lake: self.clone(), name }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Catalog and schema of names without them.
pub(crate) fn default_catalog(session: &SessionContext) -> (String, String) {
    let state = session.state();
    let catalog = &state.config_options().catalog;
    (catalog.default_catalog.clone(), catalog.default_schema.clone())
}

/// A version of a table with a name of its own.
pub(crate) struct Travelled {
    lake: Lake,
    pub(crate) name: String,
}

impl Travelled {
    /// It, as a table of a query.
    pub(crate) fn reference(&self) -> String {
        format!("{SCHEMA}.\"{}\"", self.name)
    }
}

impl Drop for Travelled {
    fn drop(&mut self) {
        self.lake.lock().travelled.remove(&self.name);
    }
}

/// The schema of paths.
pub(super) struct Paths {
    lake: Lake,
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Paths")
    }
}

#[async_trait]
impl SchemaProvider for Paths {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let travelled = self.lake.lock().travelled.get(name).map(Arc::clone);
        if travelled.is_some() {
            return Ok(travelled);
        }
        let table = self.lake.open(name).map_err(|error| into_datafusion(error.into()))?;
        let provider = match at_version(name) {
            // `path@v3`, unless that is the name of a folder.
            Some((path, version)) if !table.exists().await.unwrap_or(false) => {
                let table = self.lake.open(path).map_err(|error| into_datafusion(error.into()))?;
                table.provider_at(TableVersion::Number(version)).await
            }
            _ => table.provider().await,
        };
        provider
            .map(|provider| Some(Arc::new(self.lake.with_footers(provider)) as _))
            .map_err(|error| into_datafusion(error.into()))
    }

    fn table_exist(&self, _: &str) -> bool {
        true
    }
}

fn at_version(name: &str) -> Option<(&str, u64)> {
    let (path, version) = name.rsplit_once("@v")?;
    Some((path, version.parse().ok()?))
}
