//! The names of a statement: columns of its tables, fields within them, and what it names itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::{Result, TableReference};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    Expr, FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    Statement, TableAlias, TableFactor, TableObject, Visitor,
};

use super::paths::{Names, Quotes};

/// The names of a statement, each with its one spelling.
///
/// | name | spelling |
/// | --- | --- |
/// | a column of a table | as it was declared; by the table that the statement changes, or the first that it reads, where tables differ |
/// | what the statement names itself | as it is named first |
/// | two names in one table, or one SELECT, that differ in letter case alone | those are several names: each stays as it is written |
/// | anything else | as it is written |
pub(super) struct Known {
    quotes: Quotes,
    /// By the name in lower case, as all maps are here.
    columns: BTreeMap<String, Declared>,
    own: BTreeMap<String, String>,
    apart: BTreeSet<String>,
    fields: BTreeMap<String, Vec<String>>,
    /// What qualifies columns, as the engine reads it.
    sources: BTreeMap<String, Source>,
    /// Tables whose columns are not all spelled as in the statement, by their full name.
    deviating: BTreeMap<String, Vec<(String, String)>>,
    /// Queries with names.
    common: BTreeSet<String>,
    session: SessionContext,
}

#[derive(Default)]
struct Declared {
    spelling: String,
    all: BTreeSet<String>,
    types: Vec<DataType>,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A table with these columns.
    Table(BTreeSet<String>),
    /// A query, or anything else with columns that are named in the statement.
    Query,
    /// Whose columns nobody knows before the statement is planned.
    Foreign,
}

impl Known {
    /// What is known of a statement that has names of columns; its tables are looked up in the session.
    pub(super) async fn of(session: &SessionContext, statement: &parser::Statement, survey: Survey) -> Result<Self> {
        let state = session.state();
        let mut tables = state.resolve_table_references(statement)?;
        let mut known = Self {
            quotes: survey.quotes,
            columns: BTreeMap::new(),
            own: BTreeMap::new(),
            apart: survey.apart,
            fields: BTreeMap::new(),
            sources: BTreeMap::new(),
            deviating: BTreeMap::new(),
            common: survey.common,
            session: session.clone(),
        };
        // The table that is changed comes first, and then they come as they are read.
        let named = survey.sources.iter().filter_map(|(_, from)| if let Origin::Named(name) = from { Some(name) } else { None });
        let order = survey.target.iter().chain(named).filter_map(|name| Some(known.full_name(&known.reference(name)?)));
        let order: Vec<String> = order.collect();
        tables.sort_by_key(|table| {
            let full = known.full_name(table);
            order.iter().position(|name| *name == full).unwrap_or(order.len())
        });
        let mut schemas = Vec::with_capacity(tables.len());
        for table in tables {
            // What is not there is said when the statement is planned.
            if let Ok(provider) = session.table_provider(table.clone()).await {
                let schema = provider.schema();
                known.declare(schema.fields());
                schemas.push((known.full_name(&table), schema));
            }
        }
        for field in survey.fields {
            known.fields.entry(field.to_lowercase()).or_default().push(field);
        }
        let is_foreign = |(_, from): &(String, Origin)| match from {
            Origin::Named(name) => !known.reference(name).is_some_and(|name| {
                let full = known.full_name(&name);
                known.common.contains(name.table()) || schemas.iter().any(|(known, _)| *known == full)
            }),
            Origin::Query => false,
            Origin::Foreign => true,
        };
        let some_foreign = survey.sources.iter().any(is_foreign);
        for name in survey.names {
            let spelling = match name.quote_style {
                None if some_foreign => known.quotes.means(&name),
                _ => name.value,
            };
            // The columns of VALUES have names that nobody wrote.
            let of_values = spelling.to_lowercase().strip_prefix("column").is_some_and(|nth| nth.parse::<u32>().is_ok());
            if !of_values {
                known.own.entry(spelling.to_lowercase()).or_insert(spelling);
            }
        }
        for alias in survey.beside_stars {
            let lower = alias.value.to_lowercase();
            let means = known.quotes.means(&alias);
            if known.columns.get(&lower).is_some_and(|declared| declared.spelling != means) {
                known.apart.insert(lower);
            }
        }
        for (full, schema) in &schemas {
            let columns: Vec<(String, String)> = schema
                .fields()
                .iter()
                .map(|field| (field.name().clone(), known.declared(field.name()).unwrap_or(field.name()).to_owned()))
                .collect();
            if columns.iter().any(|(own, spelled)| own != spelled) {
                known.deviating.insert(full.clone(), columns);
            }
        }
        for (qualifier, from) in survey.sources {
            let source = match from {
                Origin::Query => Source::Query,
                Origin::Foreign => Source::Foreign,
                Origin::Named(name) => match known.reference(&name) {
                    Some(name) if known.common.contains(name.table()) => Source::Query,
                    Some(name) => {
                        let full = known.full_name(&name);
                        let schema = schemas.iter().find(|(known, _)| *known == full);
                        let columns = |fields: &Fields| fields.iter().map(|field| field.name().to_lowercase()).collect();
                        schema.map_or(Source::Foreign, |(_, schema)| Source::Table(columns(schema.fields())))
                    }
                    None => Source::Foreign,
                },
            };
            known.sources.entry(qualifier).or_insert(source);
        }
        Ok(known)
    }

