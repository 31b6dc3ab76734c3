//! The tracker: a database of runs, and a folder of artifacts.

use std::sync::Arc;

use boathouse_base::Env;
use boathouse_mlwire::{Database, Sql};
use boathouse_storage::Storage;

use crate::artifact::Artifacts;
use crate::error::Result;
use crate::schema;

/// Where a tracker keeps what it is told.
///
/// # Example
/// ```
/// use boathouse_mltrack::TrackerSettings;
///
/// let settings = TrackerSettings { database_url: "postgres://ml@db/ml".into(), ..TrackerSettings::default() };
/// assert_eq!(settings.artifact_root, "mlartifacts");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TrackerSettings {
    /// A path or `sqlite://PATH` for a file, `postgres://USER@HOST/NAME` for a server.
    pub database_url: String,
    /// Any location that storage can open: a path, `file:///…`, `s3://…`.
    pub artifact_root: String,
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self { database_url: "mltrack.db".to_owned(), artifact_root: "mlartifacts".to_owned() }
    }
}

/// Experiments, runs, and what they log. Cheap to clone; clones share one pool of connections.
///
/// Many tasks and many processes may log at once: into a SQLite file they take turns, and none of them sees a busy file.
///
/// # Example
/// See the [crate page](crate).
#[derive(Debug, Clone)]
pub struct Tracker {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) artifacts: Artifacts,
    pub(crate) env: Env,
}

impl Tracker {
    /// Opens the database and the artifact root, makes what is not there, and brings its tables up to date.
    ///
    /// **Errors**: `Invalid` for a URL that names nothing we know; `Unavailable` when the server does not answer;
    /// `Unsupported` when a newer build made the tables, or the store of the artifacts is not compiled in.
    pub async fn open(settings: TrackerSettings, env: Env) -> Result<Self> {
        let artifacts = Artifacts::open(&settings.artifact_root)?;
        Self::open_parts(&settings.database_url, artifacts, env).await
    }

    /// Opens the database, and takes a folder that is open already as the artifact root: one in memory, or one behind
    /// layers.
    ///
    /// **Errors**: as [`open`](Self::open).
    pub async fn open_with_storage(database_url: &str, storage: Storage, env: Env) -> Result<Self> {
        Self::open_parts(database_url, Artifacts::over(storage), env).await
    }

    async fn open_parts(database_url: &str, artifacts: Artifacts, env: Env) -> Result<Self> {
        let database = Database::open(database_url, &env).await?;
        database.migrate(schema::COMPONENT, schema::MIGRATIONS).await?;
        let tracker = Self { inner: Arc::new(Inner { database, artifacts, env }) };
        tracker.ensure_default_experiment().await?;
        Ok(tracker)
    }

    /// Closes all connections. Waits for those in use; afterwards every call fails.
    pub async fn close(&self) {
        self.inner.database.close().await;
    }

    /// The database, without a password.
    pub fn database_url(&self) -> &str {
        self.inner.database.url()
    }

    /// Experiment `0` is where runs go that name no experiment.
    async fn ensure_default_experiment(&self) -> Result<()> {
        let find = Sql::new("SELECT 1 AS one FROM ml_experiments WHERE experiment_id = 0");
        if self.database().fetch_optional("read the default experiment", find).await?.is_some() {
            return Ok(());
        }
        let now = self.now_ms();
        let mut tx = self.database().begin("make the default experiment").await?;
        let insert = Sql::new(
            "INSERT INTO ml_experiments (experiment_id, name, lifecycle_stage, creation_time, last_update_time) \
             VALUES (0, 'Default', 'active', ?, ?) ON CONFLICT DO NOTHING",
        );
        tx.execute(insert.bind(now).bind(now)).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.env.now_ms()
    }
}
