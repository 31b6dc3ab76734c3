//! Expressions that are evaluated on batches, without a plan around them.

use std::sync::Arc;

use datafusion::arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

/// An expression as it is evaluated, over batches of `schema`.
///
/// `SessionContext::create_physical_expr` alone is not enough: functions like `coalesce`, `nvl` and `now` cannot be
/// evaluated before they are rewritten, which a plan gets from the optimizer. All calls of `now` give the time of this call,
/// in whole microseconds.
///
/// **Errors**: those of DataFusion: types that do not fit, columns that are not there.
///
/// # Example
/// ```
/// use boathouse_frames::physical_expr;
/// use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
/// use datafusion::arrow::datatypes::Int64Type;
/// use datafusion::common::DFSchema;
/// use datafusion::prelude::SessionContext;
/// # use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let delays = RecordBatch::try_from_iter([("delay", Arc::new(Int64Array::from(vec![Some(5), None])) as ArrayRef)])?;
/// let (session, schema) = (SessionContext::new(), DFSchema::try_from(delays.schema())?);
/// let expr = session.parse_sql_expr("coalesce(delay, 0)", &schema)?;
/// let values = physical_expr(&session, expr, &schema)?.evaluate(&delays)?.into_array(2)?;
/// assert_eq!(values.as_primitive::<Int64Type>().values(), &[5, 0]);
/// # Ok(()) }
/// ```
pub fn physical_expr(session: &SessionContext, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let state = session.state();
    // Tables keep microseconds: a time with more digits would not be the same in them.
    let began = state.execution_props().query_execution_start_time;
    let began = began.and_then(|time| timestamp_us_to_datetime(time.timestamp_micros())).map(|time| time.and_utc());
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(began)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.simplify(simplifier.coerce(expr, schema)?)?;
    state.create_physical_expr(expr, schema)
}
