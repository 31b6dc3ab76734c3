//! A unit of work: all of it happens, or nothing.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

use super::{Bind, Dialect, Row, Sql};
use crate::error::{Error, Result};

/// Statements that take effect together at [`commit`](Self::commit). Dropped before that, it leaves no trace.
#[derive(Debug)]
#[must_use = "a transaction that is not committed is undone"]
pub struct Transaction {
    inner: Inner,
    action: &'static str,
    url: String,
}

#[derive(Debug)]
enum Inner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) fn sqlite(tx: sqlx::Transaction<'static, Sqlite>, action: &'static str, url: String) -> Self {
        Self { inner: Inner::Sqlite(tx), action, url }
    }

    pub(super) fn postgres(tx: sqlx::Transaction<'static, Postgres>, action: &'static str, url: String) -> Self {
        Self { inner: Inner::Postgres(tx), action, url }
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement. Returns how many rows it touched.
    pub async fn execute(&mut self, sql: Sql) -> Result<u64> {
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => sqlite_execute(tx, sql).await,
            Inner::Postgres(tx) => postgres_execute(tx, sql).await,
        };
        done.map_err(|source| self.failed(source))
    }

    /// Runs a statement that returns rows.
    pub async fn fetch_all(&mut self, sql: Sql) -> Result<Vec<Row>> {
        let rows = match &mut self.inner {
            Inner::Sqlite(tx) => sqlite_rows(tx, sql).await,
            Inner::Postgres(tx) => postgres_rows(tx, sql).await,
        };
        rows.map_err(|source| self.failed(source))?.into_iter().collect()
    }

    /// Runs a statement that returns a row, or none.
    pub async fn fetch_optional(&mut self, sql: Sql) -> Result<Option<Row>> {
        Ok(self.fetch_all(sql).await?.into_iter().next())
    }

    /// Makes it last.
    ///
    /// **Errors**: `Unavailable` when the connection broke; then it is not known whether it took effect.
    pub async fn commit(self) -> Result<()> {
        let Self { inner, action, url } = self;
        match inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        }
        .map_err(|source| Error::Database { action, url, source })
    }

    /// Several statements without values, as in a migration.
    pub(super) async fn execute_script(&mut self, script: String) -> Result<()> {
        let script = sqlx::raw_sql(AssertSqlSafe(script));
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => script.execute(&mut **tx).await.map(|_| ()),
            Inner::Postgres(tx) => script.execute(&mut **tx).await.map(|_| ()),
        };
        done.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: sqlx::Error) -> Error {
        Error::Database { action: self.action, url: self.url.clone(), source }
    }
}

/// The text of a [`Sql`] comes from string literals only, so it can hold nothing that a user typed.
macro_rules! statement {
    ($sql:ident, $dialect:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql.text($dialect)));
        for bind in $sql.into_binds() {
            query = match bind {
                Bind::Int(value) => query.bind(value),
                Bind::Real(value) => query.bind(value),
                Bind::Text(value) => query.bind(value),
            };
        }
        query
    }};
}

async fn sqlite_execute(connection: &mut SqliteConnection, sql: Sql) -> sqlx::Result<u64> {
    statement!(sql, Dialect::Sqlite).execute(connection).await.map(|done| done.rows_affected())
}

async fn postgres_execute(connection: &mut PgConnection, sql: Sql) -> sqlx::Result<u64> {
    statement!(sql, Dialect::Postgres).execute(connection).await.map(|done| done.rows_affected())
}

pub(super) async fn sqlite_rows(connection: &mut SqliteConnection, sql: Sql) -> sqlx::Result<Vec<Result<Row>>> {
    let rows = statement!(sql, Dialect::Sqlite).fetch_all(connection).await?;
    Ok(rows.iter().map(Row::from_sqlite).collect())
}

pub(super) async fn postgres_rows(connection: &mut PgConnection, sql: Sql) -> sqlx::Result<Vec<Result<Row>>> {
    let rows = statement!(sql, Dialect::Postgres).fetch_all(connection).await?;
    Ok(rows.iter().map(Row::from_postgres).collect())
}