    /// Columns of one table.
    fn declare(&mut self, columns: &Fields) {
        let mut spellings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for column in columns {
            let lower = column.name().to_lowercase();
            spellings.entry(lower.clone()).or_default().insert(column.name());
            let declared = self.columns.entry(lower).or_default();
            if declared.all.is_empty() {
                declared.spelling.clone_from(column.name());
            }
            declared.all.insert(column.name().clone());
            declared.types.push(column.data_type().clone());
            nested(column.data_type(), &mut self.fields);
        }
        self.apart.extend(spellings.into_iter().filter(|(_, all)| all.len() > 1).map(|(lower, _)| lower));
    }

    fn reference(&self, name: &ObjectName) -> Option<TableReference> {
        let lowers = self.session.state().config_options().sql_parser.enable_ident_normalization;
        object_name_to_table_reference(name.clone(), lowers).ok()
    }

    fn full_name(&self, table: &TableReference) -> String {
        let state = self.session.state();
        let catalog = &state.config_options().catalog;
        table.clone().resolve(&catalog.default_catalog, &catalog.default_schema).to_string()
    }

    /// How a column with this name is spelled in the statement.
    fn declared(&self, name: &str) -> Option<&str> {
        let lower = name.to_lowercase();
        let declared = self.columns.get(&lower)?;
        if self.apart.contains(&lower) {
            return declared.all.get(name).map(String::as_str);
        }
        Some(&declared.spelling)
    }

    /// How a name is spelled in the statement.
    fn spelling(&self, name: &Ident) -> Option<&str> {
        let unquoted = name.quote_style.is_none();
        // Variables of the session, and the word DEFAULT.
        if unquoted && (name.value.starts_with('@') || name.value.eq_ignore_ascii_case("default")) {
            return None;
        }
        let lower = name.value.to_lowercase();
        if self.columns.contains_key(&lower) || self.apart.contains(&lower) {
            return self.declared(&name.value);
        }
        self.own.get(&lower).map(String::as_str)
    }

    /// Spells a name that stands by itself.
    pub(super) fn name(&self, name: &mut Ident) {
        if let Some(spelling) = self.spelling(name) {
            self.quotes.write(name, spelling);
        }
    }

    /// The columns of a table with their spelling in the statement, when some have another one.
    pub(super) fn deviation(&self, table: &ObjectName) -> Option<&[(String, String)]> {
        let name = self.reference(table)?;
        if self.common.contains(name.table()) {
            return None;
        }
        self.deviating.get(&self.full_name(&name)).map(Vec::as_slice)
    }

    fn source(&self, part: &Ident) -> Option<(&String, &Source)> {
        let lower = part.value.to_lowercase();
        let near = || self.sources.iter().find(|(name, _)| name.to_lowercase() == lower);
        self.sources.get_key_value(&self.quotes.means(part)).or_else(near)
    }

    /// How many parts of a path qualify the column behind them, and where it comes from.
    fn qualifier(&self, path: &mut [Ident]) -> (usize, Option<&Source>) {
        let declares = |name: &Ident| self.columns.contains_key(&name.value.to_lowercase());
        for at in 1..path.len().min(4) {
            let Some((name, source)) = self.source(&path[at - 1]) else { continue };
            let is_column = match source {
                // `info.name` is a field of a column, if there is no such column in the table `info`.
                Source::Table(columns) if at == 1 => declares(&path[0]) && !columns.contains(&path[1].value.to_lowercase()),
                _ => at > 1 && declares(&path[0]),
            };
            if !is_column {
                self.quotes.write(&mut path[at - 1], name);
                return (at, Some(source));
            }
        }
        (0, None)
    }
}

impl Names for Known {
    fn quotes(&self) -> Quotes {
        self.quotes
    }

    fn column(&self, path: &mut Vec<Ident>) -> Vec<DataType> {
        let (at, source) = self.qualifier(path);
        if source == Some(&Source::Foreign) {
            return Vec::new();
        }
        let Some(column) = path.get_mut(at) else { return Vec::new() };
        self.name(column);
        let types = self.columns.get(&column.value.to_lowercase()).map(|declared| declared.types.clone()).unwrap_or_default();
        path.iter_mut().skip(at + 1).fold(types, |types, name| self.field(&types, name))
    }

