//! The SQL of a table's rules: Spark's, read with the eyes of DataFusion.
//!
//! Names regard no letter case. Where both engines know a function by one name and mean different things, the
//! expression is translated, or refused: a constraint that means something else would be worse than none.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use boathouse_delta_table::{Expression, Expressions};
use boathouse_frames::{from_datafusion, physical_expr};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Fields, SchemaRef};
use datafusion::common::config::Dialect;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, cast, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionContext, nullif};
use datafusion::sql::sqlparser::ast;

use super::error::EngineError;

/// Understands the constraints, generated columns and defaults of tables.
///
/// Tables that are changed through [`DeltaTableExt`](crate::DeltaTableExt), [`register_delta`](crate::register_delta) or
/// [`delta_sql`](crate::delta_sql) have it. To append to others, hand it in:
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use boathouse_delta_core::{DeltaTable, SparkExpressions};
/// # use boathouse_storage::{Storage, system_env};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let storage = Storage::memory();
/// let table = DeltaTable::at(storage, system_env()).with_expressions(Arc::new(SparkExpressions::default()));
/// # let rows = |v: Vec<i64>| RecordBatch::try_from_iter([("stock", Arc::new(Int64Array::from(v)) as ArrayRef)]).unwrap();
/// table.append(rows(vec![7]).into()).create_if_absent().run().await?;
/// table.alter().add_constraint("in_store", "stock >= 0").run().await?;
/// let error = table.append(rows(vec![3, -1]).into()).run().await.unwrap_err();
/// assert!(error.to_string().ends_with("the CHECK constraint `in_store`, `stock >= 0`, does not hold for the row stock = -1"));
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SparkExpressions {
    session: SessionContext,
}

impl SparkExpressions {
    /// With the functions of this session.
    pub fn of(session: &SessionContext) -> Self {
        Self { session: session.clone() }
    }

    /// The expression over these columns.
    pub(crate) fn logical(&self, sql: &str, schema: &DFSchema) -> boathouse_base::Result<Expr> {
        let failed = |error| from_datafusion("understand the expression", error);
        let state = self.session.state();
        let parsed = self.translated(sql, |expr| translate(expr, schema.as_arrow().fields()))?;
        let planned = state.create_logical_expr_from_sql_expr(parsed, schema).map_err(failed)?;
        planned.transform_up(|expr| divide(expr, schema)).map(|transformed| transformed.data).map_err(failed)
    }
}

impl SparkExpressions {
    /// An expression without columns as a piece of a statement of the engine.
    pub(crate) fn in_statement(&self, sql: &str) -> boathouse_base::Result<ast::Expr> {
        let none = Fields::empty();
        let parsed = self.translated(sql, |expr| match expr {
            // What it means is known only once the types are.
            ast::Expr::BinaryOp { op: ast::BinaryOperator::Divide, .. } => Err("a division in the place of DEFAULT"),
            expr => translate(expr, &none),
        });
        Ok(parsed?.expr)
    }

    fn translated(
        &self,
        sql: &str,
        mut translate: impl FnMut(&mut ast::Expr) -> Result<(), &'static str>,
    ) -> boathouse_base::Result<ast::ExprWithAlias> {
        let parsed = self.session.state().sql_to_expr_with_alias(sql, &Dialect::Databricks);
        let mut parsed = parsed.map_err(|error| from_datafusion("understand the expression", error))?;
        let translated = ast::visit_expressions_mut(&mut parsed.expr, |expr| match translate(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => ControlFlow::Break(what),
        });
        match translated {
            ControlFlow::Break(what) => Err(EngineError::ForeignExpression { expression: sql.to_owned(), what }.into()),
            ControlFlow::Continue(()) => Ok(parsed),
        }
    }
}

impl fmt::Debug for SparkExpressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SparkExpressions")
    }
}

impl Expressions for SparkExpressions {
    fn compile(&self, sql: &str, schema: &SchemaRef) -> boathouse_base::Result<Arc<dyn Expression>> {
        let failed = |error| from_datafusion("understand the expression", error);
        let named = DFSchema::try_from(Arc::clone(schema)).map_err(failed)?;
        let expr = self.logical(sql, &named)?;
        let physical = physical_expr(&self.session, expr, &named).map_err(failed)?;
        Ok(Arc::new(Physical(physical)))
    }
}

