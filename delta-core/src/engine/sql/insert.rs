//! INSERT, in all its forms. Values that would be others in their columns are refused.
//!
//! ```text
//! INSERT [WITH SCHEMA EVOLUTION] { INTO | OVERWRITE } [TABLE] t
//!   [PARTITION (column [= value], …)]  [(column, …) | BY NAME]  query
//! INSERT INTO t REPLACE WHERE condition query
//! INSERT INTO t REPLACE USING (column, …) query
//! ```
//!
//! | OVERWRITE | leave |
//! | --- | --- |
//! | without PARTITION, or with columns that have no value | all rows |
//! | `PARTITION (day = \'2026-01-31\')` | the rows of that day |
//!
//! Partitions of which there are new rows are replaced by `REPLACE USING (the partition columns)`.

use std::collections::BTreeSet;

use boathouse_delta_table::{DeltaTable, Snapshot};
use datafusion::arrow::datatypes::{FieldRef, Fields};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Operator, binary_expr, cast};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use super::defaults::Defaults;
use super::dml::StatementReport;
use super::run::{Run, name_again, provider_named};
use super::statements::{Statement, query};
use super::{file_metadata, travel};
use crate::engine::assign::{names, place};
use crate::engine::error::{Attempt, EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::fit::fit;
use crate::engine::insert::{How, write};
use crate::engine::provider::DeltaTableProvider;
use crate::engine::replace::ReplaceReport;
use crate::engine::spelling;

/// New rows.
#[derive(Debug)]
pub(crate) struct Insert {
    table: TableName,
    overwrite: bool,
    evolve: bool,
    /// Partition columns, with their value where one is given.
    partition: Vec<(String, Option<String>)>,
    columns: Columns,
    query: String,
}

/// Which columns the query fills.
#[derive(Debug, PartialEq, Eq)]
enum Columns {
    /// All, in their order.
    ByPlace,
    /// These.
    Named(Vec<String>),
    /// Those that it has.
    ByName,
}

/// Reads what stands behind `INSERT`; nothing when it is for the engine: a table that is none of Delta, or is not there.
pub(crate) async fn parse(session: &SessionContext, cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    let evolve = cursor.takes(&["WITH", "SCHEMA", "EVOLUTION"]);
    let overwrite = match () {
        () if cursor.takes(&["INTO"]) => false,
        () if cursor.takes(&["OVERWRITE"]) => {
            cursor.takes(&["INTO"]);
            true
        }
        () if evolve => return Err(cursor.wanted("INTO or OVERWRITE")),
        () => return Ok(None),
    };
    if overwrite && cursor.sees(&["DIRECTORY"]) || cursor.sees(&["LOCAL", "DIRECTORY"]) {
        let (what, instead) = ("INSERT OVERWRITE DIRECTORY", "write COPY (…) TO");
        return Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
    }
    cursor.takes(&["TABLE"]);
    let Ok(table) = cursor.table() else { return Ok(None) };
    if !is_delta(session, &table).await {
        return Ok(None);
    }
    if cursor.sees(&["REPLACE", "ON"]) {
        let (what, instead) = ("INSERT INTO … REPLACE ON", "write REPLACE USING (columns), or a MERGE");
        return Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
    }
    if cursor.takes(&["REPLACE", "USING"]) {
        cursor.expect_token(&Token::LParen)?;
        let columns = list(cursor)?;
        return Ok(Some(Statement::ReplaceUsing { table, columns, query: query(cursor)? }));
    }
    if cursor.takes(&["REPLACE", "WHERE"]) {
        let condition = cursor.text_until(&["SELECT", "VALUES", "WITH", "TABLE", "FROM"])?.to_owned();
        return Ok(Some(Statement::ReplaceWhere { table, condition, query: query(cursor)? }));
    }
    let mut partition = Vec::new();
    if cursor.takes(&["PARTITION"]) {
        cursor.expect_token(&Token::LParen)?;
        loop {
            let column = cursor.spelled("a partition column")?;
            let value = if cursor.takes_token(&Token::Eq) { Some(cursor.text_until(&[])?.to_owned()) } else { None };
            partition.push((column, value));
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
        if cursor.sees(&["IF", "NOT", "EXISTS"]) {
            let (what, instead) = ("IF NOT EXISTS of a partition", "ask for its rows first");
            return Err(EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead });
        }
    }
    let columns = if cursor.takes(&["BY", "NAME"]) {
        Columns::ByName
    } else if cursor.token() == Some(&Token::LParen) && !begins_query(cursor) {
        cursor.skip();
        Columns::Named(list(cursor)?)
    } else {
        Columns::ByPlace
    };
    Ok(Some(Statement::Insert(Box::new(Insert { table, overwrite, evolve, partition, columns, query: query(cursor)? }))))
}

async fn is_delta(session: &SessionContext, name: &TableName) -> bool {
    let provider = provider_named(session, name, "").await;
    name.path().is_some()
        || provider.is_ok_and(|known| <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(known.as_ref()).is_some())
}

/// Whether the parenthesis that comes next opens a query, and no list of columns.
fn begins_query(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ahead.takes_token(&Token::LParen) {}
    ["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|word| ahead.sees(&[word]))
}

fn list(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut columns = vec![cursor.spelled("a column")?];
    while cursor.takes_token(&Token::Comma) {
        columns.push(cursor.spelled("a column")?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(columns)
}

impl Run<'_> {
    pub(super) async fn insert(&self, insert: Insert) -> Result<StatementReport> {
        let (table, snapshot) = self.target(&insert.table).await?;
        let (schema, attempt) = (snapshot.schema(), Attempt::new("insert into", table.url()));
        let column = |name: &String| {
            place(&schema, name).map(|at| &schema.fields()[at]).ok_or_else(|| EngineError::UnknownColumn {
                attempted: attempt.attempted,
                url: table.url().to_owned(),
                column: name.clone(),
                available: names(&schema),
            })
        };
        let mut given: Vec<(&FieldRef, Expr)> = Vec::new();
        for (name, value) in &insert.partition {
            let field = column(name)?;
            if !snapshot.partition_columns().contains(field.name()) {
                let (attempted, url, column) = (attempt.attempted, table.url().to_owned(), name.clone());
                let available = match snapshot.partition_columns() {
                    [] => "it has none".to_owned(),
                    columns => columns.join(", "),
                };
                return Err(EngineError::NotPartition { attempted, url, column, available });
            }
            if let Some(value) = value {
                let value = self.session.parse_sql_expr(value, &DFSchema::empty());
                given.push((field, value.map_err(|error| self.failed("understand the partition", error))?));
            }
        }
        let is_given = |field: &FieldRef| given.iter().any(|(known, _)| known.name() == field.name());
        // Columns that the table does not have keep their name and type.
        let wanted: Option<Vec<Option<&FieldRef>>> = match &insert.columns {
            Columns::ByName => None,
            Columns::ByPlace => Some(schema.fields().iter().filter(|field| !is_given(field)).map(Some).collect()),
            Columns::Named(names) => Some(names.iter().map(|name| column(name).map(Some)).collect::<Result<_>>()?),
        };
        let mut seen = BTreeSet::new();
        let filled = wanted.iter().flatten().flatten().copied().chain(given.iter().map(|(field, _)| *field));
        for field in filled {
            if !seen.insert(field.name()) {
                let (attempted, url, column) = (attempt.attempted, table.url().to_owned(), field.name().clone());
                return Err(EngineError::SetTwice { attempted, url, column });
            }
        }
        let by_place: Option<Vec<&FieldRef>> = wanted.as_ref().map(|wanted| wanted.iter().flatten().copied().collect());
        let frame = self.new_values(&insert.query, &snapshot, by_place.as_deref(), &attempt).await?;
        let wanted = wanted.unwrap_or_else(|| by_name(&frame, schema.fields()));
        let condition = given.iter().map(|(field, value)| {
            let value = cast(value.clone(), field.data_type().clone());
            binary_expr(Expr::Column(Column::new_unqualified(field.name())), Operator::IsNotDistinctFrom, value)
        });
        let condition = conjunction(condition).filter(|_| insert.overwrite);
        let frame = self.filled(frame, &wanted, &given, insert.evolve, &attempt)?;
        if let Some(condition) = condition {
            let replace = table.replace_where(frame, condition).with_session(self.session);
            let report: ReplaceReport = replace.run().await?;
            return Ok(StatementReport::Replace(report));
        }
        let how = match (insert.overwrite, insert.evolve) {
            (false, false) => How::Append,
            (false, true) => How::AppendAndMerge,
            (true, false) => How::Overwrite,
            (true, true) => How::OverwriteAndMerge,
        };
        let rows = write(&table, self.stream(frame).await?, how, &self.session.runtime_env()).await?;
        if insert.evolve {
            name_again(self.session, &table, &insert.table, self.text).await?;
        }
        Ok(StatementReport::Insert { rows })
    }

    pub(super) async fn replace_where(&self, name: &TableName, condition: &str, query: &str) -> Result<StatementReport> {
        let (table, rows) = self.new_rows(name, query).await?;
        let replace = table.replace_where(rows, condition).with_session(self.session);
        Ok(StatementReport::Replace(replace.run().await?))
    }

    pub(super) async fn replace_using(&self, name: &TableName, columns: Vec<String>, query: &str) -> Result<StatementReport> {
        let (table, rows) = self.new_rows(name, query).await?;
        let replace = table.replace_using(rows, columns).with_session(self.session);
        Ok(StatementReport::Replace(replace.run().await?))
    }

    /// A table, and the rows of a query that fit it: by place, or when there is another number of columns, by name.
    async fn new_rows(&self, name: &TableName, query: &str) -> Result<(DeltaTable, DataFrame)> {
        let (table, snapshot) = self.target(name).await?;
        let (schema, attempt) = (snapshot.schema(), Attempt::new("replace rows of", table.url()));
        let all: Vec<&FieldRef> = schema.fields().iter().collect();
        let frame = self.new_values(query, &snapshot, Some(&all), &attempt).await?;
        let wanted = match frame.schema().fields().len() == all.len() {
            true => all.into_iter().map(Some).collect(),
            false => by_name(&frame, schema.fields()),
        };
        let frame = self.filled(frame, &wanted, &[], false, &attempt)?;
        Ok((table, frame))
    }

    /// The table that takes rows.
    async fn target(&self, name: &TableName) -> Result<(DeltaTable, Snapshot)> {
        let table = self.table(name).await?;
        if name.path().is_none() {
            let provider = provider_named(self.session, name, self.text).await?;
            let pinned = <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()).and_then(|t| t.version());
            if let Some(version) = pinned {
                return Err(EngineError::Pinned { statement: self.text.to_owned(), table: name.to_string(), version });
            }
        }
        let snapshot = table.snapshot().await?;
        Ok((table, snapshot))
    }

    /// The rows of a query that fills these columns, if it does so by their place.
    async fn new_values(
        &self,
        query: &str,
        snapshot: &Snapshot,
        columns: Option<&[&FieldRef]>,
        attempt: &Attempt,
    ) -> Result<DataFrame> {
        let failed = |error| self.failed("plan the query", error);
        let (query, _guards) = travel::resolve(self.session, self.lake, query).await?;
        let state = self.session.state();
        let dialect = state.config().options().sql_parser.dialect;
        let mut parsed = state.sql_to_statement(&query, &dialect).map_err(failed)?;
        if let (parser::Statement::Statement(statement), Some(columns)) = (&mut parsed, columns)
            && let ast::Statement::Query(query) = statement.as_mut()
        {
            let defaults = Defaults::of(snapshot, self.session, attempt)?;
            by_place(&mut query.body, columns, &defaults)?;
            if let (ast::SetExpr::Values(values), None, None) = (query.body.as_ref(), &query.order_by, &query.limit_clause) {
                return self.listed(values, columns, attempt);
            }
        }
        let _exposed = file_metadata::expose(self.session, self.lake, &mut parsed, self.text).await?;
        let plan = spelling::plan(self.session, parsed).await.map_err(failed)?;
        self.session.execute_logical_plan(plan).await.map_err(failed)
    }

    /// The rows of VALUES, each value by itself: what stands in one column of several rows may be of several types.
    fn listed(&self, values: &ast::Values, columns: &[&FieldRef], attempt: &Attempt) -> Result<DataFrame> {
        let failed = |error| self.failed("plan the values", error);
        let (state, none) = (self.session.state(), DFSchema::empty());
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != columns.len() {
                return Err(self.ill_fitting(columns.len(), row.content.len()));
            }
            let value = |(value, column): (&ast::Expr, &&FieldRef)| {
                let value = ast::ExprWithAlias { expr: value.clone(), alias: None };
                Ok(fit(state.create_logical_expr_from_sql_expr(value, &none)?, column, attempt).unalias())
            };
            let row = row.content.iter().zip(columns).map(value);
            rows.push(row.collect::<Result<Vec<Expr>, DataFusionError>>().map_err(failed)?);
        }
        let plan = LogicalPlanBuilder::values(rows).and_then(LogicalPlanBuilder::build).map_err(failed)?;
        Ok(DataFrame::new(state, plan))
    }

    fn ill_fitting(&self, wanted: usize, found: usize) -> EngineError {
        let problem = format!("{wanted} columns are filled, and the query has {found}");
        self.failed("fit the query to the table", DataFusionError::Plan(problem))
    }

    /// The rows of a query with the names that they are to have, and the values of the partition.
    fn filled(
        &self,
        frame: DataFrame,
        wanted: &[Option<&FieldRef>],
        given: &[(&FieldRef, Expr)],
        evolve: bool,
        attempt: &Attempt,
    ) -> Result<DataFrame> {
        let columns = frame.schema().columns();
        if wanted.len() != columns.len() {
            return Err(self.ill_fitting(wanted.len(), columns.len()));
        }
        let fitted = |(column, field): (Column, &Option<&FieldRef>)| match field {
            // What is nested may bring new fields along.
            Some(field) if evolve && field.data_type().is_nested() => Expr::Column(column).alias(field.name()),
            Some(field) => fit(Expr::Column(column), field, attempt),
            None => Expr::Column(column),
        };
        let mut filled: Vec<Expr> = columns.into_iter().zip(wanted).map(fitted).collect();
        filled.extend(given.iter().map(|(field, value)| fit(value.clone(), field, attempt)));
        frame.select(filled).map_err(|error| self.failed("fit the query to the table", error))
    }
}

/// The columns of the table that a query fills by name.
fn by_name<'a>(frame: &DataFrame, fields: &'a Fields) -> Vec<Option<&'a FieldRef>> {
    let schema = std::sync::Arc::new(datafusion::arrow::datatypes::Schema::new(fields.clone()));
    let named = |column: &Column| place(&schema, &column.name).map(|at| &fields[at]);
    frame.schema().columns().iter().map(named).collect()
}

