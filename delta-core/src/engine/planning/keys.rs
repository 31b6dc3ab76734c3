//! What a join says of the keys that it wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, InListExpr, Literal, in_list};
use datafusion::physical_expr::{PhysicalExpr, conjunction};

/// The keys that a filter lets through, and maybe others: whole numbers, and one of a list.
#[derive(Debug)]
pub(super) struct Keys {
    column: Column,
    /// In their order.
    values: BTreeMap<i128, Arc<dyn PhysicalExpr>>,
}

impl Keys {
    /// Reads a filter of a hash join: `key >= a AND key <= b AND key IN (…)`, or one such for each partition.
    ///
    /// `None` for anything else, also where keys are too many for a list.
    pub(super) fn of(filter: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        if let Some(both) = filter.downcast_ref::<BinaryExpr>() {
            // Each side alone lets more through.
            let of_both = || Self::of(both.left()).or_else(|| Self::of(both.right()));
            return if *both.op() == Operator::And { of_both() } else { None };
        }
        if let Some(list) = filter.downcast_ref::<InListExpr>() {
            let column = list.expr().downcast_ref::<Column>()?.clone();
            let value =
                |value: &Arc<dyn PhysicalExpr>| Some((whole(value.downcast_ref::<Literal>()?.value())?, Arc::clone(value)));
            let values = list.list().iter().map(value).collect::<Option<_>>()?;
            return if list.negated() { None } else { Some(Self { column, values }) };
        }
        let cases = filter.downcast_ref::<CaseExpr>()?;
        if !cases.else_expr().is_some_and(is_false) {
            return None;
        }
        let parts = cases.when_then_expr().iter().filter(|(_, then)| !is_false(then)).map(|(_, then)| Self::of(then));
        parts.reduce(|all, part| {
            let (mut all, part) = (all?, part?);
            all.values.extend(part.values);
            if all.column == part.column { Some(all) } else { None }
        })?
    }

    pub(super) fn column(&self) -> &Column {
        &self.column
    }

    /// How many different ones there are.
    pub(super) fn count(&self) -> i128 {
        self.values.len() as i128
    }

    /// `key >= least AND key <= most AND key IN (…)`: row groups and pages are skipped by the first two.
    pub(super) fn into_filter(self, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        let column: Arc<dyn PhysicalExpr> = Arc::new(self.column);
        let (Some((_, least)), Some((_, most))) = (self.values.first_key_value(), self.values.last_key_value()) else {
            return internal_err!("a join wants none of the keys");
        };
        let bound = |op, value: &Arc<dyn PhysicalExpr>| -> Arc<dyn PhysicalExpr> {
            Arc::new(BinaryExpr::new(Arc::clone(&column), op, Arc::clone(value)))
        };
        let bounds = [bound(Operator::GtEq, least), bound(Operator::LtEq, most)];
        let list = in_list(Arc::clone(&column), self.values.values().cloned().collect(), &false, schema)?;
        Ok(conjunction(bounds.into_iter().chain([list])))
    }
}

fn is_false(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Literal>().is_some_and(|literal| *literal.value() == ScalarValue::Boolean(Some(false)))
}

/// A value that counts in steps of one; `None` for others, and for null.
pub(super) fn whole(value: &ScalarValue) -> Option<i128> {
    Some(match value {
        ScalarValue::Int8(Some(value)) => i128::from(*value),
        ScalarValue::Int16(Some(value)) => i128::from(*value),
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => i128::from(*value),
        ScalarValue::Int64(Some(value)) => i128::from(*value),
        _ => return None,
    })
}
