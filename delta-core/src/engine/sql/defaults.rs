//! The word `DEFAULT` in the place of a value.

use boathouse_delta_protocol::rules::Rules;
use boathouse_delta_table::Snapshot;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast;

use boathouse_delta_table::Expressions;

use crate::engine::assign::rules;
use crate::engine::cast::{loose, to_column};
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::expressions::SparkExpressions;

/// What the word means in each column of a table.
pub(crate) struct Defaults {
    rules: Rules,
    expressions: SparkExpressions,
    attempt: Attempt,
}

impl Defaults {
    pub(crate) fn of(snapshot: &Snapshot, session: &SessionContext, attempt: &Attempt) -> Result<Self> {
        Ok(Self { rules: rules(snapshot)?, expressions: SparkExpressions::of(session), attempt: attempt.clone() })
    }

    /// Puts the default of a column in the place of the word, where it stands there; null for a column that has none.
    ///
    /// **Errors**: `Invalid` for a column that the table computes or numbers itself.
    pub(crate) fn fill(&self, value: &mut ast::Expr, column: &str) -> Result<()> {
        match value {
            ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") => {
                *value = self.of_column(column)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn of_column(&self, column: &str) -> Result<ast::Expr> {
        let computed = self.rules.generated.iter().any(|value| value.column == column)
            || self.rules.identities.iter().any(|identity| identity.column == column);
        if computed {
            let (attempted, url, column) = (self.attempt.attempted, self.attempt.url.clone(), column.to_owned());
            return Err(EngineError::NoDefault { attempted, url, column });
        }
        let Some(default) = self.rules.defaults.iter().find(|value| value.column == column) else {
            return Ok(ast::Expr::Value(ast::Value::Null.into()));
        };
        let expression = self.expressions.in_statement(&default.expression).map_err(|error| self.attempt.rows(error))?;
        Ok(ast::Expr::Nested(Box::new(expression)))
    }
}

/// Looks whether a default is a value of its column.
///
/// **Errors**: `Invalid` names the column, and says what does not fit.
pub(crate) fn check(field: &Field, default: &str, session: &SessionContext, attempt: &Attempt) -> Result<()> {
    let none = SchemaRef::new(Schema::empty());
    let failed = |error| attempt.rows(error);
    let compiled = SparkExpressions::of(session).compile(default, &none).map_err(failed)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(none, Vec::<ArrayRef>::new(), &options);
    let value = compiled.evaluate(&row.map_err(|source| attempt.compute(source))?).map_err(failed)?;
    to_column(value, &loose(field), attempt).map(drop)
}
