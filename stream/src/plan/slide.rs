//! Windows that overlap: a row is in several, so rows are multiplied before they are grouped.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection};

use super::mark::{delay_of, description_of};
use super::window_fn::{followed, sliding};

/// The window of a multiplied row.
const UNFOLDED: &str = "__window";

/// Rewrites calls of `window` whose windows overlap.
pub(crate) fn unfold_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| match &node {
        LogicalPlan::Aggregate(aggregate) => {
            let Some(call) = only_sliding(aggregate.group_expr.iter().chain(&aggregate.aggr_expr))? else {
                return Ok(Transformed::no(node));
            };
            let input = unfold(aggregate.input.as_ref().clone(), &call)?;
            let groups = replace_all(&aggregate.group_expr, &call)?;
            let aggregates = replace_all(&aggregate.aggr_expr, &call)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregates)?)))
        }
        LogicalPlan::Projection(projection) => {
            let Some(call) = only_sliding(projection.expr.iter())? else { return Ok(Transformed::no(node)) };
            let input = unfold(projection.input.as_ref().clone(), &call)?;
            let exprs = replace_all(&projection.expr, &call)?;
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)))
        }
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// The one call of `window` with windows that overlap.
fn only_sliding<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Result<Option<Expr>> {
    let mut found: Option<Expr> = None;
    for expr in exprs {
        expr.apply(|inner| {
            if sliding(inner)?.is_some() {
                match &found {
                    Some(other) if other != inner => {
                        return plan_err!(
                            "a statement may have one kind of overlapping windows, and there are `{other}` and `{inner}`"
                        );
                    }
                    _ => found = Some(inner.clone()),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

/// Each row once for each of its windows.
fn unfold(input: LogicalPlan, call: &Expr) -> Result<LogicalPlan> {
    let Some(windows) = sliding(call)? else { return Ok(input) };
    let (_, list) = windows.to_field(input.schema().as_ref())?;
    let own: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let with_windows = own.iter().cloned().chain([windows.alias(UNFOLDED)]);
    let unfolded = LogicalPlanBuilder::from(input).project(with_windows)?.unnest_column(Column::from_name(UNFOLDED))?;
    let window = followed(Expr::Column(Column::from_name(UNFOLDED)), delay_of(&list), description_of(&list));
    unfolded.project(own.into_iter().chain([window.alias(UNFOLDED)]))?.build()
}

/// The expressions over multiplied rows, by the names that they had.
fn replace_all(exprs: &[Expr], call: &Expr) -> Result<Vec<Expr>> {
    exprs
        .iter()
        .map(|expr| {
            let (qualifier, name) = expr.qualified_name();
            let replaced = expr.clone().transform_down(|inner| {
                Ok(match inner == *call {
                    true => Transformed::new(Expr::Column(Column::from_name(UNFOLDED)), true, TreeNodeRecursion::Jump),
                    false => Transformed::no(inner),
                })
            })?;
            Ok(match replaced.transformed {
                true => replaced.data.unalias_nested().data.alias_qualified(qualifier, name),
                false => replaced.data,
            })
        })
        .collect()
}
