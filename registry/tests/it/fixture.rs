//! Registries to test: the same suite runs on every database there is.

use std::time::Duration;

use boathouse_base::{Env, ManualClock};
use boathouse_registry::{ModelVersion, NewVersion, Registry, RegistrySettings};

/// A server that the tests may write to. Its tables may hold what other tests left: names are unique.
pub(crate) const POSTGRES_URL: &str = "BOATHOUSE_TEST_POSTGRES_URL";

/// A registry, its clock, and the folder that lives as long as it.
pub(crate) struct Fixture {
    pub(crate) registry: Registry,
    pub(crate) clock: ManualClock,
    pub(crate) env: Env,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn open(url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = url.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("registry.db").display()));
        let clock = ManualClock::starting_at_us(1_700_000_000_000_000);
        // The folder's name differs for each fixture, so that names do in a shared database.
        let seed = folder.path().to_string_lossy().bytes().fold(7_u64, |h, b| h.wrapping_mul(1_099_511_628_211) ^ u64::from(b));
        let env = Env::new(clock.clone(), seed);
        let registry = Registry::open(RegistrySettings { database_url }, env.clone()).await.unwrap();
        Self { registry, clock, env, _folder: folder }
    }

    /// One in a SQLite file.
    pub(crate) async fn file() -> Self {
        Self::open(None).await
    }

    /// One of each database: SQLite in memory, in a file, and PostgreSQL where a server is given.
    pub(crate) async fn each() -> Vec<Self> {
        let mut all = vec![Self::file().await, Self::open(Some("sqlite::memory:".into())).await];
        if let Ok(url) = std::env::var(POSTGRES_URL) {
            all.push(Self::open(Some(url)).await);
        }
        all
    }

    /// A model that no other test knows, with so many versions.
    pub(crate) async fn model(&self, versions: usize) -> String {
        let name = format!("model {}", self.env.uuid());
        self.registry.create_model(&name, None, &[]).await.unwrap();
        for _ in 0..versions {
            self.version(&name).await;
        }
        name
    }

    pub(crate) async fn version(&self, name: &str) -> ModelVersion {
        self.tick();
        let new = NewVersion { source: format!("memory://models/{}", self.env.hex_id()), ..NewVersion::default() };
        self.registry.create_version(name, new).await.unwrap()
    }

    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }
}