/// A query whose columns go by their place: their names need not differ, and DEFAULT has a meaning.
fn by_place(body: &mut ast::SetExpr, columns: &[&FieldRef], defaults: &Defaults) -> Result<()> {
    match body {
        ast::SetExpr::Values(values) => {
            for row in &mut values.rows {
                for (value, column) in row.content.iter_mut().zip(columns) {
                    defaults.fill(value, column.name())?;
                }
            }
        }
        ast::SetExpr::Select(select) => name_apart(&mut select.projection),
        ast::SetExpr::Query(query) => by_place(&mut query.body, columns, defaults)?,
        ast::SetExpr::SetOperation { left, right, .. } => {
            by_place(left, columns, defaults)?;
            by_place(right, columns, defaults)?;
        }
        _ => {}
    }
    Ok(())
}

/// Gives names to columns of a SELECT that may have one that is there already.
fn name_apart(items: &mut [ast::SelectItem]) {
    let is_star = |item: &ast::SelectItem| matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..));
    let has_star = items.iter().any(is_star);
    let mut seen = BTreeSet::new();
    for (nth, item) in items.iter_mut().enumerate() {
        let (expr, name) = match item {
            ast::SelectItem::UnnamedExpr(expr) => (expr, None),
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.to_lowercase())),
            _ => continue,
        };
        let name = name.unwrap_or_else(|| match &*expr {
            ast::Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.to_lowercase()),
            expr => expr.to_string().to_lowercase(),
        });
        if !seen.insert(name) || has_star {
            let alias = ast::Ident::with_quote('"', format!("value {}", nth + 1));
            *item = ast::SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}
