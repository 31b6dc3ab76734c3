//! Trackers to test: the same suite runs on every database there is.

use std::time::Duration;

use boathouse_base::{Env, ManualClock};
use boathouse_mltrack::{ExperimentHandle, Tracker};
use boathouse_storage::{Storage, system_env};

/// A server that the tests may write to. Its tables may hold what other tests left: names are unique.
pub(crate) const POSTGRES_URL: &str = "BOATHOUSE_TEST_POSTGRES_URL";

/// A tracker, its clock, and the folder that lives as long as it.
pub(crate) struct Fixture {
    pub(crate) tracker: Tracker,
    pub(crate) clock: ManualClock,
    pub(crate) env: Env,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn open(url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = url.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("a folder/ml.db").display()));
        let clock = ManualClock::starting_at_us(1_700_000_000_000_000);
        let env = Env::new(clock.clone(), system_env().random_u64());
        let tracker = Tracker::open_with_storage(&url, Storage::memory(), env.clone()).await.unwrap();
        Self { tracker, clock, env, _folder: folder }
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

    /// An experiment that no other test knows.
    pub(crate) async fn experiment(&self) -> ExperimentHandle {
        self.tracker.experiment(format!("test {}", self.env.uuid())).create().await.unwrap()
    }

    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }
}
