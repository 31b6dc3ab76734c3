//! One database by URL, SQLite or PostgreSQL, with statements written once for both.
//!
//! ```text
//!   Sql ("… ? …" + binds) ──▶ Database ──┬─▶ SQLite file: one writing connection, some reading ones, WAL
//!                                        └─▶ PostgreSQL pool
//!                                 │
//!                               Row (cells by column name)
//! ```

mod migration;
mod row;
mod sql;
mod transaction;

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boathouse_base::Env;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, PgPool, SqliteConnection, SqlitePool};

pub use self::migration::Migration;
pub use self::row::Row;
pub use self::sql::{Bind, Sql};
pub use self::transaction::Transaction;
use crate::error::{Error, Result};

/// How long a writer waits for other processes that write to the same SQLite file, before it asks again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a writer asks for the SQLite file before it gives up.
const BUSY_ATTEMPTS: u32 = 5;
/// How long a task waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);
const READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 10;

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.35 or newer (it is linked).
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A pool of connections to one database. Cheap to clone.
///
/// In a SQLite file all writes of this handle go through one connection, one after the other, so that tasks queue
/// in order instead of meeting `SQLITE_BUSY`; readers see the last committed state and never wait (WAL). Other
/// processes on the same file are waited for.
///
/// # Example
/// ```
/// # use boathouse_base::{Env, ManualClock};
/// use boathouse_mlwire::{Database, Migration, Sql};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), boathouse_mlwire::Error> {
/// # let env = Env::new(ManualClock::default(), 1);
/// let database = Database::open("sqlite::memory:", &env).await?;
/// database.migrate("story", &[Migration { version: 1, name: "notes", sql: "CREATE TABLE notes (text {text} NOT NULL)" }]).await?;
///
/// let mut tx = database.begin("write a note").await?;
/// tx.execute(Sql::new("INSERT INTO notes (text) VALUES (?)").bind("it's here")).await?;
/// tx.commit().await?;
///
/// let rows = database.fetch_all("read notes", Sql::new("SELECT text FROM notes")).await?;
/// assert_eq!(rows[0].text("text")?, "it's here");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    pools: Pools,
    env: Env,
    /// A database in memory ends with its last connection, and the pool closes one whose transaction was dropped half
    /// way: this one stays.
    _anchor: Option<Mutex<SqliteConnection>>,
}

enum Pools {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.inner.url)
    }
}

impl Database {
    /// Opens `url`: a plain path or `sqlite://PATH` for a SQLite file (made with its folder when it is not there),
    /// `sqlite::memory:` for one that lives as long as this handle, `postgres://…` or `postgresql://…` for a server.
    ///
    /// The part after `sqlite://` is the path: `sqlite:///srv/ml.db` is absolute, `sqlite://ml.db` is relative.
    ///
    /// **Errors**: `Invalid` for a URL that names no database; `Unavailable` when the server does not answer;
    /// `Corrupt` when the file is no database; `Denied` when it may not be opened.
    pub async fn open(url: &str, env: &Env) -> Result<Self> {
        match Target::parse(url)? {
            Target::Memory => {
                let options = SqliteConnectOptions::from_str("sqlite::memory:")
                    .map_err(|e| Error::DatabaseUrl { url: url.to_owned(), reason: e.to_string() })?
                    .foreign_keys(true);
                let failed = |source| Error::Database { action: "open", url: url.to_owned(), source };
                let anchor = options.connect().await.map_err(failed)?;
                let pool = SqlitePoolOptions::new()
                    .max_connections(1)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(options)
                    .await
                    .map_err(failed)?;
                let pools = Pools::Sqlite { read: pool.clone(), write: pool };
                Ok(Self {
                    inner: Arc::new(Inner { url: url.to_owned(), pools, env: env.clone(), _anchor: Some(Mutex::new(anchor)) }),
                })
            }
            Target::File(path) => Self::open_file(path, env).await,
            Target::Postgres(options) => {
                let shown = postgres_url(&options);
                let pool = PgPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_with(*options)
                    .await
                    .map_err(|source| Error::Database { action: "connect to", url: shown.clone(), source })?;
                Ok(Self::new(shown, Pools::Postgres(pool), env))
            }
        }
    }

