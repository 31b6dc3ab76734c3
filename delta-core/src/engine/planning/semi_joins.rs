//! Semi joins go down to the relation that they decide.
//!
//! ```text
//!   SELECT … FROM a JOIN b ON … WHERE a.key IN (SELECT … WHERE …)
//!
//!         semi                          inner
//!        /    \                        /     \
//!     inner   few         ──▶        semi     b
//!     /   \                         /    \
//!    a     b                       a     few
//! ```
//! A semi join keeps or drops rows of `a` by their own columns alone, so it can stand before the join with `b`. It is
//! worth it where it drops many: where a `WHERE` or a `HAVING` has made the other side small. An `IN` of all rows of a
//! relation may keep most, while the join drops most, so it stays where the query has it.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::{Filter, Join, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

#[derive(Debug)]
pub(super) struct SemiJoinDown;

impl OptimizerRule for SemiJoinDown {
    fn name(&self) -> &'static str {
        "semi_join_down"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) if join.join_type == JoinType::LeftSemi && is_narrowed(&join.right) => {
                let left = read_columns(join);
                Ok(match pushed(&join.left, join, &left)? {
                    Some(plan) => Transformed::yes(plan),
                    None => Transformed::no(plan),
                })
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// The join one step below its left side, where that can be; it is asked again there.
fn pushed(below: &LogicalPlan, semi: &Join, read: &HashSet<Column>) -> Result<Option<LogicalPlan>> {
    Ok(match below {
        LogicalPlan::Filter(filter) => {
            let Some(input) = pushed(&filter.input, semi, read)? else { return Ok(None) };
            Some(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(input))?))
        }
        LogicalPlan::Join(inner) if inner.join_type == JoinType::Inner => {
            let has_all = |side: &LogicalPlan| read.iter().all(|column| side.schema().has_column(column));
            let over = |side: &Arc<LogicalPlan>| -> Result<Arc<LogicalPlan>> {
                Ok(Arc::new(LogicalPlan::Join(Join::try_new(
                    Arc::clone(side),
                    Arc::clone(&semi.right),
                    semi.on.clone(),
                    semi.filter.clone(),
                    semi.join_type,
                    semi.join_constraint,
                    semi.null_equality,
                    semi.null_aware,
                )?)))
            };
            let (left, right) = match (has_all(&inner.left), has_all(&inner.right)) {
                (true, _) => (over(&inner.left)?, Arc::clone(&inner.right)),
                (false, true) => (Arc::clone(&inner.left), over(&inner.right)?),
                (false, false) => return Ok(None),
            };
            Some(LogicalPlan::Join(Join { left, right, ..inner.clone() }))
        }
        _ => None,
    })
}

/// Whether a relation is what a `WHERE` or a `HAVING` leaves.
fn is_narrowed(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_narrowed(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_narrowed(&alias.input),
        LogicalPlan::Filter(_) => true,
        _ => false,
    }
}

/// The columns of the left side that the join reads.
fn read_columns(join: &Join) -> HashSet<Column> {
    let mut read: HashSet<Column> = join.on.iter().flat_map(|(left, _)| left.column_refs()).cloned().collect();
    if let Some(filter) = &join.filter {
        read.extend(filter.column_refs().into_iter().filter(|column| join.left.schema().has_column(column)).cloned());
    }
    read
}
