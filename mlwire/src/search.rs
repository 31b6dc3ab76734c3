//! What can be searched, as data; and a filter over it as SQL.
//!
//! A [`SearchSchema`] lists the keys of one kind of thing: attributes are columns or expressions of its main table,
//! groups (`metrics`, `tags`) are side tables with one row a key. From it the same code checks a filter, explains
//! what is wrong with it, and renders it: each comparison becomes a condition of its own, side tables are reached by
//! `EXISTS`, so that no comparison multiplies rows.

use crate::database::{Dialect, Sql};
use crate::error::{Error, Result};
use crate::filter::{Comparison, Direction, Filter, Key, Operand, Operator, OrderBy};

/// The type of what a key holds, and with it the operators it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// `= != LIKE ILIKE IN NOT IN` with quoted text.
    Text,
    /// `= != < <= > >=` with numbers.
    Number,
}

/// A column of the main table.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Its names; the first is the one that messages show.
    pub names: &'static [&'static str],
    /// The column, as SQL.
    pub sql: &'static str,
    /// Its type.
    pub kind: ValueKind,
    /// Whether it may stand in a filter or an order.
    pub usage: Usage,
}

/// Where an attribute may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// In filters and orders.
    FilterAndOrder,
    /// In filters only.
    Filter,
    /// In orders only.
    Order,
}

/// A side table.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Its names; the first is the one that messages show.
    pub names: &'static [&'static str],
    /// `FROM` and the part of `WHERE` that ties it to the main table: `tags x WHERE x.run_id = r.run_id`.
    pub from: &'static str,
    /// Its keys.
    pub keys: Keys,
    /// The type of its values.
    pub kind: ValueKind,
    /// The column that is 1 where the value is not a number.
    pub nan: Option<&'static str>,
}

/// The keys of a side table.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// Any: they stand in a column.
    Rows {
        /// The column of keys.
        key: &'static str,
        /// The column of values.
        value: &'static str,
    },
    /// These, each in its own column: (name, column).
    Columns(&'static [(&'static str, &'static str)]),
}

/// All keys of one kind of thing.
#[derive(Debug, Clone, Copy)]
pub struct SearchSchema {
    /// What is searched: `runs`.
    pub searched: &'static str,
    /// Columns of the main table.
    pub attributes: &'static [Attribute],
    /// Side tables.
    pub groups: &'static [Group],
}

/// How a filter names the attributes.
const ATTRIBUTE_GROUPS: [&str; 5] = ["attribute", "attributes", "attr", "run", "model_version"];

enum Target<'a> {
    Attribute(&'a Attribute),
    Group { group: &'a Group, value: &'static str, key: Option<(&'static str, &'a str)> },
}

impl SearchSchema {
    /// The filter as a condition: `TRUE`-like text for an empty one, else comparisons joined by `AND`.
    ///
    /// **Errors**: `Invalid` for a key, operator or value that does not fit; the message names it and lists what does.
    pub fn condition(&self, filter: &Filter, dialect: Dialect) -> Result<Sql> {
        let mut sql = Sql::new("1 = 1");
        for comparison in &filter.comparisons {
            sql.push(" AND ").append(self.comparison(comparison, dialect)?);
        }
        Ok(sql)
    }

    /// The clauses as the inside of `ORDER BY`, each followed by `, `: the caller appends its tie-breaker.
    ///
    /// Missing values come last, before them what is not a number, in both directions.
    pub fn order(&self, clauses: &[OrderBy]) -> Result<Sql> {
        let mut sql = Sql::default();
        for clause in clauses {
            let direction = match clause.direction {
                Direction::Ascending => " ASC, ",
                Direction::Descending => " DESC, ",
            };
            match self.target(&clause.key, Usage::Order)? {
                Target::Attribute(attribute) => {
                    sql.push("CASE WHEN ").push(attribute.sql).push(" IS NULL THEN 1 ELSE 0 END, ");
                    sql.push(attribute.sql).push(direction);
                }
                Target::Group { group, value, key } => {
                    // First: present, not a number, missing. Then the value.
                    let found = |sql: &mut Sql| {
                        sql.push(" FROM ").push(group.from);
                        if let Some((column, name)) = key {
                            sql.push(" AND ").push(column).push_with(" = ?", name);
                        }
                        sql.push(" LIMIT 1)");
                    };
                    sql.push("COALESCE((SELECT ");
                    match group.nan {
                        Some(nan) => sql.push("CASE WHEN ").push(nan).push(" = 1 THEN 1 ELSE 0 END"),
                        None => sql.push("0"),
                    };
                    found(&mut sql);
                    sql.push(", 2), (SELECT ").push(value);
                    found(&mut sql);
                    sql.push(direction);
                }
            }
        }
        Ok(sql)
    }