    fn unknown_field(&self, name: &mut Ident) {
        match self.fields.get(&name.value.to_lowercase()).map(Vec::as_slice) {
            Some([spelling]) => self.quotes.write(name, &spelling.clone()),
            Some(all) if all.contains(&name.value) => self.quotes.write(name, &name.value.clone()),
            _ => {}
        }
    }
}

/// The fields within a type.
fn nested(of: &DataType, fields: &mut BTreeMap<String, Vec<String>>) {
    match of {
        DataType::Struct(inner) => {
            for field in inner {
                let spellings = fields.entry(field.name().to_lowercase()).or_default();
                if !spellings.contains(field.name()) {
                    spellings.push(field.name().clone());
                }
                nested(field.data_type(), fields);
            }
        }
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            nested(element.data_type(), fields);
        }
        DataType::Map(entries, _) => {
            if let DataType::Struct(pair) = entries.data_type() {
                pair.iter().for_each(|part| nested(part.data_type(), fields));
            }
        }
        _ => {}
    }
}

/// What a statement says of its names, before tables are looked up.
pub(super) struct Survey {
    quotes: Quotes,
    target: Option<ObjectName>,
    sources: Vec<(String, Origin)>,
    common: BTreeSet<String>,
    /// Aliases and lists of columns, as they come.
    names: Vec<Ident>,
    /// Aliases in a SELECT with a star.
    beside_stars: Vec<Ident>,
    apart: BTreeSet<String>,
    fields: Vec<String>,
}

#[derive(Debug)]
enum Origin {
    Named(ObjectName),
    Query,
    Foreign,
}

impl Survey {
    pub(super) fn new(quotes: Quotes) -> Self {
        Self {
            quotes,
            target: None,
            sources: Vec::new(),
            common: BTreeSet::new(),
            names: Vec::new(),
            beside_stars: Vec::new(),
            apart: BTreeSet::new(),
            fields: Vec::new(),
        }
    }

    fn alias(&mut self, alias: Option<&TableAlias>, from: Origin) {
        let Some(alias) = alias else { return };
        self.names.extend(alias.columns.iter().map(|column| column.name.clone()));
        let from = if alias.columns.is_empty() { from } else { Origin::Query };
        self.sources.push((self.quotes.means(&alias.name), from));
    }

    /// Fields that the statement makes: `named_struct('Name', …)`.
    fn made(&mut self, function: &Function) {
        if !function.name.to_string().eq_ignore_ascii_case("named_struct") {
            return;
        }
        let FunctionArguments::List(list) = &function.args else { return };
        for argument in list.args.iter().step_by(2) {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = argument
                && let Some(name) = value.value.clone().into_string()
                && !self.fields.contains(&name)
            {
                self.fields.push(name);
            }
        }
    }
}

impl Visitor for Survey {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let named = |table: &TableFactor| match table {
            TableFactor::Table { name, .. } => Some(name.clone()),
            _ => None,
        };
        let target = match statement {
            Statement::Update(update) => named(&update.table.relation),
            Statement::Merge(merge) => named(&merge.table),
            Statement::Insert(insert) => match &insert.table {
                TableObject::TableName(name) => Some(name.clone()),
                _ => None,
            },
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
                tables.first().and_then(|table| named(&table.relation))
            }
            _ => None,
        };
        self.target = self.target.take().or(target);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for common in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.common.insert(self.quotes.means(&common.alias.name));
            self.names.extend(common.alias.columns.iter().map(|column| column.name.clone()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let has_star = select.projection.iter().any(is_star);
        let mut meant: BTreeMap<String, String> = BTreeMap::new();
        for item in &select.projection {
            let name = match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    self.names.push(alias.clone());
                    if has_star {
                        self.beside_stars.push(alias.clone());
                    }
                    alias
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => name,
                // Columns with a qualifier may have the same name.
                _ => continue,
            };
            let (lower, means) = (name.value.to_lowercase(), self.quotes.means(name));
            if meant.insert(lower.clone(), means.clone()).is_some_and(|before| before != means) {
                self.apart.insert(lower);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { name, alias, args: None, .. } => match alias {
                Some(_) => self.alias(alias.as_ref(), Origin::Named(name.clone())),
                None => {
                    if let Some(last) = name.0.last().and_then(|part| part.as_ident()) {
                        self.sources.push((self.quotes.means(last), Origin::Named(name.clone())));
                    }
                }
            },
            TableFactor::Table { name, alias: None, .. } => {
                if let Some(last) = name.0.last().and_then(|part| part.as_ident()) {
                    self.sources.push((self.quotes.means(last), Origin::Foreign));
                }
            }
            TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
                self.alias(alias.as_ref(), Origin::Query)
            }
            TableFactor::Table { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => self.alias(alias.as_ref(), Origin::Foreign),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.made(function);
        }
        ControlFlow::Continue(())
    }
}
