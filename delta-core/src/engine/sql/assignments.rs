//! What stands in `SET` and `VALUES` of UPDATE and MERGE, as the engine plans it.
//!
//! | in the statement | becomes |
//! | --- | --- |
//! | `SET A = 1` where the column is `a` | `SET "a" = 1` |
//! | `SET a = DEFAULT` | `SET a = (` the default of `a` `)` |
//! | `SET s.x = 1` | `SET s = named_struct('x', 1, 'y', get_field(s, 'y'))` |
//! | `DELETE FROM t AS x WHERE x.a = 1` | `UPDATE t AS x SET a = x.a WHERE x.a = 1`, of which only the condition is used |

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

use super::cursor::TableName;
use super::defaults::Defaults;
use super::lake::Lake;
use super::run::table_named;
use crate::engine::assign::{names, place};
use crate::engine::error::{Attempt, EngineError, Result};

/// What is known of a statement that was prepared.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// The columns of an UPDATE whose new value is a cast in the statement itself.
    pub(crate) casts: BTreeSet<String>,
    /// An UPDATE that stands for a DELETE.
    pub(crate) deletes: bool,
}

/// Makes an UPDATE, MERGE or DELETE one that the engine plans.
///
/// **Errors**: `Invalid` names a column that is not there, or is set twice; `Unsupported` names what is in no statement of Delta.
pub(crate) async fn prepare(session: &SessionContext, lake: &Lake, statement: &mut Statement, text: &str) -> Result<Prepared> {
    let unsupported = |what, instead| Err(EngineError::Unsupported { statement: text.to_owned(), what, instead });
    let mut prepared = Prepared::default();
    let Statement::Statement(statement) = statement else { return Ok(prepared) };
    if let ast::Statement::Delete(delete) = statement.as_ref() {
        if delete.limit.is_some() || !delete.order_by.is_empty() {
            return unsupported("LIMIT or ORDER BY in DELETE", "choose the rows with a condition");
        }
        if delete.using.is_some() || !delete.tables.is_empty() {
            return unsupported("a second table in DELETE", "write a MERGE, or a subquery in the condition");
        }
        let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
        let [table] = tables.as_slice() else {
            return unsupported("a second table in DELETE", "write a MERGE, or a subquery in the condition");
        };
        let Some(target) = Target::of(session, lake, &table.relation, text).await? else { return Ok(prepared) };
        let (Some(alias), Some(first)) = (&target.alias, target.schema.fields().first()) else { return Ok(prepared) };
        let name = quoted(first.name());
        let value = ast::Expr::CompoundIdentifier(vec![alias.clone(), name.clone()]);
        let target = ast::AssignmentTarget::ColumnName(name.into());
        **statement = ast::Statement::Update(ast::Update {
            update_token: ast::helpers::attached_token::AttachedToken::empty(),
            optimizer_hints: Vec::new(),
            table: table.clone(),
            assignments: vec![ast::Assignment { target, value }],
            from: None,
            selection: delete.selection.clone(),
            returning: None,
            output: None,
            or: None,
            order_by: Vec::new(),
            limit: None,
        });
        prepared.deletes = true;
        return Ok(prepared);
    }
    match statement.as_mut() {
        ast::Statement::Update(update) => {
            if update.limit.is_some() || !update.order_by.is_empty() {
                return unsupported("LIMIT or ORDER BY in UPDATE", "choose the rows with a condition");
            }
            let Some(target) = Target::of(session, lake, &update.table.relation, text).await? else { return Ok(prepared) };
            let target = target.attempting("update");
            target.assign(session, &mut update.assignments)?;
            prepared.casts = update.assignments.iter().filter(|set| is_cast(&set.value)).filter_map(column_of).collect();
        }
        ast::Statement::Merge(merge) => {
            let Some(target) = Target::of(session, lake, &merge.table, text).await? else { return Ok(prepared) };
            let target = target.attempting("merge into");
            for clause in &mut merge.clauses {
                match &mut clause.action {
                    ast::MergeAction::Update(update) => target.assign(session, &mut update.assignments)?,
                    ast::MergeAction::Insert(insert) => target.insert(session, insert)?,
                    ast::MergeAction::Delete { .. } => {}
                }
            }
        }
        _ => {}
    }
    Ok(prepared)
}

