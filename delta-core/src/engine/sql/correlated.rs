//! Conditions and values with subqueries that read the row that is decided about.
//!
//! What such a condition says of a row depends on those columns of the row that it reads. So a query finds the values of these columns for
//! which it holds, with the values that UPDATE sets, and a merge changes the rows that have them:
//!
//! ```text
//!   UPDATE t SET v = (SELECT max(x) FROM s WHERE s.k = t.k) WHERE EXISTS (SELECT 1 FROM s WHERE s.k = t.k)
//!
//!   source   SELECT DISTINCT k, (SELECT max(x) …) AS v FROM t WHERE EXISTS (…)
//!   merge    ON t.k IS NOT DISTINCT FROM source.k WHEN MATCHED THEN UPDATE SET v = source.v
//! ```
//!
//! Both look at one version of the table, and the transaction begins there.

use std::collections::BTreeSet;
use std::sync::Arc;

use boathouse_delta_table::Snapshot;
use boathouse_frames::from_datafusion;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::engine::error::{EngineError, Result};
use crate::engine::formula::Formula;
use crate::engine::merge::{MergeBuilder, MergeDelete, MergeReport, MergeUpdate};
use crate::engine::provider::DeltaTableProvider;
use crate::engine::statement::Statement;

/// Whether there is a subquery in it that reads columns from outside.
pub(crate) fn is_correlated(expr: &Expr) -> bool {
    let correlated = expr.exists(|expr| Ok(subquery(expr).is_some_and(|query| !query.outer_ref_columns.is_empty())));
    // The closure never fails.
    correlated.unwrap_or(true)
}

fn subquery(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(query) => Some(query),
        Expr::InSubquery(query) => Some(&query.subquery),
        Expr::Exists(query) => Some(&query.subquery),
        Expr::SetComparison(query) => Some(&query.subquery),
        _ => None,
    }
}

/// What is to be done to which rows.
pub(crate) struct Decision<'a> {
    pub(crate) session: &'a SessionContext,
    pub(crate) table: &'a DeltaTableProvider,
    /// The rows, filtered.
    pub(crate) input: &'a LogicalPlan,
    pub(crate) conditions: &'a [Expr],
    pub(crate) statement: &'a str,
}

impl Decision<'_> {
    /// Deletes the rows.
    pub(crate) async fn delete(&self) -> Result<MergeReport> {
        self.merge("DELETE", &[]).await?.when_matched_delete(MergeDelete::all()).run().await
    }

    /// Sets columns of the rows to values.
    pub(crate) async fn update(&self, sets: &[(String, Expr)]) -> Result<MergeReport> {
        let merge = self.merge("UPDATE", sets).await?;
        let set = |(nth, (column, _)): (usize, &(String, Expr))| (column.clone(), Formula::from(of_source(value_name(nth))));
        let sets = Some(sets.iter().enumerate().map(set).collect());
        merge.when_matched_update(MergeUpdate { condition: None, sets }).run().await
    }

    /// The rows, with their values, as the source of a merge that has no clause yet.
    async fn merge(&self, operation: &'static str, sets: &[(String, Expr)]) -> Result<MergeBuilder> {
        let table = self.table.table();
        let snapshot = table.snapshot().await?;
        let values: Vec<&Expr> = sets.iter().map(|(_, value)| value).collect();
        let mut keys = BTreeSet::new();
        for expr in self.conditions.iter().chain(values.iter().copied()) {
            if expr.is_volatile() {
                let (attempted, url, expression) = ("change rows of", table.url().to_owned(), expr.to_string());
                return Err(EngineError::Volatile { attempted, url, expression });
            }
            self.columns_of(expr, &mut keys).map_err(|error| self.failed(error))?;
        }
        let columns = keys.iter().enumerate().map(|(nth, column)| Expr::Column(column.clone()).alias(key_name(nth)));
        let values = values.into_iter().enumerate().map(|(nth, value)| value.clone().alias(value_name(nth)));
        let plan = self.at(&snapshot).and_then(|plan| {
            LogicalPlanBuilder::from(plan).project(columns.chain(values).collect::<Vec<_>>())?.distinct()?.build()
        });
        let source = DataFrame::new(self.session.state(), plan.map_err(|error| self.failed(error))?);
        // The engine turns such subqueries into joins, where it can.
        match source.clone().create_physical_plan().await {
            Err(error) if matches!(error.find_root(), DataFusionError::NotImplemented(_)) => {
                return Err(EngineError::Unsupported {
                    statement: self.statement.to_owned(),
                    what: "a subquery that reads columns from outside in this way",
                    instead: "write a MERGE with the subquery joined into its source",
                });
            }
            planned => planned.map(drop).map_err(|error| self.failed(error))?,
        }
        let same = |(nth, column): (usize, &Column)| {
            let of_table = Expr::Column(Column::new(Some(TableReference::bare("t")), &column.name));
            binary_expr(of_table, Operator::IsNotDistinctFrom, of_source(key_name(nth)))
        };
        let on = conjunction(keys.iter().enumerate().map(same)).unwrap_or_else(|| lit(true));
        let statement = Statement::new(table.clone()).with_session(self.session).based_on(snapshot);
        let condition = conjunction(self.conditions.iter().cloned()).map(|condition| condition.to_string());
        Ok(MergeBuilder::standing_for(statement, source, on.into(), operation, condition))
    }

    /// The columns of the table that an expression reads, also from within its subqueries.
    fn columns_of(&self, expr: &Expr, keys: &mut BTreeSet<Column>) -> Result<(), DataFusionError> {
        let mut queries: Vec<Arc<LogicalPlan>> = Vec::new();
        expr.apply(|expr| {
            if let Expr::Column(column) = expr {
                keys.insert(column.clone());
            }
            queries.extend(subquery(expr).map(|query| Arc::clone(&query.subquery)));
            Ok(TreeNodeRecursion::Continue)
        })?;
        // A column of a query around an inner one may be among them: one key more than needed changes nothing.
        let schema = self.input.schema();
        for query in queries {
            query.apply_with_subqueries(|node| {
                node.apply_expressions(|expr| {
                    expr.apply(|expr| {
                        if let Expr::OuterReferenceColumn(_, column) = expr
                            && schema.has_column(column)
                        {
                            keys.insert(column.clone());
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })
                })
            })?;
        }
        Ok(())
    }

    /// The rows as they are at this version.
    fn at(&self, snapshot: &Snapshot) -> Result<LogicalPlan, DataFusionError> {
        let url = self.table.table().url();
        let pinned = self.input.clone().transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let provider = source_as_provider(&scan.source)?;
            match <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()) {
                Some(delta) if delta.version().is_none() && delta.table().url() == url => {
                    scan.source = provider_as_source(Arc::new(delta.fixed(snapshot)?));
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                _ => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            }
        });
        pinned.map(|pinned| pinned.data)
    }

    fn failed(&self, error: DataFusionError) -> EngineError {
        EngineError::Plan { statement: self.statement.to_owned(), source: from_datafusion("plan the statement", error) }
    }
}

fn key_name(nth: usize) -> String {
    format!("key {nth}")
}

fn value_name(nth: usize) -> String {
    format!("value {nth}")
}

fn of_source(name: String) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare("s")), name))
}