/// An expression of the engine.
#[derive(Debug)]
struct Physical(Arc<dyn PhysicalExpr>);

impl Expression for Physical {
    fn evaluate(&self, batch: &RecordBatch) -> boathouse_base::Result<ArrayRef> {
        let values = self.0.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        values.map_err(|error| from_datafusion("evaluate the expression", error))
    }
}

/// Parts of a time that Spark has as functions of one argument, and their names in `date_part`.
const PARTS: [(&str, &str); 9] = [
    ("year", "year"),
    ("quarter", "quarter"),
    ("month", "month"),
    ("day", "day"),
    ("dayofmonth", "day"),
    ("dayofyear", "doy"),
    ("hour", "hour"),
    ("minute", "minute"),
    ("second", "second"),
];
/// Functions of both engines whose formats or arguments mean other things.
const FOREIGN: [&str; 4] = ["to_char", "from_unixtime", "to_unixtime", "trunc"];

/// Gives names their letter case, and functions the meaning that they have in Spark.
fn translate(expr: &mut ast::Expr, columns: &Fields) -> Result<(), &'static str> {
    match expr {
        ast::Expr::Identifier(name) => {
            spell(std::slice::from_mut(name), columns);
            Ok(())
        }
        ast::Expr::CompoundIdentifier(names) => {
            spell(names, columns);
            Ok(())
        }
        ast::Expr::CompoundFieldAccess { access_chain, .. }
            if access_chain.iter().any(|access| matches!(access, ast::AccessExpr::Subscript(_))) =>
        {
            Err("subscripts, which count from 0 there and from 1 here")
        }
        ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => Err("subqueries"),
        ast::Expr::Function(function) => translate_function(function).map(|new| {
            if let Some(new) = new {
                *expr = new;
            }
        }),
        _ => Ok(()),
    }
}

/// Spells names as the columns are spelt, and protects them from being lower-cased.
fn spell(names: &mut [ast::Ident], columns: &Fields) {
    let mut columns = Some(columns);
    for name in names {
        let Some(known) = columns else { return };
        let exact = known.iter().find(|field| *field.name() == name.value);
        let found = exact.or_else(|| known.iter().find(|field| field.name().to_lowercase() == name.value.to_lowercase()));
        let Some(field) = found else { return };
        field.name().clone_into(&mut name.value);
        name.quote_style = Some('`');
        columns = match field.data_type() {
            DataType::Struct(fields) => Some(fields),
            _ => None,
        };
    }
}

fn translate_function(function: &mut ast::Function) -> Result<Option<ast::Expr>, &'static str> {
    let name = function.name.to_string().to_lowercase();
    let arguments = match &function.args {
        ast::FunctionArguments::List(list) => list.args.iter().map(argument).collect::<Option<Vec<_>>>(),
        _ => Some(Vec::new()),
    };
    if function.over.is_some() || function.filter.is_some() {
        return Err("window functions and aggregates");
    }
    let Some(arguments) = arguments else { return Ok(None) };
    if FOREIGN.contains(&name.as_str()) {
        return Err("a function that means something else here");
    }
    if let (Some((_, part)), [of]) = (PARTS.iter().find(|(spark, _)| *spark == name), arguments.as_slice()) {
        return Ok(Some(call("date_part", vec![text(part), of.clone()])));
    }
    Ok(match (name.as_str(), arguments.as_slice()) {
        // The natural logarithm there, the decimal one here.
        ("log", [of]) => Some(call("ln", vec![of.clone()])),
        // One null makes all of it null.
        ("concat", [first, rest @ ..]) => Some(rest.iter().fold(first.clone(), |left, right| ast::Expr::BinaryOp {
            left: Box::new(left),
            op: ast::BinaryOperator::StringConcat,
            right: Box::new(right.clone()),
        })),
        ("date_format", [of, format]) => Some(call("to_char", vec![of.clone(), text(&java_format(format)?)])),
        ("to_date" | "to_timestamp", [_, _, ..]) => return Err("formats of `to_date` and `to_timestamp`, which are others here"),
        _ => None,
    })
}

fn argument(argument: &ast::FunctionArg) -> Option<ast::Expr> {
    match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    }
}

fn text(text: &str) -> ast::Expr {
    ast::Expr::Value(ast::Value::SingleQuotedString(text.to_owned()).into())
}

