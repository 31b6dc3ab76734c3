//! Conditions and values: given as SQL or as expressions, compiled against the columns of a table.

use std::fmt;
use std::sync::Arc;

use boathouse_base::Predicate;
use boathouse_frames::{physical_expr, to_predicate};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::prep_null_mask_filter;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

use super::error::{Attempt, EngineError, Result};
use super::spelling;

/// A condition or a value: SQL text, or an expression of DataFusion.
///
/// In SQL text names are found without regard to letter case: `ID = 5`, `id = 5` and `"Id" = 5` are the same for a column `Id`.
///
/// # Example
/// ```
/// use boathouse_delta_core::Formula;
/// use datafusion::prelude::{col, lit};
///
/// assert_eq!(Formula::from("delay > 30").to_string(), "delay > 30");
/// assert_eq!(Formula::from(col("delay").gt(lit(30))).to_string(), "delay > Int32(30)");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Formula {
    /// SQL text.
    Sql(String),
    /// An expression.
    Expr(Box<Expr>),
}

impl Formula {
    /// The expression over the columns of a frame, with the functions of a session.
    ///
    /// **Errors**: `Invalid` when the text is no expression, or names no column.
    ///
    /// # Example
    /// ```
    /// # use datafusion::prelude::SessionContext;
    /// use boathouse_delta_core::Formula;
    ///
    /// let session = SessionContext::new();
    /// let frame = session.read_empty()?;
    /// assert_eq!(Formula::from("1 + 1").over(&session, frame.schema())?.to_string(), "Int64(1) + Int64(1)");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(&self, session: &SessionContext, columns: &DFSchema) -> Result<Expr> {
        let understood = |text: &str| {
            spelling::expression(session, text, columns).map_err(|error| EngineError::Plan {
                statement: text.to_owned(),
                source: boathouse_frames::from_datafusion("understand the expression", error),
            })
        };
        match self {
            Self::Sql(text) => understood(text),
            Self::Expr(expr) => Ok(expr.as_ref().clone()),
        }
    }

    /// The expression over these columns.
    pub(crate) fn resolve(&self, session: &SessionContext, schema: &DFSchema, attempt: &Attempt) -> Result<Expr> {
        match self {
            Self::Sql(text) => spelling::expression(session, text, schema).map_err(|error| attempt.expression(text, error)),
            Self::Expr(expr) => Ok(expr.as_ref().clone()),
        }
    }

    /// A value over these columns.
    pub(crate) fn compile(&self, session: &SessionContext, schema: &DFSchema, attempt: &Attempt) -> Result<Compiled> {
        let expr = self.resolve(session, schema, attempt)?;
        Compiled::new(session, schema, attempt, expr, self.to_string())
    }

    /// A condition over these columns.
    pub(crate) fn compile_condition(&self, session: &SessionContext, schema: &DFSchema, attempt: &Attempt) -> Result<Compiled> {
        let compiled = self.compile(session, schema, attempt)?;
        compiled.check_condition(schema.as_arrow(), attempt)?;
        Ok(compiled)
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(text) => f.write_str(text),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl From<&str> for Formula {
    fn from(text: &str) -> Self {
        Self::Sql(text.to_owned())
    }
}

impl From<String> for Formula {
    fn from(text: String) -> Self {
        Self::Sql(text)
    }
}

impl From<Expr> for Formula {
    fn from(expr: Expr) -> Self {
        Self::Expr(Box::new(expr))
    }
}

/// An expression that can be evaluated on batches of one schema.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) expr: Expr,
    pub(crate) text: String,
    physical: Arc<dyn PhysicalExpr>,
}

impl Compiled {
    fn new(session: &SessionContext, schema: &DFSchema, attempt: &Attempt, expr: Expr, text: String) -> Result<Self> {
        let physical = physical_expr(session, expr.clone(), schema).map_err(|error| attempt.expression(&text, error))?;
        Ok(Self { expr, text, physical })
    }

    fn check_condition(&self, schema: &Schema, attempt: &Attempt) -> Result<()> {
        let (attempted, url, expression) = (attempt.attempted, attempt.url.clone(), self.text.clone());
        if self.expr.is_volatile() {
            return Err(EngineError::Volatile { attempted, url, expression });
        }
        match self.physical.data_type(schema).map_err(|error| attempt.expression(&self.text, error))? {
            DataType::Boolean | DataType::Null => Ok(()),
            found => Err(EngineError::NotBoolean { attempted, url, expression, found: Box::new(found) }),
        }
    }

    /// The values for the rows of a batch.
    pub(crate) fn values(&self, batch: &RecordBatch, attempt: &Attempt) -> Result<ArrayRef> {
        let values = self.physical.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        values.map_err(|error| attempt.evaluate(&self.text, error))
    }

    /// For which rows it is true. Unknown is not true.
    pub(crate) fn is_true(&self, batch: &RecordBatch, attempt: &Attempt) -> Result<BooleanArray> {
        let values = self.values(batch, attempt)?;
        match values.as_boolean_opt() {
            Some(truth) if truth.null_count() == 0 => Ok(truth.clone()),
            Some(truth) => Ok(prep_null_mask_filter(truth)),
            // The type was checked: what is left is the untyped null.
            None => Ok(BooleanArray::from(vec![false; batch.num_rows()])),
        }
    }
}

/// A condition on rows of a table, for files and for batches.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) text: String,
    /// The columns that it reads, in the order of the table.
    pub(crate) columns: Vec<String>,
    /// What every matching row satisfies.
    pub(crate) predicate: Option<Predicate>,
    /// Over the columns that it reads.
    pub(crate) narrow: Compiled,
    /// Over all columns.
    pub(crate) wide: Compiled,
}

impl Filter {
    pub(crate) fn new(formula: &Formula, session: &SessionContext, schema: &SchemaRef, attempt: &Attempt) -> Result<Self> {
        let all = df_schema(schema, attempt, formula)?;
        let wide = formula.compile_condition(session, &all, attempt)?;
        let names: Vec<&str> = wide.expr.column_refs().into_iter().map(|column| column.name.as_str()).collect();
        let places: Vec<usize> =
            (0..schema.fields().len()).filter(|at| names.contains(&schema.field(*at).name().as_str())).collect();
        let columns = places.iter().map(|at| schema.field(*at).name().clone()).collect();
        let few = Arc::new(schema.project(&places).map_err(|source| attempt.compute(source))?);
        let narrow =
            Compiled::new(session, &df_schema(&few, attempt, formula)?, attempt, wide.expr.clone(), formula.to_string())?;
        Ok(Self { text: formula.to_string(), columns, predicate: to_predicate(&wide.expr), narrow, wide })
    }
}

fn df_schema(schema: &SchemaRef, attempt: &Attempt, formula: &Formula) -> Result<DFSchema> {
    DFSchema::try_from(Arc::clone(schema)).map_err(|error| attempt.expression(&formula.to_string(), error))
}
