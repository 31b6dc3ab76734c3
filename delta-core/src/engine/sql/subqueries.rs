//! Subqueries in the conditions and values of DELETE and UPDATE: each is computed first, by itself, and its result takes its place.
//!
//! | in the statement | becomes |
//! | --- | --- |
//! | `(SELECT max(day) FROM u)` | its value; null without a row |
//! | `x IN (SELECT id FROM u)` | `x IN (…)` with its values |
//! | `EXISTS (SELECT …)` | true or false |
//!
//! A subquery that reads the row that is decided about, by a column from outside, cannot be computed first: it is refused.

use boathouse_frames::from_datafusion;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{Exists, InList, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::engine::error::{EngineError, Result};

/// Values that a subquery behind IN may have.
const MOST_VALUES: usize = 1_000_000;

/// The expression without subqueries.
pub(crate) async fn computed(session: &SessionContext, expr: &Expr, statement: &str) -> Result<Expr> {
    let mut found = Vec::new();
    let failed =
        |error| EngineError::Plan { statement: statement.to_owned(), source: from_datafusion("compute a subquery", error) };
    expr.apply(|expr| {
        if matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)) {
            found.push(expr.clone());
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })
    .map_err(failed)?;
    let mut results: Vec<(Expr, Expr)> = Vec::with_capacity(found.len());
    for query in found {
        let result = result(session, &query, statement).await?;
        results.push((query, result));
    }
    let replaced = expr.clone().transform_up(|expr| {
        let result = match &expr {
            // What stands before IN may hold results already.
            Expr::InSubquery(query) => results.iter().find_map(|(of, result)| match (of, result) {
                (Expr::InSubquery(of), Expr::InList(list)) if of.subquery == query.subquery => {
                    let negated = query.negated;
                    Some(Expr::InList(InList { expr: query.expr.clone(), list: list.list.clone(), negated }))
                }
                _ => None,
            }),
            query => results.iter().find(|(of, _)| of == query).map(|(_, result)| result.clone()),
        };
        Ok(result.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    replaced.map(|replaced| replaced.data).map_err(failed)
}

/// What takes the place of a subquery.
async fn result(session: &SessionContext, query: &Expr, statement: &str) -> Result<Expr> {
    match query {
        Expr::ScalarSubquery(query) => {
            let mut values = values(session, query, statement, 1, TooMany::Rows).await?;
            let null = query.subquery.schema().fields().first().map(|field| ScalarValue::try_from(field.data_type()));
            let null = null.and_then(std::result::Result::ok).unwrap_or(ScalarValue::Null);
            Ok(Expr::Literal(values.pop().unwrap_or(null), None))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let values = values(session, subquery, statement, MOST_VALUES, TooMany::Values).await?;
            let list = values.into_iter().map(|value| Expr::Literal(value, None)).collect();
            Ok(Expr::InList(InList { expr: expr.clone(), list, negated: *negated }))
        }
        Expr::Exists(Exists { subquery, negated }) => {
            let frame = frame(session, subquery, statement)?;
            let some = frame.limit(0, Some(1)).map_err(|error| failed(statement, error))?;
            let count = some.count().await.map_err(|error| failed(statement, error))?;
            Ok(lit((count > 0) != *negated))
        }
        other => Ok(other.clone()),
    }
}

/// What there may be too many of.
#[derive(Clone, Copy)]
enum TooMany {
    Rows,
    Values,
}

/// The values of the only column of a subquery; distinct ones behind IN.
async fn values(
    session: &SessionContext,
    query: &Subquery,
    statement: &str,
    most: usize,
    too_many: TooMany,
) -> Result<Vec<ScalarValue>> {
    let frame = frame(session, query, statement)?;
    let frame = match too_many {
        TooMany::Rows => Ok(frame),
        TooMany::Values => frame.distinct(),
    };
    let frame = frame.and_then(|frame| frame.limit(0, Some(most + 1))).map_err(|error| failed(statement, error))?;
    let mut values = Vec::new();
    for batch in frame.collect().await.map_err(|error| failed(statement, error))? {
        for row in 0..batch.num_rows() {
            let value = ScalarValue::try_from_array(batch.column(0), row);
            values.push(value.map_err(|error| failed(statement, error))?);
        }
    }
    if values.len() > most {
        let (what, instead) = match too_many {
            TooMany::Rows => ("a subquery of more than one row as a value", "let it give one, with an aggregate or LIMIT 1"),
            TooMany::Values => ("more than a million values behind IN", "write a MERGE with the subquery as source"),
        };
        return Err(EngineError::Unsupported { statement: statement.to_owned(), what, instead });
    }
    Ok(values)
}

/// A subquery that can be computed by itself.
fn frame(session: &SessionContext, query: &Subquery, statement: &str) -> Result<DataFrame> {
    if !query.outer_ref_columns.is_empty() {
        return Err(EngineError::Unsupported {
            statement: statement.to_owned(),
            what: "a subquery that reads columns from outside",
            instead: "write a MERGE with the subquery as source",
        });
    }
    let plan: &LogicalPlan = &query.subquery;
    Ok(DataFrame::new(session.state(), plan.clone()))
}

fn failed(statement: &str, error: datafusion::error::DataFusionError) -> EngineError {
    EngineError::Plan { statement: statement.to_owned(), source: from_datafusion("compute a subquery", error) }
}
