//! Statements, spelled and planned.

use std::ops::ControlFlow;

use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, ExceptSelectItem, ExcludeSelectItem, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    Query, RenameSelectItem, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::known::{Known, Survey};
use super::paths::{Expressions, Quotes};

/// Plans a statement whose names may be in any letter case. The columns of a query are called as its aliases are written.
pub(crate) async fn plan(session: &SessionContext, mut statement: Statement) -> Result<LogicalPlan> {
    let names = spell(session, &mut statement).await?;
    let plan = session.state().statement_to_plan(statement).await?;
    restore(plan, &names)
}

/// Gives the names of a statement their spelling. Returns the aliases of its result that have another one now than they are written.
async fn spell(session: &SessionContext, statement: &mut Statement) -> Result<Vec<(String, String)>> {
    let quotes = Quotes::of(session);
    let mut survey = Survey::new(quotes);
    if within(statement, &mut |part| part.survey(&mut survey)).is_none() {
        return Ok(Vec::new());
    }
    let known = Known::of(session, statement, survey).await?;
    let aliases = |statement: &Statement| match statement {
        Statement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(query) => aliases_of(&query.body),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let written = aliases(statement);
    let mut speller = Speller { known, expressions: Expressions::default() };
    within(statement, &mut |part| part.spell(&mut speller));
    let spelled = aliases(statement);
    let pairs = spelled.into_iter().zip(written).map(|(spelled, written)| (quotes.means(&spelled), written.value));
    Ok(pairs.filter(|(spelled, written)| spelled != written).collect())
}

/// The plan with the names that its columns have in the statement. A field of a struct is called as the field is, which Spark does.
fn restore(plan: LogicalPlan, names: &[(String, String)]) -> Result<LogicalPlan> {
    let written = |name: &str| names.iter().find(|(spelled, _)| spelled == name).map(|(_, written)| written.clone());
    let fields = field_names(&plan);
    let renamed: Vec<Option<String>> = plan
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| written(field.name()).or_else(|| fields.get(at).cloned().flatten()))
        .collect();
    if renamed.iter().all(Option::is_none) {
        return Ok(plan);
    }
    let column = |((qualifier, field), renamed): (_, Option<String>)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        renamed.map_or_else(|| column.clone(), |renamed| column.clone().alias(renamed))
    };
    let columns: Vec<Expr> = plan.schema().iter().zip(renamed).map(column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// For each column of a result that is a field of a struct and has no other name: the field's, unless two columns would be called so.
fn field_names(plan: &LogicalPlan) -> Vec<Option<String>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let names: Vec<Option<String>> = projection.expr.iter().map(name_of_field).collect();
            let others = projection.schema.fields().iter().zip(&names).filter(|(_, name)| name.is_none());
            let mut taken: Vec<String> = others.map(|(field, _)| field.name().clone()).collect();
            taken.extend(names.iter().flatten().cloned());
            let is_only = |name: &String| taken.iter().filter(|other| *other == name).count() == 1;
            names.into_iter().map(|name| name.filter(is_only)).collect()
        }
        LogicalPlan::Sort(sort) => field_names(&sort.input),
        LogicalPlan::Limit(limit) => field_names(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => field_names(input),
        _ => Vec::new(),
    }
}

fn name_of_field(expr: &Expr) -> Option<String> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == "get_field" => match call.args.last()? {
            Expr::Literal(ScalarValue::Utf8(name) | ScalarValue::Utf8View(name) | ScalarValue::LargeUtf8(name), _) => {
                name.clone()
            }
            _ => None,
        },
        _ => None,
    }
}

/// A statement, or a query within one of the engine's own.
enum Part<'a> {
    Statement(&'a mut ast::Statement),
    Query(&'a mut Query),
}

impl Part<'_> {
    fn survey(self, survey: &mut Survey) {
        let _ = match self {
            Self::Statement(statement) => Visit::visit(&*statement, survey),
            Self::Query(query) => Visit::visit(&*query, survey),
        };
    }

    fn spell(self, speller: &mut Speller) {
        let _ = match self {
            Self::Statement(statement) => VisitMut::visit(statement, speller),
            Self::Query(query) => VisitMut::visit(query, speller),
        };
    }
}

