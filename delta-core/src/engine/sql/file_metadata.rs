//! `_metadata` of Delta tables: a column that is there for those who name it.
//!
//! ```text
//!   SELECT *, _metadata.file_name FROM t   ─▶   SELECT * EXCLUDE (_metadata), _metadata.file_name FROM (t with it) AS t
//! ```
//! Each SELECT is looked at by itself: its tables get the column when it names it, and its stars leave it out. Tables with a column of that
//! name keep theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    self, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderBy, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut, Visitor,
    VisitorMut, WildcardAdditionalOptions,
};

use super::lake::{Lake, SCHEMA, Travelled};
use crate::engine::error::{EngineError, Result};
use crate::engine::provider::DeltaTableProvider;
use crate::engine::scan::FILE_METADATA;

/// Gives the tables of a statement the column where it is named. What the statement names then lasts as long as the guards.
///
/// **Errors**: `Unsupported` beside a natural join, and for `*` over several such tables whose columns are joined by USING.
pub(crate) async fn expose(
    session: &SessionContext,
    lake: &Lake,
    parsed: &mut Statement,
    statement: &str,
) -> Result<Vec<Travelled>> {
    let Statement::Statement(parsed) = innermost(parsed) else { return Ok(Vec::new()) };
    let mut asked = Asked::default();
    let _ = Visit::visit(parsed.as_ref(), &mut asked);
    let mut exposed = Exposer { names: BTreeMap::new(), problem: None };
    let mut guards = Vec::new();
    let lowers = session.state().config_options().sql_parser.enable_ident_normalization;
    for name in asked.tables {
        let is_common = name.0.len() == 1 && asked.common.contains(&name.to_string().to_lowercase());
        let Ok(reference) = object_name_to_table_reference(name.clone(), lowers) else { continue };
        if is_common || exposed.names.contains_key(&name.to_string()) {
            continue;
        }
        // What is not there is said when the statement is planned.
        let Ok(provider) = session.table_provider(reference).await else { continue };
        let Some(table) = <dyn TableProvider>::downcast_ref::<DeltaTableProvider>(provider.as_ref()) else { continue };
        let table = table.clone().with_file_metadata();
        if !table.has_file_metadata() {
            continue;
        }
        let guard = lake.travel(Arc::new(table));
        exposed.names.insert(name.to_string(), guard.name.clone());
        guards.push(guard);
    }
    if !guards.is_empty() {
        let _ = VisitMut::visit(parsed.as_mut(), &mut exposed);
    }
    match exposed.problem {
        Some((what, instead)) => Err(EngineError::Unsupported { statement: statement.to_owned(), what, instead }),
        None => Ok(guards),
    }
}

/// The statement behind EXPLAIN.
fn innermost(statement: &mut Statement) -> &mut Statement {
    match statement {
        Statement::Explain(explain) => innermost(&mut explain.statement),
        other => other,
    }
}

/// The tables of those SELECTs that name the column, and the queries with names.
#[derive(Default)]
struct Asked {
    tables: Vec<ObjectName>,
    common: BTreeSet<String>,
}

impl Visitor for Asked {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let common = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.extend(common.map(|common| common.alias.name.value.to_lowercase()));
        let mut all = Vec::new();
        selects(&query.body, &mut all);
        for select in all {
            let mentions = Mentions::of(select, query.order_by.as_ref());
            if mentions.any() {
                select.from.iter().for_each(|table| tables(table, &mut self.tables));
            }
        }
        ControlFlow::Continue(())
    }
}

fn selects<'a>(body: &'a SetExpr, all: &mut Vec<&'a Select>) {
    match body {
        SetExpr::Select(select) => all.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left, all);
            selects(right, all);
        }
        _ => {}
    }
}

fn tables(from: &TableWithJoins, all: &mut Vec<ObjectName>) {
    for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, args: None, .. } => all.push(name.clone()),
            TableFactor::NestedJoin { table_with_joins, .. } => tables(table_with_joins, all),
            _ => {}
        }
    }
}

/// Where a SELECT names the column: by itself, or behind these tables. Queries in its FROM are other ones.
#[derive(Default)]
struct Mentions {
    unqualified: bool,
    qualifiers: BTreeSet<String>,
    derived: usize,
}

impl Mentions {
    fn of(select: &Select, order: Option<&OrderBy>) -> Self {
        let mut mentions = Self::default();
        let _ = Visit::visit(select, &mut mentions);
        if let Some(order) = order {
            let _ = Visit::visit(order, &mut mentions);
        }
        mentions
    }

    fn any(&self) -> bool {
        self.unqualified || !self.qualifiers.is_empty()
    }