    async fn open_file(path: PathBuf, env: &Env) -> Result<Self> {
        let url = format!("sqlite://{}", path.display());
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder).await.map_err(|source| Error::DatabaseFolder {
                url: url.clone(),
                folder: folder.display().to_string(),
                source,
            })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let failed = |source| Error::Database { action: "open", url: url.clone(), source };
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).max_lifetime(None)
        };
        // The first connection makes the file and turns WAL on; the others find it so.
        // Others that open it at the same moment turn WAL on as well, which SQLite refuses at once instead of waiting.
        let write = patiently(env, || pool(1).connect_with(options.clone())).await.map_err(failed)?;
        let read = patiently(env, || pool(READERS).connect_with(options.clone())).await.map_err(failed)?;
        Ok(Self::new(url, Pools::Sqlite { read, write }, env))
    }

    fn new(url: String, pools: Pools, env: &Env) -> Self {
        Self { inner: Arc::new(Inner { url, pools, env: env.clone(), _anchor: None }) }
    }

    /// The URL, without a password.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.inner.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Reads rows outside of a transaction. `action` says in an error what was attempted: "read runs".
    pub async fn fetch_all(&self, action: &'static str, sql: Sql) -> Result<Vec<Row>> {
        let failed = |source| Error::Database { action, url: self.inner.url.clone(), source };
        match &self.inner.pools {
            Pools::Sqlite { read, .. } => {
                let mut connection = read.acquire().await.map_err(failed)?;
                transaction::sqlite_rows(&mut connection, sql).await.map_err(failed)?
            }
            Pools::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(failed)?;
                transaction::postgres_rows(&mut connection, sql).await.map_err(failed)?
            }
        }
        .into_iter()
        .collect()
    }

    /// Reads the first row, if there is one.
    pub async fn fetch_optional(&self, action: &'static str, sql: Sql) -> Result<Option<Row>> {
        Ok(self.fetch_all(action, sql).await?.into_iter().next())
    }

    /// Begins a transaction that may write. Dropping it undoes it.
    ///
    /// In SQLite it holds the write lock from the start, so that no later statement meets a busy file.
    ///
    /// **Errors**: `Unavailable` when another process holds the file for longer than a minute and a half, or the
    /// server does not answer.
    pub async fn begin(&self, action: &'static str) -> Result<Transaction> {
        let failed = |source| Error::Database { action, url: self.inner.url.clone(), source };
        match &self.inner.pools {
            Pools::Sqlite { write, .. } => {
                let tx = patiently(&self.inner.env, || write.begin_with("BEGIN IMMEDIATE")).await.map_err(failed)?;
                Ok(Transaction::sqlite(tx, action, self.inner.url.clone()))
            }
            Pools::Postgres(pool) => {
                let tx = pool.begin().await.map_err(failed)?;
                Ok(Transaction::postgres(tx, action, self.inner.url.clone()))
            }
        }
    }

    /// Brings the tables of `component` to the newest of `migrations`, under a lock: of many processes that start at
    /// once one does the work, the others wait. All steps happen, or none.
    ///
    /// **Errors**: `Unsupported` when the tables were made by a newer build.
    pub async fn migrate(&self, component: &'static str, migrations: &[Migration]) -> Result<()> {
        migration::run(self, component, migrations).await
    }

    /// Closes all connections. Waits for those in use.
    pub async fn close(&self) {
        match &self.inner.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.env.now_ms()
    }
}

/// Tries again, a few times, as long as the SQLite file is busy.
async fn patiently<T, F: Future<Output = Result<T, sqlx::Error>>>(
    env: &Env,
    mut attempt: impl FnMut() -> F,
) -> Result<T, sqlx::Error> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if failures < BUSY_ATTEMPTS && is_busy(&error) => {
                // Others that wait should not wake at the same moment.
                env.sleep(Duration::from_millis((10_u64 << failures) + env.random_below(10))).await;
                failures += 1;
            }
            done => return done,
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<u32>().ok());
    matches!(code.map(|c| c % 256), Some(5 | 6))
}

/// Never the password.
fn postgres_url(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("postgres://{}@{}:{}/{database}", options.get_username(), options.get_host(), options.get_port())
}

#[derive(Debug)]
enum Target {
    Memory,
    File(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Target {
    fn parse(url: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::DatabaseUrl { url: without_password(url), reason: reason.to_owned() };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(|e| wrong(&e.to_string()))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        if url == "sqlite::memory:" || url == "sqlite://:memory:" || url == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            Some(path) if path.contains('?') => return Err(wrong("a SQLite URL takes no options after `?`")),
            Some(path) => path,
            None if url.contains("://") => return Err(wrong("no database has this scheme")),
            None => url,
        };
        if path.is_empty() {
            return Err(wrong("the path is empty"));
        }
        if path.ends_with('/') {
            return Err(wrong("the path names a folder"));
        }
        Ok(Self::File(PathBuf::from(path)))
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((who, place)) => format!("{scheme}://{}@{place}", who.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;