fn column_of(set: &ast::Assignment) -> Option<String> {
    match &set.target {
        ast::AssignmentTarget::ColumnName(name) => name.0.last().and_then(|part| part.as_ident()).map(|i| i.value.clone()),
        ast::AssignmentTarget::Tuple(_) => None,
    }
}

fn is_cast(value: &ast::Expr) -> bool {
    match value {
        ast::Expr::Nested(inner) => is_cast(inner),
        value => matches!(value, ast::Expr::Cast { .. }),
    }
}

fn quoted(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// The table that a statement changes.
struct Target {
    schema: SchemaRef,
    snapshot: boathouse_delta_table::Snapshot,
    alias: Option<ast::Ident>,
    /// Its name in the statement.
    name: Vec<ast::Ident>,
    attempt: Attempt,
}

impl Target {
    /// Nothing when it is no Delta table: the engine says what is wrong.
    async fn of(session: &SessionContext, lake: &Lake, table: &ast::TableFactor, text: &str) -> Result<Option<Self>> {
        let ast::TableFactor::Table { name, alias, .. } = table else { return Ok(None) };
        let Some(name) = name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let part = |part: &ast::Ident| if part.quote_style.is_some() { part.value.clone() } else { part.value.to_lowercase() };
        let parts = TableName { parts: name.iter().map(part).collect(), bytes: 0..0 };
        let Ok(table) = table_named(session, lake, &parts, text).await else { return Ok(None) };
        let snapshot = table.snapshot().await?;
        let attempt = Attempt::new("change", snapshot.url());
        let alias = alias.as_ref().map(|alias| alias.name.clone());
        Ok(Some(Self { schema: snapshot.schema(), snapshot, alias, name, attempt }))
    }

    fn attempting(self, attempted: &'static str) -> Self {
        Self { attempt: Attempt::new(attempted, &self.attempt.url), ..self }
    }

    fn unknown(&self, column: String, fields: &Fields) -> EngineError {
        let available = names(&SchemaRef::new(datafusion::arrow::datatypes::Schema::new(fields.clone())));
        EngineError::UnknownColumn { attempted: self.attempt.attempted, url: self.attempt.url.clone(), column, available }
    }

    /// A column, or a field within one, by its names from the outside in; a qualifier before them is left out.
    fn path(&self, name: &ast::ObjectName) -> Result<Vec<String>> {
        let parts: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let same = |a: &ast::Ident, b: &ast::Ident| a.value.eq_ignore_ascii_case(&b.value);
        let qualifiers = [self.alias.as_slice(), self.name.as_slice(), self.name.get(self.name.len() - 1..).unwrap_or(&[])];
        let is_qualified = |qualifier: &&[ast::Ident]| {
            !qualifier.is_empty() && parts.len() > qualifier.len() && qualifier.iter().zip(&parts).all(|(a, b)| same(a, b))
        };
        let skipped = qualifiers.iter().find(|qualifier| is_qualified(qualifier)).map_or(0, |qualifier| qualifier.len());
        let mut fields = self.schema.fields().clone();
        let mut path: Vec<String> = Vec::new();
        for part in parts.into_iter().skip(skipped) {
            let known = SchemaRef::new(datafusion::arrow::datatypes::Schema::new(fields.clone()));
            let shown = path.iter().chain([&part.value]).cloned().collect::<Vec<_>>().join(".");
            let Some(at) = place(&known, &part.value) else { return Err(self.unknown(shown, &fields)) };
            path.push(fields[at].name().clone());
            fields = match fields[at].data_type() {
                DataType::Struct(inner) => inner.clone(),
                _ => Fields::empty(),
            };
        }
        Ok(path)
    }

    /// One value for each column that is set.
    fn assign(&self, session: &SessionContext, assignments: &mut Vec<ast::Assignment>) -> Result<()> {
        let defaults = Defaults::of(&self.snapshot, session, &self.attempt)?;
        let mut sets: Vec<(Vec<String>, ast::Expr)> = Vec::with_capacity(assignments.len());
        for set in assignments.iter() {
            // The engine names tuples.
            let ast::AssignmentTarget::ColumnName(name) = &set.target else { return Ok(()) };
            let (path, mut value) = (self.path(name)?, set.value.clone());
            if let [column] = path.as_slice() {
                defaults.fill(&mut value, column)?;
            }
            if sets.iter().any(|(known, _)| known.starts_with(&path) || path.starts_with(known)) {
                let (attempted, url, column) = (self.attempt.attempted, self.attempt.url.clone(), path.join("."));
                return Err(EngineError::SetTwice { attempted, url, column });
            }
            sets.push((path, value));
        }
        let mut done: Vec<ast::Assignment> = Vec::with_capacity(sets.len());
        for field in self.schema.fields() {
            let within: Vec<(&[String], &ast::Expr)> = sets
                .iter()
                .filter_map(|(path, value)| Some((path.split_first().filter(|(first, _)| *first == field.name())?.1, value)))
                .collect();
            if within.is_empty() {
                continue;
            }
            let qualifier = self.alias.as_slice();
            let qualifier = if qualifier.is_empty() { self.name.as_slice() } else { qualifier };
            let here = qualifier.iter().cloned().chain([quoted(field.name())]).collect();
            let value = rebuilt(ast::Expr::CompoundIdentifier(here), field, &within);
            done.push(ast::Assignment { target: ast::AssignmentTarget::ColumnName(quoted(field.name()).into()), value });
        }
        *assignments = done;
        Ok(())
    }

    fn insert(&self, session: &SessionContext, insert: &mut ast::MergeInsertExpr) -> Result<()> {
        let defaults = Defaults::of(&self.snapshot, session, &self.attempt)?;
        let mut columns: Vec<String> = Vec::new();
        for column in &mut insert.columns {
            let path = self.path(column)?;
            let [name] = path.as_slice() else { return Err(self.unknown(path.join("."), self.schema.fields())) };
            *column = quoted(name).into();
            columns.push(name.clone());
        }
        if columns.is_empty() {
            columns = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        }
        if let ast::MergeInsertKind::Values(values) = &mut insert.kind {
            for row in &mut values.rows {
                for (value, column) in row.content.iter_mut().zip(&columns) {
                    defaults.fill(value, column)?;
                }
            }
        }
        Ok(())
    }
}

/// A value with some of its fields set; the others are taken from what it was. A struct that was null has them null.
fn rebuilt(was: ast::Expr, field: &Field, sets: &[(&[String], &ast::Expr)]) -> ast::Expr {
    if let Some((_, value)) = sets.iter().find(|(path, _)| path.is_empty()) {
        return (*value).clone();
    }
    let DataType::Struct(fields) = field.data_type() else { return was };
    if sets.is_empty() {
        return was;
    }
    let text = |name: &str| ast::Expr::Value(ast::Value::SingleQuotedString(name.to_owned()).into());
    let mut arguments = Vec::with_capacity(fields.len() * 2);
    for inner in fields {
        let within: Vec<(&[String], &ast::Expr)> = sets
            .iter()
            .filter_map(|(path, value)| Some((path.split_first().filter(|(first, _)| *first == inner.name())?.1, *value)))
            .collect();
        let was = crate::engine::expressions::call("get_field", vec![was.clone(), text(inner.name())]);
        arguments.extend([text(inner.name()), rebuilt(was, inner, &within)]);
    }
    crate::engine::expressions::call("named_struct", arguments)
}
