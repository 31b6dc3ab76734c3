//! What the engine adds to a table.

use std::sync::Arc;

use boathouse_base::{BoxFuture, TableVersion};
use boathouse_delta_table::DeltaTable;
use boathouse_frames::from_datafusion;
use boathouse_storage::Storage;
use datafusion::prelude::{DataFrame, SessionContext};

use super::copy::{CopyBuilder, CopyFormat};
use super::delete::DeleteBuilder;
use super::error::{EngineError, Result};
use super::expressions::SparkExpressions;
use super::formula::Formula;
use super::merge::MergeBuilder;
use super::optimize::OptimizeBuilder;
use super::provider::DeltaTableProvider;
use super::replace::ReplaceBuilder;
use super::sql::Lake;
use super::update::UpdateBuilder;

/// DELETE, UPDATE, MERGE, OPTIMIZE and queries on a [`DeltaTable`].
pub trait DeltaTableExt {
    /// Deletes rows.
    fn delete(&self) -> DeleteBuilder;

    /// Changes columns of rows.
    fn update(&self) -> UpdateBuilder;

    /// Merges rows of `source` into the table. `on` says which rows belong together: the table is `t` in it, and the
    /// source `s`.
    fn merge(&self, source: DataFrame, on: impl Into<Formula>) -> MergeBuilder;

    /// Replaces the rows for which the condition is true by these, in one commit. The condition must hold for each of them.
    fn replace_where(&self, rows: DataFrame, condition: impl Into<Formula>) -> ReplaceBuilder;

    /// Replaces the rows that have, in these columns, the values of some of the new rows, in one commit. Null is a value here.
    fn replace_using<S: Into<String>>(&self, rows: DataFrame, columns: impl IntoIterator<Item = S>) -> ReplaceBuilder;

    /// Replaces the partitions of which there are rows by these, in one commit. A table without partitions is replaced as a whole.
    fn replace_partitions(&self, rows: DataFrame) -> ReplaceBuilder;

    /// Loads the files of a folder that were not loaded before, in one commit: `COPY INTO`.
    fn copy_from(&self, source: Storage, format: CopyFormat) -> CopyBuilder;

    /// Puts small files together, orders rows along a curve, or clusters them.
    fn optimize(&self) -> OptimizeBuilder;

    /// Puts small files together if the table asks for it (`delta.autoOptimize.autoCompact`) and they have piled up. INSERT, DELETE, UPDATE,
    /// MERGE and replacements do that after their commit; [`DeltaTable::append`] leaves it to the caller.
    fn auto_compact(&self) -> OptimizeBuilder;

    /// Writes files again that hold deleted rows, or columns that were dropped: `REORG TABLE … APPLY (PURGE)`.
    fn purge(&self) -> OptimizeBuilder;

    /// The table for the engine: each scan reads the newest version.
    fn provider(&self) -> BoxFuture<'_, Result<DeltaTableProvider>>;

    /// One version of the table for the engine.
    fn provider_at(&self, version: TableVersion) -> BoxFuture<'_, Result<DeltaTableProvider>>;
}

impl DeltaTableExt for DeltaTable {
    fn delete(&self) -> DeleteBuilder {
        DeleteBuilder::new(understood(self))
    }

    fn update(&self) -> UpdateBuilder {
        UpdateBuilder::new(understood(self))
    }

    fn merge(&self, source: DataFrame, on: impl Into<Formula>) -> MergeBuilder {
        MergeBuilder::new(understood(self), source, on.into())
    }

    fn replace_where(&self, rows: DataFrame, condition: impl Into<Formula>) -> ReplaceBuilder {
        ReplaceBuilder::matching(understood(self), rows, condition.into())
    }

    fn replace_using<S: Into<String>>(&self, rows: DataFrame, columns: impl IntoIterator<Item = S>) -> ReplaceBuilder {
        ReplaceBuilder::using(understood(self), rows, columns.into_iter().map(Into::into).collect())
    }

    fn replace_partitions(&self, rows: DataFrame) -> ReplaceBuilder {
        ReplaceBuilder::partitions(understood(self), rows)
    }

    fn copy_from(&self, source: Storage, format: CopyFormat) -> CopyBuilder {
        CopyBuilder::new(understood(self), source, format)
    }

    fn optimize(&self) -> OptimizeBuilder {
        OptimizeBuilder::new(understood(self))
    }

    fn auto_compact(&self) -> OptimizeBuilder {
        OptimizeBuilder::automatic(understood(self))
    }

    fn purge(&self) -> OptimizeBuilder {
        OptimizeBuilder::purging(understood(self))
    }

    fn provider(&self) -> BoxFuture<'_, Result<DeltaTableProvider>> {
        Box::pin(async move { Ok(DeltaTableProvider::newest(understood(self).snapshot().await?)) })
    }

    fn provider_at(&self, version: TableVersion) -> BoxFuture<'_, Result<DeltaTableProvider>> {
        Box::pin(async move { Ok(DeltaTableProvider::pinned(understood(self).snapshot_at(version).await?)) })
    }
}

/// The table with somebody who understands the SQL of its rules: whom it has, or the engine.
pub(crate) fn understood(table: &DeltaTable) -> DeltaTable {
    match table.expressions() {
        Some(_) => table.clone(),
        None => table.clone().with_expressions(Arc::new(SparkExpressions::default())),
    }
}

/// Gives a table a name in a session: queries read its newest version, `INSERT INTO` appends, and
/// [`delta_sql`](crate::delta_sql) runs DELETE, UPDATE and MERGE on it.
///
/// **Errors**: `NotFound` when there is no table; `Invalid` when the name cannot be one.
pub async fn register_delta(session: &SessionContext, name: &str, table: &DeltaTable) -> Result<()> {
    // The session looks at the table again when a statement names it.
    let provider = table.provider().await?;
    let provider = match Lake::of(session) {
        Ok(lake) => lake.with_footers(provider),
        // A catalog of the application may take no schemas: then tables are not found by path.
        Err(_) => provider,
    };
    let registered = session.register_table(name, Arc::new(provider));
    registered.map(|_| ()).map_err(|error| EngineError::Plan {
        statement: format!("register {name}"),
        source: from_datafusion("name the table", error),
    })
}
