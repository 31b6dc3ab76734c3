//! Expressions over columns that are known.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{self, Ident, VisitMut, VisitorMut};

use super::paths::{Expressions, Names, Quotes};

/// An expression over these columns. A name is a column that is spelled so; else the one that is spelled so but for letter case.
pub(crate) fn expression(session: &SessionContext, sql: &str, schema: &DFSchema) -> Result<Expr> {
    let state = session.state();
    let dialect = state.config_options().sql_parser.dialect;
    let mut parsed = state.sql_to_expr_with_alias(sql, &dialect)?;
    let mut speller = Speller { columns: Columns { schema, quotes: Quotes::of(session) }, expressions: Expressions::default() };
    let _ = parsed.expr.visit(&mut speller);
    state.create_logical_expr_from_sql_expr(parsed, schema)
}

struct Speller<'a> {
    columns: Columns<'a>,
    expressions: Expressions,
}

impl VisitorMut for Speller<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        self.expressions.before(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        self.expressions.after(expr, &self.columns);
        ControlFlow::Continue(())
    }
}

struct Columns<'a> {
    schema: &'a DFSchema,
    quotes: Quotes,
}

impl Columns<'_> {
    /// The column that a name means, of this table or of any, with its type.
    fn find(&self, table: Option<&str>, name: &Ident) -> Option<(String, DataType)> {
        let columns = || {
            let all = self.schema.iter();
            all.filter(move |(qualifier, _)| table.is_none_or(|table| qualifier.is_some_and(|of| of.table() == table)))
        };
        let named = |name: &str| columns().find(|(_, field)| field.name() == name);
        let found = named(&name.value).or_else(|| named(&self.quotes.means(name))).or_else(|| {
            let lower = name.value.to_lowercase();
            let mut near = columns().filter(|(_, field)| field.name().to_lowercase() == lower);
            let first = near.next()?;
            // Several spellings of one name: the engine says which there are.
            near.all(|(_, other)| other.name() == first.1.name()).then_some(first)
        });
        found.map(|(_, field)| (field.name().clone(), field.data_type().clone()))
    }

    /// The table whose column stands behind this part of a path, as the table is spelled.
    fn table(&self, part: &Ident) -> Option<String> {
        let tables = || self.schema.iter().filter_map(|(qualifier, _)| qualifier.map(|of| of.table().to_owned()));
        let (meant, lower) = (self.quotes.means(part), part.value.to_lowercase());
        tables().find(|table| *table == meant).or_else(|| tables().find(|table| table.to_lowercase() == lower))
    }
}

impl Names for Columns<'_> {
    fn quotes(&self) -> Quotes {
        self.quotes
    }

    fn column(&self, path: &mut Vec<Ident>) -> Vec<DataType> {
        let mut found = None;
        for at in 1..path.len().min(4) {
            if let Some(table) = self.table(&path[at - 1])
                && let Some(column) = self.find(Some(&table), &path[at])
            {
                self.quotes.write(&mut path[at - 1], &table);
                found = Some((at, column));
                break;
            }
        }
        let found = found.or_else(|| Some((0, self.find(None, path.first()?)?)));
        let Some((at, (spelling, data_type))) = found else { return Vec::new() };
        self.quotes.write(&mut path[at], &spelling);
        path.iter_mut().skip(at + 1).fold(vec![data_type], |types, name| self.field(&types, name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn planned(sql: &str) -> Result<String> {
        let name = Field::new("subField", DataType::Int64, true);
        let info = DataType::Struct(vec![name].into());
        let of_table = Schema::new(vec![
            Field::new("Day", DataType::Int64, true),
            Field::new("Info", info.clone(), true),
            Field::new("Stops", DataType::List(Field::new("item", info, true).into()), true),
        ]);
        let of_source = Schema::new(vec![Field::new("DAY", DataType::Int64, true), Field::new("n", DataType::Int64, true)]);
        let table = DFSchema::try_from_qualified_schema("t", &of_table).unwrap();
        let both = table.join(&DFSchema::try_from_qualified_schema("s", &of_source).unwrap()).unwrap();
        expression(&SessionContext::new(), sql, &both).map(|expr| expr.to_string())
    }

    #[test]
    fn names_without_case_are_the_columns_of_their_table() {
        assert_eq!(planned("T.day = s.day").unwrap(), "t.Day = s.DAY");
        assert_eq!(planned("N > 1 AND Day = 2").unwrap(), "s.n > Int64(1) AND t.Day = Int64(2)");
        assert_eq!(planned("INFO.SUBFIELD").unwrap(), planned("t.\"Info\".\"subField\"").unwrap());
        assert_eq!(planned("stops[1].subfield").unwrap(), planned("get_field(\"Stops\"[1], 'subField')").unwrap());
        assert_eq!(planned("info['SUBfield']").unwrap(), planned("INFO.subfield").unwrap());
        assert_eq!(planned("date_part('DAY', N)").unwrap(), "date_part(Utf8(\"DAY\"), s.n)");
    }

    #[test]
    fn a_name_that_two_tables_spell_in_other_ways_is_nobodys() {
        assert!(planned("dAy > 1").unwrap_err().to_string().contains("day"));
        assert!(planned("weight > 1").is_err());
    }
}