    fn comparison(&self, comparison: &Comparison, dialect: Dialect) -> Result<Sql> {
        let Comparison { key, operator, operand } = comparison;
        let target = self.target(key, Usage::Filter)?;
        let (kind, nullable) = match &target {
            Target::Attribute(attribute) => (attribute.kind, false),
            Target::Group { group, .. } => (group.kind, group.kind == ValueKind::Text),
        };
        let wrong = |expected: &str| Error::Comparison {
            key: key.to_string(),
            operator: operator.as_str(),
            searched: self.searched,
            expected: expected.to_owned(),
        };
        use Operator as O;
        let fits = match (kind, operator) {
            (_, O::Equal | O::NotEqual) => true,
            (ValueKind::Number, O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual) => true,
            (ValueKind::Text, O::Like | O::ILike | O::In | O::NotIn) => true,
            (_, O::IsNull | O::IsNotNull) => nullable,
            _ => false,
        };
        if !fits {
            return Err(wrong(match (kind, nullable) {
                (ValueKind::Number, _) => "one of = != < <= > >=",
                (ValueKind::Text, true) => "one of = != LIKE ILIKE IN, NOT IN, IS NULL, IS NOT NULL",
                (ValueKind::Text, false) => "one of = != LIKE ILIKE IN, NOT IN",
            }));
        }
        let value_fits = match operand {
            Operand::Nothing => true,
            Operand::Int(_) | Operand::Float(_) => kind == ValueKind::Number,
            Operand::Text(_) => kind == ValueKind::Text,
            Operand::List(values) => values.iter().all(|v| matches!(v, Operand::Text(_)) == (kind == ValueKind::Text)),
        };
        if !value_fits {
            return Err(wrong(match kind {
                ValueKind::Number => "a number",
                ValueKind::Text => "text in quotes, such as 'my-value'",
            }));
        }
        let mut sql = Sql::default();
        match target {
            Target::Attribute(attribute) => compare(&mut sql, attribute.sql, *operator, operand, dialect),
            Target::Group { group, value, key } => {
                if *operator == O::IsNull {
                    sql.push("NOT ");
                }
                sql.push("EXISTS (SELECT 1 FROM ").push(group.from);
                if let Some((column, name)) = key {
                    sql.push(" AND ").push(column).push_with(" = ?", name);
                }
                match (operator, group.nan) {
                    (O::IsNull | O::IsNotNull, _) => {
                        if key.is_none() {
                            sql.push(" AND ").push(value).push(" IS NOT NULL");
                        }
                    }
                    // What is not a number differs from every number and compares with none.
                    (O::NotEqual, Some(nan)) => {
                        sql.push(" AND (").push(nan).push(" = 1 OR ");
                        compare(&mut sql, value, *operator, operand, dialect);
                        sql.push(")");
                    }
                    (_, Some(nan)) => {
                        sql.push(" AND ").push(nan).push(" = 0 AND ");
                        compare(&mut sql, value, *operator, operand, dialect);
                    }
                    (_, None) => {
                        sql.push(" AND ");
                        compare(&mut sql, value, *operator, operand, dialect);
                    }
                }
                sql.push(")");
            }
        }
        Ok(sql)
    }

