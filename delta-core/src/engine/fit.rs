//! The cast of a column as a function of the engine, so that the rows of a query can be made to fit a table.

use std::sync::Arc;

use boathouse_delta_protocol::schema::is_variant;
use boathouse_frames::into_datafusion;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::{loose, to_column};
use super::error::Attempt;

/// A value as this column of a table wants it, under the name of the column: [`to_column`] of each batch. Variants are the writer's.
pub(crate) fn fit(value: Expr, column: &Field, attempt: &Attempt) -> Expr {
    let name = column.name().clone();
    if is_variant(column) {
        return value.alias(name);
    }
    // The metadata of a column speaks to writers of its table, and would follow the values.
    let column = loose(column).as_ref().clone().with_metadata(Default::default());
    // The engine must not compute it before the rows: its error would speak of the plan.
    let fit = Fit { column: Arc::new(column), attempt: attempt.clone(), signature: Signature::any(1, Volatility::Volatile) };
    ScalarUDF::from(fit).call(vec![value]).alias(name)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fit {
    column: FieldRef,
    attempt: Attempt,
    signature: Signature,
}

impl ScalarUDFImpl for Fit {
    fn name(&self) -> &str {
        "fit"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.column.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::clone(&self.column))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [value] = datafusion::common::utils::take_function_args(self.name(), arguments.args)?;
        let fitted = to_column(value.into_array(rows)?, &self.column, &self.attempt);
        fitted.map(ColumnarValue::Array).map_err(|error| into_datafusion(error.into()))
    }
}
