//! The registry: a database of models.

use std::sync::Arc;

use boathouse_base::Env;
use boathouse_mlwire::Database;

use crate::error::Result;
use crate::schema;

/// Where a registry keeps its models.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RegistrySettings {
    /// A path or `sqlite://PATH` for a file, `postgres://USER@HOST/NAME` for a server. It may be the tracker's database: the
    /// tables have other names.
    pub database_url: String,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { database_url: "registry.db".to_owned() }
    }
}

/// Registered models, their versions, stages and aliases. Cheap to clone; clones share one pool of connections.
///
/// It is a [`ModelCatalog`](boathouse_base::ModelCatalog): hand it to whatever serves models.
///
/// # Example
/// See the [crate page](crate).
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    env: Env,
}

impl Registry {
    /// Opens the database, makes it if it is not there, and brings its tables up to date.
    ///
    /// **Errors**: `Invalid` for a URL that names no database; `Unavailable` when the server does not answer; `Unsupported`
    /// when a newer build made the tables.
    pub async fn open(settings: RegistrySettings, env: Env) -> Result<Self> {
        let database = Database::open(&settings.database_url, &env).await?;
        database.migrate(schema::COMPONENT, schema::MIGRATIONS).await?;
        Ok(Self { inner: Arc::new(Inner { database, env }) })
    }

    /// Closes all connections. Waits for those in use; afterwards every call fails.
    pub async fn close(&self) {
        self.inner.database.close().await;
    }

    /// The database, without a password.
    pub fn database_url(&self) -> &str {
        self.inner.database.url()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.env.now_ms()
    }
}
