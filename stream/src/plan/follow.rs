//! The function that stands for a `WATERMARK` clause until the statement is a plan.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::SessionContext;

use super::mark::marked;
use super::watermark::WatermarkNode;

/// `__watermark(time, delay in microseconds)`.
pub(crate) const FOLLOW: &str = "__watermark";

/// Lets statements of a session call it.
pub(crate) fn register(session: &SessionContext) {
    session.register_udf(ScalarUDF::from(Follow { signature: Signature::variadic_any(Volatility::Immutable) }));
}

/// Puts nodes that follow an event time where the function is called.
pub(crate) fn follow_calls(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        let LogicalPlan::Projection(projection) = &node else { return Ok(Transformed::no(node)) };
        let mut followed = None;
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for expr in &projection.expr {
            match called(expr) {
                // A column that keeps its name keeps its table: rules of the engine add columns below, and two of one name are too many.
                Some((Expr::Column(time), delay_us)) if time.name == expr.qualified_name().1 => {
                    followed = Some((time.clone(), delay_us));
                    exprs.push(Expr::Column(time.clone()));
                }
                Some((time, delay_us)) => {
                    let (qualifier, name) = expr.qualified_name();
                    followed = Some((Column::new(qualifier.clone(), &name), delay_us));
                    exprs.push(time.clone().alias_qualified(qualifier, name));
                }
                None => exprs.push(expr.clone()),
            }
        }
        let Some((column, delay_us)) = followed else { return Ok(Transformed::no(node)) };
        let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?);
        Ok(Transformed::yes(WatermarkNode::plan(input, Expr::Column(column), delay_us)?))
    })
    .data()
}

/// The event time and the delay of a call.
fn called(expr: &Expr) -> Option<(&Expr, i64)> {
    match expr {
        Expr::Alias(alias) => called(&alias.expr),
        Expr::ScalarFunction(function) if function.name() == FOLLOW => match function.args.as_slice() {
            [time, Expr::Literal(ScalarValue::Int64(Some(delay_us)), _)] => Some((time, *delay_us)),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Debug)]
struct Follow {
    signature: Signature,
}

impl PartialEq for Follow {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Follow {}

impl Hash for Follow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        FOLLOW.hash(state);
    }
}

impl ScalarUDFImpl for Follow {
    fn name(&self) -> &str {
        FOLLOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {FOLLOW} depends on its field")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match (args.arg_fields, args.scalar_arguments) {
            ([time, _], [_, Some(ScalarValue::Int64(Some(delay_us)))]) => Ok(Arc::new(marked(time, *delay_us))),
            _ => plan_err!("{FOLLOW} takes an event time and a delay in microseconds"),
        }
    }

    /// Where no plan of a stream took it out, the time is as it is.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(time) => Ok(time),
            None => plan_err!("{FOLLOW} takes an event time and a delay in microseconds"),
        }
    }
}