    fn target<'a>(&'a self, key: &'a Key, usage: Usage) -> Result<Target<'a>> {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let is_attribute = key.group.as_deref().is_none_or(|g| ATTRIBUTE_GROUPS.iter().any(|a| same(a, g)));
        if is_attribute {
            let found = self
                .attributes
                .iter()
                .find(|a| (a.usage == usage || a.usage == Usage::FilterAndOrder) && a.names.iter().any(|n| same(n, &key.name)));
            return found.map(Target::Attribute).ok_or_else(|| self.unknown(key, usage));
        }
        let group = self
            .groups
            .iter()
            .find(|g| g.names.iter().any(|n| key.group.as_deref().is_some_and(|k| same(n, k))))
            .ok_or_else(|| self.unknown(key, usage))?;
        match group.keys {
            Keys::Rows { key: column, value } => Ok(Target::Group { group, value, key: Some((column, &key.name)) }),
            Keys::Columns(columns) => {
                let (_, value) =
                    columns.iter().find(|(name, _)| same(name, &key.name)).ok_or_else(|| self.unknown(key, usage))?;
                Ok(Target::Group { group, value, key: None })
            }
        }
    }

    fn unknown(&self, key: &Key, usage: Usage) -> Error {
        let attributes = self
            .attributes
            .iter()
            .filter(|a| a.usage == usage || a.usage == Usage::FilterAndOrder)
            .filter_map(|a| a.names.first())
            .map(|n| (*n).to_owned());
        let groups = self.groups.iter().flat_map(|g| {
            let group = g.names.first().copied().unwrap_or_default();
            match g.keys {
                Keys::Rows { .. } => vec![format!("{group}.KEY")],
                Keys::Columns(columns) => columns.iter().map(|(name, _)| format!("{group}.{name}")).collect(),
            }
        });
        let known: Vec<String> = attributes.chain(groups).collect();
        Error::UnknownKey { key: key.to_string(), searched: self.searched, expected: format!("one of {}", known.join(", ")) }
    }
}

fn compare(sql: &mut Sql, value: &'static str, operator: Operator, operand: &Operand, dialect: Dialect) {
    let text = match operand {
        Operand::Text(text) => text.as_str(),
        _ => "",
    };
    match (operator, dialect) {
        // SQLite's LIKE does not tell letters of different case apart; GLOB does.
        (Operator::Like, Dialect::Sqlite) => {
            sql.push(value).push_with(" GLOB ?", like_to_glob(text));
        }
        (Operator::Like, Dialect::Postgres) => {
            sql.push(value).push_with(" LIKE ? ESCAPE ''", text);
        }
        (Operator::ILike, Dialect::Sqlite) => {
            sql.push(value).push_with(" LIKE ?", text);
        }
        (Operator::ILike, Dialect::Postgres) => {
            sql.push(value).push_with(" ILIKE ? ESCAPE ''", text);
        }
        (Operator::In | Operator::NotIn, _) => {
            let Operand::List(values) = operand else { return };
            sql.push(value).push(if operator == Operator::In { " IN " } else { " NOT IN " });
            sql.push_list(values.iter().filter_map(|v| match v {
                Operand::Text(text) => Some(text),
                _ => None,
            }));
        }
        (Operator::IsNull, _) => {
            sql.push(value).push(" IS NULL");
        }
        (Operator::IsNotNull, _) => {
            sql.push(value).push(" IS NOT NULL");
        }
        _ => {
            let text = match operator {
                Operator::Equal => " = ?",
                Operator::NotEqual => " != ?",
                Operator::Less => " < ?",
                Operator::LessOrEqual => " <= ?",
                Operator::Greater => " > ?",
                _ => " >= ?",
            };
            sql.push(value);
            match operand {
                Operand::Int(int) => sql.push_with(text, *int),
                Operand::Float(float) => sql.push_with(text, *float),
                Operand::Text(value) => sql.push_with(text, value),
                Operand::Nothing | Operand::List(_) => sql.push(" IS NULL"),
            };
        }
    }
}

/// `%` → `*`, `_` → `?`; what GLOB would take as special stands in brackets.
fn like_to_glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => {
                glob.push('[');
                glob.push(c);
                glob.push(']');
            }
            c => glob.push(c),
        }
    }
    glob
}

#[cfg(test)]
mod tests;
