//! What keys, aggregates and columns are known by.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// How things of a plan are named: with their tables where it joins, without where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Naming {
    with_tables: bool,
}

impl Naming {
    /// For what stands above `plan`; `joins` says whether streams are joined below it.
    pub(crate) fn of(plan: &LogicalPlan, joins: bool) -> Result<Self> {
        let mut with_tables = joins;
        plan.apply(|node| {
            with_tables |= matches!(node, LogicalPlan::Join(_));
            Ok(if with_tables { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(Self { with_tables })
    }

    /// The expression with the columns' names.
    pub(crate) fn plain(self, expr: Expr) -> Result<Expr> {
        if self.with_tables {
            return Ok(expr);
        }
        expr.transform(|inner| {
            Ok(match inner {
                Expr::Column(Column { relation: Some(_), name, .. }) => {
                    Transformed::yes(Expr::Column(Column::new_unqualified(name)))
                }
                other => Transformed::no(other),
            })
        })
        .data()
    }

    /// The text of an expression.
    pub(crate) fn text(self, expr: &Expr) -> Result<String> {
        Ok(match self.plain(expr.clone().unalias())? {
            Expr::Column(column) => column.flat_name(),
            other => other.schema_name().to_string(),
        })
    }

    /// The schema with the columns' names.
    pub(crate) fn schema(self, schema: &DFSchema) -> Result<DFSchema> {
        let qualifier = |qualifier: Option<&datafusion::common::TableReference>| qualifier.filter(|_| self.with_tables).cloned();
        let fields = schema.iter().map(|(of, field)| (qualifier(of), std::sync::Arc::clone(field))).collect();
        DFSchema::new_with_metadata(fields, schema.metadata().clone())
    }

    /// The names of the columns of a schema, no two the same.
    pub(crate) fn columns(self, schema: &DFSchema) -> Vec<String> {
        let name = |column: Column| if self.with_tables { column.flat_name() } else { column.name };
        unique(schema.columns().into_iter().map(name))
    }
}

/// Names, of which those that are there already have a number after them.
pub(crate) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let number = |name: String| {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name} ({count})") }
    };
    names.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_of_a_name_has_a_number() {
        assert_eq!(unique(["a", "b", "a", "a"].map(str::to_owned)), ["a", "b", "a (2)", "a (3)"]);
    }
}