pub(crate) fn call(name: &str, arguments: Vec<ast::Expr>) -> ast::Expr {
    let unnamed = |expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr));
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A format of Java as one of C, as far as numbers of fixed width go.
fn java_format(format: &ast::Expr) -> Result<String, &'static str> {
    const UNKNOWN: &str = "this format of `date_format`";
    let ast::Expr::Value(value) = format else { return Err(UNKNOWN) };
    let Some(mut rest) = value.value.clone().into_string() else { return Err(UNKNOWN) };
    let mut written = String::new();
    while let Some(letter) = rest.chars().next() {
        let run = rest.chars().take_while(|c| *c == letter).count();
        let length = letter.len_utf8() * run;
        written.push_str(match (letter, run) {
            ('y', 4) => "%Y",
            ('M', 2) => "%m",
            ('d', 2) => "%d",
            ('H', 2) => "%H",
            ('m', 2) => "%M",
            ('s', 2) => "%S",
            ('%', _) => return Err(UNKNOWN),
            (c, _) if c.is_ascii_alphabetic() || c == '\'' => return Err(UNKNOWN),
            _ => &rest[..length],
        });
        rest.drain(..length);
    }
    Ok(written)
}

/// Whole numbers divide into fractions there, and whatever is divided by 0 is null.
fn divide(expr: Expr, schema: &dyn ExprSchema) -> datafusion::error::Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            let whole = left.get_type(schema)?.is_integer() && right.get_type(schema)?.is_integer();
            let (left, right) = match whole {
                true => (cast(*left, DataType::Float64), cast(*right, DataType::Float64)),
                false => (*left, *right),
            };
            let divisor = nullif(right, lit(0));
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                left: Box::new(left),
                op: Operator::Divide,
                right: Box::new(divisor),
            })))
        }
        other => Ok(Transformed::no(other)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use datafusion::arrow::array::{AsArray, Int64Array, StringArray, StructArray, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::{Field, Float64Type, Int64Type};

    use super::*;

    fn row() -> RecordBatch {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));
        let place = StructArray::from(vec![(Arc::new(Field::new("Zip", DataType::Int64, true)), inner)]);
        RecordBatch::try_from_iter([
            ("N", Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef),
            ("part no.", Arc::new(StringArray::from(vec![Some("a"), Some("b")])) as ArrayRef),
            ("place", Arc::new(place) as ArrayRef),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, 0])) as ArrayRef),
        ])
        .unwrap()
    }

    fn value(sql: &str) -> boathouse_base::Result<ArrayRef> {
        let row = row();
        SparkExpressions::default().compile(sql, &row.schema())?.evaluate(&row)
    }

    #[test]
    fn names_regard_no_case_and_stand_in_back_ticks() {
        assert_eq!(value("n + 1").unwrap().as_primitive::<Int64Type>().value(0), 8);
        assert_eq!(value("`Part No.` = \"a\"").unwrap().as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false)]);
        assert_eq!(value("PLACE.zip > 4").unwrap().as_boolean().iter().collect::<Vec<_>>(), [Some(true), None]);
        assert_eq!(value("missing > 4").unwrap_err().kind(), boathouse_base::ErrorKind::Invalid);
    }

    #[test]
    fn functions_mean_what_they_mean_in_spark() {
        let number = |sql: &str| value(&format!("CAST({sql} AS DOUBLE)")).unwrap().as_primitive::<Float64Type>().value(0);
        assert_eq!(number("n / 2"), 3.5);
        assert!(value("n / 0").unwrap().is_null(0));
        assert_eq!(number("YEAR(at)"), 2023.0);
        assert_eq!(number("month(At)"), 11.0);
        assert!((number("log(n)") - 7f64.ln()).abs() < 1e-12);
        assert!(value("concat('a', CAST(NULL AS STRING))").unwrap().is_null(0));
        assert_eq!(value("date_format(at, 'yyyy-MM-dd HH')").unwrap().as_string::<i32>().value(0), "2023-11-14 22");
        assert!(value("n <=> NULL").unwrap().as_boolean().value(1));
    }

    #[test]
    fn what_means_something_else_is_refused() {
        for sql in ["date_format(at, 'EEEE')", "to_date('1', 'd')", "trunc(at, 'MM')", "n IN (SELECT 1)", "sum(n) OVER ()"] {
            assert_eq!(value(sql).unwrap_err().kind(), boathouse_base::ErrorKind::Unsupported, "{sql}");
        }
    }
}
