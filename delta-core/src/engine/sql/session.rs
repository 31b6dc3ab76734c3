//! A session that speaks Delta.

use boathouse_base::Env;
use boathouse_delta_table::DeltaTable;
use boathouse_storage::{Location, Stores, system_env};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

use super::dml::{StatementReport, delta_sql};
use super::lake::Lake;
use crate::engine::error::Result;
use crate::engine::ext::register_delta;
use crate::engine::planning::planned;

/// A session with the system's clock: [`DeltaSession::new`].
pub fn session() -> DeltaSession {
    DeltaSession::new(system_env())
}

/// Statements over Delta tables, by name or by path.
///
/// | words | what |
/// | --- | --- |
/// | `SELECT … FROM t VERSION AS OF 3`, `TIMESTAMP AS OF '…'`, `t@v3` | an earlier version |
/// | `SELECT _metadata.file_name, … FROM t` | which file each row is in: [`with_file_metadata`](crate::DeltaTableProvider::with_file_metadata) |
/// | `table_changes('t', from [, to])`, `table_changes_by_path` | what versions, or times, changed |
/// | `INSERT [WITH SCHEMA EVOLUTION] INTO` or `OVERWRITE t [PARTITION (…)] [(columns) \| BY NAME]` query or `TABLE s` | new rows |
/// | `INSERT INTO t REPLACE WHERE …`, `REPLACE USING (…)` | new rows in the place of others |
/// | `COPY INTO t FROM 'path' FILEFORMAT = PARQUET \| CSV \| JSON …` | files of a folder, each once: [`CopyBuilder`](crate::CopyBuilder) |
/// | `DELETE`, `UPDATE`, `MERGE [WITH SCHEMA EVOLUTION] INTO` with `UPDATE SET *` and `INSERT *` | changed rows |
/// | `CREATE [OR REPLACE] TABLE … USING DELTA`, with `AS SELECT …` | a new table, or one made anew; or a name for one, with `LOCATION` alone |
/// | `OPTIMIZE t [FULL] [WHERE …] [ZORDER BY (…)]`, `REORG TABLE t [WHERE …] APPLY (PURGE)` | files in shape |
/// | `CREATE TABLE … CLUSTER BY (…)`, `ALTER TABLE t CLUSTER BY (…)` or `NONE` | what OPTIMIZE keeps together |
/// | `CREATE [OR REPLACE] TABLE t [SHALLOW \| DEEP] CLONE s [VERSION AS OF …] [LOCATION …]` | a table of another one's rows |
/// | ``CONVERT TO DELTA parquet.`path` [NO STATISTICS] [PARTITIONED BY (…)]`` | a table of the Parquet files in a folder |
/// | `ALTER TABLE`, `COMMENT ON TABLE` | columns and their places, comments, NOT NULL, constraints, defaults, properties |
/// | `FSCK REPAIR TABLE t [DRY RUN]`, `GENERATE symlink_format_manifest FOR TABLE t` | files that are gone; lists for other readers |
/// | `RESTORE TABLE … TO VERSION AS OF`, `VACUUM … [LITE] [RETAIN n HOURS] [DRY RUN]` | upkeep |
/// | `DESCRIBE HISTORY`, `DESCRIBE DETAIL`, `SHOW TBLPROPERTIES` | what is known |
/// | `DESCRIBE [TABLE] [EXTENDED] t`, `SHOW COLUMNS`, `SHOW PARTITIONS`, `SHOW CREATE TABLE` | what a table is |
/// | `SHOW TABLES`, `SHOW SCHEMAS`, `USE`, `CREATE SCHEMA`, `DROP SCHEMA`, `DROP TABLE`, `CREATE TABLE t LIKE s` | names |
///
/// Everything else is DataFusion's. Names of columns are found without regard to letter case, and spelled as they were declared.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use boathouse_delta_core::session;
///
/// let folder = tempfile::tempdir()?;
/// let lake = session().with_warehouse(&folder.path().display().to_string())?;
/// lake.sql("CREATE TABLE flights (id BIGINT, carrier STRING, delay INT) USING DELTA PARTITIONED BY (carrier)").await?;
/// lake.sql("INSERT INTO flights VALUES (1, 'AA', 5), (2, 'UA', 90)").await?;
/// lake.sql("UPDATE flights SET delay = 0 WHERE id = 2").await?;
///
/// let rows = lake.query("SELECT max(delay) FROM flights").await?.collect().await?;
/// let before = lake.query("SELECT max(delay) FROM flights VERSION AS OF 1").await?.collect().await?;
/// assert_ne!(rows, before);
/// let left = lake.query("SELECT * FROM flights").await?.count().await?;
/// assert_eq!(left, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeltaSession {
    context: SessionContext,
    stores: Stores,
    env: Env,
    warehouse: Option<Location>,
}

impl DeltaSession {
    /// A session whose tables take time and ids from `env`.
    pub fn new(env: Env) -> Self {
        let state = planned(SessionStateBuilder::new().with_config(SessionConfig::new()).with_default_features()).build();
        Self::with_context(SessionContext::new_with_state(state), env)
    }

    /// A session around one of DataFusion, with its functions, tables, settings and rules: [`planned`] adds ours.
    pub fn with_context(context: SessionContext, env: Env) -> Self {
        Self { context, stores: Stores::new(), env, warehouse: None }.joined()
    }

    /// Opens paths with these stores: their options, and stores that were handed in.
    #[must_use]
    pub fn with_stores(self, stores: Stores) -> Self {
        Self { stores, ..self }.joined()
    }

    /// The folder of tables that are created without a `LOCATION`. Tables that other sessions created there are found by name.
    ///
    /// **Errors**: `Invalid` for a path that is none.
    pub fn with_warehouse(self, path: &str) -> Result<Self> {
        let warehouse = Location::parse(path)
            .map_err(|source| crate::engine::error::EngineError::Location { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { warehouse: Some(warehouse), ..self }.joined())
    }

    fn joined(self) -> Self {
        let lake = Lake::new(self.stores.clone(), self.env.clone(), self.warehouse.clone());
        if let Err(error) = lake.join(&self.context) {
            // A catalog of the application may take no schemas: then tables are named, and not found by path.
            tracing::debug!(%error, "paths are no tables of this session");
        }
        self
    }

    /// The session of DataFusion.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Gives a table a name.
    ///
    /// **Errors**: `NotFound` when there is no table; `Invalid` when the name cannot be one.
    pub async fn register(&self, name: &str, table: &DeltaTable) -> Result<()> {
        register_delta(&self.context, name, table).await
    }

    /// Runs a statement: see [`delta_sql`].
    pub async fn sql(&self, statement: &str) -> Result<StatementReport> {
        delta_sql(&self.context, statement).await
    }

    /// Runs a statement, and gives what it has to say as rows.
    ///
    /// **Shape**: the rows of a query; of other statements one row of numbers, as Spark gives them.
    pub async fn query(&self, statement: &str) -> Result<DataFrame> {
        self.sql(statement).await?.into_frame(&self.context, statement)
    }
}

impl std::fmt::Debug for DeltaSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeltaSession({})", self.warehouse.as_ref().map_or("no warehouse", Location::as_str))
    }
}
