//! An embedded default: tables, streams, tracking and registry below one location.

use std::fmt;
use std::sync::Arc;

use boathouse_base::{Env, Result, SinkResolver, StreamSink, Table, TableResolver};
use boathouse_delta_core::{DeltaSink, DeltaTable, DeltaTableProvider, SparkExpressions};
use boathouse_mltrack::Tracker;
use boathouse_registry::{Registry, RegistrySettings};
use boathouse_storage::{Location, Storage, Stores, system_env};
use datafusion::prelude::SessionContext;

use crate::lakehouse_error::LakehouseError;

/// Opens a [`Lakehouse`].
#[derive(Debug, Clone)]
#[must_use = "a builder opens nothing until `open`"]
pub struct LakehouseBuilder {
    location: String,
    database: Option<String>,
    env: Option<Env>,
    stores: Stores,
}

/// Everything below one location, wired together.
///
/// ```text
///   LOCATION/tables/NAME/     a Delta table
///   LOCATION/artifacts/       files of runs
///   LOCATION/boathouse.db     runs and models (SQLite), unless a database is named
///   LOCATION/…                whatever `folder` is asked for: checkpoints, landing zones
/// ```
///
/// It is only wiring: each part can be opened without it. Cheap to clone.
#[derive(Clone)]
pub struct Lakehouse {
    inner: Arc<Inner>,
}

struct Inner {
    root: Storage,
    env: Env,
    tracker: Tracker,
    registry: Registry,
}

impl Lakehouse {
    /// A lakehouse at a path or URL; [`open`](LakehouseBuilder::open) opens it.
    pub fn at(location: impl Into<String>) -> LakehouseBuilder {
        LakehouseBuilder { location: location.into(), database: None, env: None, stores: Stores::new() }
    }

    /// The location as a URL.
    pub fn url(&self) -> &str {
        self.inner.root.url()
    }

    /// Time, ids and chance.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// A folder below the location.
    pub fn folder(&self, path: &str) -> Storage {
        self.inner.root.at(path)
    }

    /// The Delta table of that name. It need not exist yet; any text will do as a name here, and
    /// [`TableResolver::table`] checks it.
    pub fn table(&self, name: &str) -> DeltaTable {
        let table = DeltaTable::at(self.inner.root.at("tables").at(name), self.inner.env.clone());
        // Constraints, generated columns and defaults are SQL: whoever writes needs somebody who understands it.
        table.with_expressions(Arc::new(SparkExpressions::default()))
    }

    /// A sink that appends to the table of that name, makes it with the first epoch, and adds columns that come later.
    pub fn delta_sink(&self, name: &str) -> DeltaSink {
        DeltaSink::new(self.table(name)).merge_schema()
    }

    /// A DataFusion session in which these tables are known, each at the version that is its newest now: two queries see
    /// the same rows. To write in SQL, name the tables with [`register_delta`](boathouse_delta_core::register_delta).
    ///
    /// **Errors**: `NotFound` when one of them does not exist.
    pub async fn session(&self, tables: impl IntoIterator<Item = &str>) -> Result<SessionContext, LakehouseError> {
        let session = SessionContext::new();
        for name in tables {
            let snapshot = self.table(name).snapshot().await?;
            let failed = |source| LakehouseError::Session { name: name.to_owned(), source: Box::new(source) };
            session.register_table(name, Arc::new(DeltaTableProvider::pinned(snapshot))).map_err(failed)?;
        }
        Ok(session)
    }

    /// Experiments, runs and artifacts.
    pub fn tracker(&self) -> &Tracker {
        &self.inner.tracker
    }

    /// Registered models.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The MLflow REST API of tracker and registry, for an application to mount.
    pub fn mlflow_router(&self) -> axum::Router {
        boathouse_mltrack::http::router(self.inner.tracker.clone())
            .merge(boathouse_registry::http::router(self.inner.registry.clone()))
    }

    /// Closes the databases. Handles that are still around fail from then on.
    pub async fn close(&self) {
        self.inner.tracker.close().await;
        self.inner.registry.close().await;
    }
}

impl LakehouseBuilder {
    /// Where runs and models are kept: a path, `sqlite://PATH` or `postgres://USER@HOST/NAME`. Needed when the location is
    /// not on the local disk.
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// Time, ids and chance; those of the system when it is not called.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Opens locations through these stores: for those in memory that others hold as well.
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = stores;
        self
    }

    /// Opens the databases, and makes the folder if it lies on the local disk.
    ///
    /// **Errors**: `Invalid` for a location that is none, or without a database where one has to be named; those of the
    /// databases.
    pub async fn open(self) -> Result<Lakehouse, LakehouseError> {
        let location = Location::parse(&self.location)?;
        let database = match (self.database, location.local_path()) {
            (Some(database), _) => database,
            (None, Some(folder)) => folder.join("boathouse.db").display().to_string(),
            (None, None) => return Err(LakehouseError::NoDatabase { location: location.to_string() }),
        };
        if let Some(folder) = location.local_path() {
            std::fs::create_dir_all(&folder)
                .map_err(|source| LakehouseError::Folder { path: folder.display().to_string(), source })?;
        }
        let root = self.stores.open(&location)?;
        let env = self.env.unwrap_or_else(system_env);
        let tracker = Tracker::open_with_storage(&database, root.at("artifacts"), env.clone()).await?;
        let registry = Registry::open(RegistrySettings { database_url: database }, env.clone()).await?;
        Ok(Lakehouse { inner: Arc::new(Inner { root, env, tracker, registry }) })
    }
}

impl TableResolver for Lakehouse {
    fn table(&self, name: &str) -> Result<Arc<dyn Table>> {
        check_name(name)?;
        Ok(Arc::new(Lakehouse::table(self, name)))
    }
}

impl SinkResolver for Lakehouse {
    fn sink(&self, name: &str) -> Result<Arc<dyn StreamSink>> {
        check_name(name)?;
        Ok(Arc::new(self.delta_sink(name)))
    }
}

fn check_name(name: &str) -> Result<(), LakehouseError> {
    let rest = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if name.starts_with(char::is_alphabetic) && name.chars().all(rest) {
        Ok(())
    } else {
        Err(LakehouseError::TableName { name: name.to_owned() })
    }
}

impl fmt::Debug for Lakehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lakehouse({})", self.url())
    }
}