    fn path(&mut self, path: &[Ident]) {
        let is_column = |part: &Ident| part.value.eq_ignore_ascii_case(FILE_METADATA);
        match path.iter().position(is_column) {
            Some(0) => self.unqualified = true,
            Some(at) => {
                self.qualifiers.insert(path[at - 1].value.to_lowercase());
            }
            None => {}
        }
    }
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        self.derived += usize::from(matches!(table, TableFactor::Derived { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        self.derived -= usize::from(matches!(table, TableFactor::Derived { .. }));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.derived == 0 {
            match expr {
                Expr::Identifier(name) => self.path(std::slice::from_ref(name)),
                Expr::CompoundIdentifier(path) => self.path(path),
                Expr::CompoundFieldAccess { root, access_chain } => {
                    if let Expr::Identifier(root) = root.as_ref() {
                        let name = |access: &ast::AccessExpr| match access {
                            ast::AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
                            _ => None,
                        };
                        let path: Vec<Ident> = std::iter::once(root.clone()).chain(access_chain.iter().map_while(name)).collect();
                        self.path(&path);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// What is not there, and what would help.
type Problem = (&'static str, &'static str);

/// Writes the tables that have the column in the place of those without it.
struct Exposer {
    /// What tables are called with the column, by their name in the statement.
    names: BTreeMap<String, String>,
    problem: Option<Problem>,
}

impl VisitorMut for Exposer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Query { body, order_by, .. } = query;
        self.body(body, order_by.as_ref());
        if self.problem.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Exposer {
    fn body(&mut self, body: &mut SetExpr, order: Option<&OrderBy>) {
        match body {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, order);
                self.body(right, order);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &mut Select, order: Option<&OrderBy>) {
        let mentions = Mentions::of(select, order);
        let mut given = BTreeSet::new();
        if mentions.any() {
            select.from.iter_mut().for_each(|table| self.from(table, &mentions, &mut given));
        }
        if given.is_empty() {
            return;
        }
        if select.from.iter().any(is_natural) {
            self.problem = Some(("`_metadata` beside a natural join", "write the join with ON or USING"));
            return;
        }
        if given.len() > 1
            && let Err(problem) = spread(select)
        {
            self.problem = Some(problem);
            return;
        }
        for item in &mut select.projection {
            match item {
                SelectItem::Wildcard(options) => leave_out(options),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                    if name
                        .0
                        .last()
                        .and_then(ObjectNamePart::as_ident)
                        .is_some_and(|of| given.contains(&of.value.to_lowercase())) =>
                {
                    leave_out(options);
                }
                _ => {}
            }
        }
    }

    /// Gives the column to tables that are asked for it; tells what they are called.
    fn from(&self, from: &mut TableWithJoins, mentions: &Mentions, given: &mut BTreeSet<String>) {
        let joined = from.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut from.relation).chain(joined) {
            match factor {
                TableFactor::Table { name, alias, args: None, .. } => {
                    let Some(own) = name.0.last().and_then(ObjectNamePart::as_ident).cloned() else { continue };
                    let called = alias.as_ref().map_or(&own, |alias| &alias.name).value.to_lowercase();
                    let Some(with) = self.names.get(&name.to_string()) else { continue };
                    if !mentions.unqualified && !mentions.qualifiers.contains(&called) {
                        continue;
                    }
                    *name = ObjectName::from(vec![Ident::new(SCHEMA), Ident::with_quote('"', with)]);
                    alias.get_or_insert_with(|| TableAlias { explicit: true, name: own, columns: Vec::new(), at: None });
                    given.insert(called);
                }
                TableFactor::NestedJoin { table_with_joins, .. } => self.from(table_with_joins, mentions, given),
                _ => {}
            }
        }
    }
}

/// `*` over several tables that have the column, as the star of each table: a name that several have cannot be left out of one star.
fn spread(select: &mut Select) -> Result<(), Problem> {
    let is_plain =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions::default());
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    if !select.projection.iter().any(is_star) {
        return Ok(());
    }
    let names: Option<Vec<Ident>> = select.from.iter().map(star_names).collect::<Option<Vec<_>>>().map(|names| names.concat());
    let Some(names) = names.filter(|_| select.projection.iter().filter(|item| is_star(item)).all(is_plain)) else {
        return Err(("`*` over tables with `_metadata` whose columns are joined or left out", "write `t.*` for each of them"));
    };
    let star = |name: &Ident| {
        let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name.clone()]));
        SelectItem::QualifiedWildcard(kind, WildcardAdditionalOptions::default())
    };
    let items = std::mem::take(&mut select.projection).into_iter();
    select.projection =
        items.flat_map(|item| if is_star(&item) { names.iter().map(star).collect() } else { vec![item] }).collect();
    Ok(())
}

/// What tables are called whose stars make up that of all; nothing where they do not.
fn star_names(from: &TableWithJoins) -> Option<Vec<Ident>> {
    let keeps_all = |operator: &JoinOperator| {
        matches!(operator, JoinOperator::CrossJoin(_))
            || constraint(operator).is_some_and(|by| matches!(by, JoinConstraint::On(_)))
    };
    if !from.joins.iter().all(|join| keeps_all(&join.join_operator)) {
        return None;
    }
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, .. } => name.0.last().and_then(ObjectNamePart::as_ident).cloned(),
        _ => None,
    };
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)).map(name).collect()
}

/// How rows are joined, where all columns of both sides stay.
fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn is_natural(from: &TableWithJoins) -> bool {
    from.joins.iter().filter_map(|join| constraint(&join.join_operator)).any(|by| matches!(by, JoinConstraint::Natural))
}

/// A star without the column.
fn leave_out(options: &mut WildcardAdditionalOptions) {
    let column = || ObjectName::from(vec![Ident::new(FILE_METADATA)]);
    options.opt_exclude = Some(match options.opt_exclude.take() {
        None => ExcludeSelectItem::Multiple(vec![column()]),
        Some(ExcludeSelectItem::Single(one)) => ExcludeSelectItem::Multiple(vec![one, column()]),
        Some(ExcludeSelectItem::Multiple(all)) => ExcludeSelectItem::Multiple(all.into_iter().chain([column()]).collect()),
    });
}
