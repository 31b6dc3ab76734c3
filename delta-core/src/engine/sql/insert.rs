//! The forms of INSERT that the engine does not know.
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

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast};
use datafusion::prelude::DataFrame;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use super::dml::StatementReport;
use super::run::{Run, name_again};
use super::statements::{Statement, query};
use crate::engine::assign::{names, place};
use crate::engine::error::{EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::insert::{How, write};
use crate::engine::replace::ReplaceReport;

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

/// Reads what stands behind `INSERT`; nothing when the engine knows this form.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
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
    let of_table = cursor.sees(&["TABLE"]);
    if !(evolve || of_table || !partition.is_empty() || columns == Columns::ByName) {
        return Ok(None);
    }
    Ok(Some(Statement::Insert(Box::new(Insert { table, overwrite, evolve, partition, columns, query: query(cursor)? }))))
}

/// Whether the parenthesis that comes next opens a query, and no list of columns.
fn begins_query(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ahead.takes_token(&Token::LParen) {}
    ["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|word| ahead.sees(&[word]))
}

fn list(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut columns = vec![cursor.name("a column")?];
    while cursor.takes_token(&Token::Comma) {
        columns.push(cursor.name("a column")?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(columns)
}

impl Run<'_> {
    pub(super) async fn insert(&self, insert: Insert) -> Result<StatementReport> {
        let table = self.table(&insert.table).await?;
        let snapshot = table.snapshot().await?;
        let schema = snapshot.schema();
        let column = |name: &String| {
            place(&schema, name).map(|at| &schema.fields()[at]).ok_or_else(|| EngineError::UnknownColumn {
                attempted: "insert into",
                url: table.url().to_owned(),
                column: name.clone(),
                available: names(&schema),
            })
        };
        let mut given: Vec<(&FieldRef, Expr)> = Vec::new();
        for (name, value) in &insert.partition {
            let field = column(name)?;
            if !snapshot.partition_columns().contains(field.name()) {
                let (attempted, url, column) = ("insert into", table.url().to_owned(), name.clone());
                let available = match snapshot.partition_columns() {
                    [] => "it has none".to_owned(),
                    columns => columns.join(", "),
                };
                return Err(EngineError::NotPartition { attempted, url, column, available });
            }
            if let Some(value) = value {
                let value = self.session.parse_sql_expr(value, &DFSchema::empty());
                let value = value.map_err(|error| self.failed("understand the partition", error))?;
                given.push((field, cast(value, field.data_type().clone())));
            }
        }
        let is_given = |field: &FieldRef| given.iter().any(|(known, _)| known.name() == field.name());
        // Columns that the table does not have keep their name and type.
        let wanted: Option<Vec<Option<&FieldRef>>> = match &insert.columns {
            Columns::ByName => None,
            Columns::ByPlace => Some(schema.fields().iter().filter(|field| !is_given(field)).map(Some).collect()),
            Columns::Named(names) => Some(names.iter().map(|name| column(name).map(Some)).collect::<Result<_>>()?),
        };
        let frame = self.query(&insert.query).await?;
        let wanted = wanted.unwrap_or_else(|| {
            let named = |column: &Column| place(&schema, &column.name).map(|at| &schema.fields()[at]);
            frame.schema().columns().iter().map(named).collect()
        });
        let frame = self.filled(frame, &wanted, &given)?;
        if insert.overwrite && !given.is_empty() {
            let is = |(field, value): (&FieldRef, Expr)| {
                binary_expr(Expr::Column(Column::new_unqualified(field.name())), Operator::IsNotDistinctFrom, value)
            };
            if let Some(condition) = conjunction(given.into_iter().map(is)) {
                let replace = table.replace_where(frame, condition).with_session(self.session);
                let report: ReplaceReport = replace.run().await?;
                return Ok(StatementReport::Replace(report));
            }
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

    /// The rows of a query with the names that they are to have, and the values of the partition.
    fn filled(&self, frame: DataFrame, wanted: &[Option<&FieldRef>], given: &[(&FieldRef, Expr)]) -> Result<DataFrame> {
        let columns = frame.schema().columns();
        if wanted.len() != columns.len() {
            let problem = format!("{} columns are filled, and the query has {}", wanted.len(), columns.len());
            return Err(self.failed("fit the query to the table", DataFusionError::Plan(problem)));
        }
        let fit = |(column, field): (Column, &Option<&FieldRef>)| match field {
            Some(field) => cast(Expr::Column(column), field.data_type().clone()).alias(field.name()),
            None => Expr::Column(column),
        };
        let mut filled: Vec<Expr> = columns.into_iter().zip(wanted).map(fit).collect();
        filled.extend(given.iter().map(|(field, value)| value.clone().alias(field.name())));
        frame.select(filled).map_err(|error| self.failed("fit the query to the table", error))
    }
}