/// Does something with the part of a statement that may name columns of tables; nothing when there is none.
fn within(statement: &mut Statement, visit: &mut dyn FnMut(Part<'_>)) -> Option<()> {
    match statement {
        Statement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(_)
            | ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
            | ast::Statement::Merge(_)
            | ast::Statement::CreateTable(_)
            | ast::Statement::CreateView(_)
            | ast::Statement::Explain { .. } => {
                visit(Part::Statement(statement));
                Some(())
            }
            _ => None,
        },
        Statement::Explain(explain) => within(&mut explain.statement, visit),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => {
                visit(Part::Query(query));
                Some(())
            }
            CopyToSource::Relation(_) => None,
        },
        _ => None,
    }
}

/// The aliases of the columns of a query: those of its first SELECT.
fn aliases_of(body: &SetExpr) -> Vec<Ident> {
    match body {
        SetExpr::Select(select) => {
            let alias = |item: &SelectItem| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
                _ => None,
            };
            select.projection.iter().filter_map(alias).collect()
        }
        SetExpr::Query(query) => aliases_of(&query.body),
        SetExpr::SetOperation { left, .. } => aliases_of(left),
        _ => Vec::new(),
    }
}

struct Speller {
    known: Known,
    expressions: Expressions,
}

impl Speller {
    fn alias(&self, alias: Option<&mut TableAlias>) {
        for column in alias.into_iter().flat_map(|alias| &mut alias.columns) {
            self.known.name(&mut column.name);
        }
    }

    /// The name within a schema, or within anything.
    fn last(&self, name: &mut ObjectName) {
        if let Some(ObjectNamePart::Identifier(name)) = name.0.last_mut() {
            self.known.name(name);
        }
    }

    fn star(&self, options: &mut WildcardAdditionalOptions) {
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => self.last(name),
            Some(ExcludeSelectItem::Multiple(names)) => names.iter_mut().for_each(|name| self.last(name)),
            None => {}
        }
        if let Some(ExceptSelectItem { first_element, additional_elements }) = &mut options.opt_except {
            self.known.name(first_element);
            additional_elements.iter_mut().for_each(|name| self.known.name(name));
        }
        for element in options.opt_replace.iter_mut().flat_map(|replace| &mut replace.items) {
            self.known.name(&mut element.column_name);
        }
        match &mut options.opt_rename {
            Some(RenameSelectItem::Single(one)) => self.known.name(&mut one.ident),
            Some(RenameSelectItem::Multiple(all)) => all.iter_mut().for_each(|one| self.known.name(&mut one.ident)),
            None => {}
        }
    }

    fn joins(&self, tables: &mut [TableWithJoins]) {
        for join in tables.iter_mut().flat_map(|table| &mut table.joins) {
            if let Some(JoinConstraint::Using(columns)) = constraint(&mut join.join_operator) {
                columns.iter_mut().for_each(|column| self.last(column));
            }
        }
    }

    /// A table whose columns are spelled in another way is read through a query that renames them.
    fn renamed(&self, name: &ObjectName, alias: Option<&TableAlias>) -> Option<TableFactor> {
        let columns = self.known.deviation(name)?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let item = |(own, spelled): &(String, String)| format!("{} AS {}", quoted(own), quoted(spelled));
        let items: Vec<String> = columns.iter().map(item).collect();
        let text = format!("SELECT {} FROM {name}", items.join(", "));
        let subquery = Parser::new(&GenericDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_query()).ok()?;
        let own = || {
            let name = name.0.last()?.as_ident()?.clone();
            Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None })
        };
        let alias = alias.cloned().or_else(own);
        Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None })
    }
}

fn constraint(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint)
        | JoinOperator::AsOf { constraint, .. } => Some(constraint),
        _ => None,
    }
}

impl VisitorMut for Speller {
    type Break = ();

    fn post_visit_statement(&mut self, statement: &mut ast::Statement) -> ControlFlow<()> {
        match statement {
            ast::Statement::Insert(insert) => insert.columns.iter_mut().for_each(|column| self.last(column)),
            ast::Statement::Update(update) => {
                for set in &mut update.assignments {
                    if let AssignmentTarget::ColumnName(column) = &mut set.target {
                        self.last(column);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for common in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.alias(Some(&mut common.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => self.known.name(alias),
                SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => self.star(options),
                _ => {}
            }
        }
        self.joins(&mut select.from);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { name, alias, args, .. } => {
                self.alias(alias.as_mut());
                if args.is_none()
                    && let Some(renamed) = self.renamed(name, alias.as_ref())
                {
                    *table = renamed;
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.alias(alias.as_mut());
                self.joins(std::slice::from_mut(table_with_joins));
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => self.alias(alias.as_mut()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        self.expressions.before(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        self.expressions.after(expr, &self.known);
        ControlFlow::Continue(())
    }
}
