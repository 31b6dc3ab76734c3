//! Random MERGE statements that mean the same to every engine.

use boathouse_base::Env;
use serde_json::{Value, json};

use crate::rows::{Column, Kind};

/// A value between 0 and below a bound.
pub(crate) fn below(env: &Env, bound: usize) -> usize {
    usize::try_from(env.random_below(bound as u64)).unwrap()
}

/// One of some.
pub(crate) fn one<'a, T>(env: &Env, from: &'a [T]) -> &'a T {
    &from[below(env, from.len())]
}

/// True once in so many times.
pub(crate) fn once_in(env: &Env, times: usize) -> bool {
    below(env, times) == 0
}

/// Which rows a clause speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Matched,
    NotMatched,
    NotMatchedBySource,
}

/// One WHEN. A clause that neither sets nor takes all columns deletes.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    when: When,
    deletes: bool,
    /// Nothing for all columns, as `*` does.
    set: Option<Vec<(&'static str, String)>>,
    condition: Option<String>,
}

/// A MERGE of the source `s` into the table `t`.
#[derive(Debug, Clone)]
pub(crate) struct MergeStatement {
    pub(crate) on: String,
    pub(crate) clauses: Vec<Clause>,
}

impl Clause {
    fn sql(&self) -> String {
        let when = match self.when {
            When::Matched => "MATCHED",
            When::NotMatched => "NOT MATCHED",
            When::NotMatchedBySource => "NOT MATCHED BY SOURCE",
        };
        let condition = self.condition.as_ref().map_or_else(String::new, |condition| format!(" AND {condition}"));
        let inserts = self.when == When::NotMatched;
        let action = match &self.set {
            _ if self.deletes => "DELETE".to_owned(),
            None if inserts => "INSERT *".to_owned(),
            None => "UPDATE SET *".to_owned(),
            Some(set) if inserts => {
                let (columns, values): (Vec<&str>, Vec<&str>) =
                    set.iter().map(|(column, value)| (*column, value.as_str())).unzip();
                format!("INSERT ({}) VALUES ({})", columns.join(", "), values.join(", "))
            }
            Some(set) => {
                let set: Vec<String> = set.iter().map(|(column, value)| format!("{column} = {value}")).collect();
                format!("UPDATE SET {}", set.join(", "))
            }
        };
        format!("WHEN {when}{condition} THEN {action}")
    }

    fn json(&self) -> Value {
        let when = match self.when {
            When::Matched => "matched",
            When::NotMatched => "not_matched",
            When::NotMatchedBySource => "by_source",
        };
        json!({"when": when, "deletes": self.deletes, "set": self.set, "if": self.condition})
    }
}

impl MergeStatement {
    /// The one that most tables see.
    pub(crate) fn upsert() -> Self {
        let all = |when| Clause { when, deletes: false, set: None, condition: None };
        Self { on: "t.id = s.id".to_owned(), clauses: vec![all(When::Matched), all(When::NotMatched)] }
    }

    /// As we take it.
    pub(crate) fn sql(&self) -> String {
        let clauses: Vec<String> = self.clauses.iter().map(Clause::sql).collect();
        format!("MERGE INTO t USING s ON {}\n{}", self.on, clauses.join("\n"))
    }

    /// As the script of the peers takes it.
    pub(crate) fn json(&self) -> Value {
        json!({"on": self.on, "clauses": self.clauses.iter().map(Clause::json).collect::<Vec<_>>()})
    }
}

/// Makes statements over tables of these columns; `id`, `part` and `v` are among them.
#[derive(Debug)]
pub(crate) struct Statements<'e> {
    pub(crate) env: &'e Env,
    pub(crate) columns: &'e [Column],
}

impl Statements<'_> {
    pub(crate) fn merge(&self) -> MergeStatement {
        let mut clauses = Vec::new();
        for (when, most) in [(When::Matched, 4), (When::NotMatched, 3), (When::NotMatchedBySource, 3)] {
            let count = below(self.env, most);
            clauses.extend((0..count).map(|nth| self.clause(when, nth + 1 == count)));
        }
        if clauses.is_empty() {
            clauses.push(self.clause(*one(self.env, &[When::Matched, When::NotMatched]), true));
        }
        MergeStatement { on: self.on(), clauses }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|(column, _)| *column == name)
    }

    fn on(&self) -> String {
        let key = if self.has("name") && once_in(self.env, 4) { "t.name = s.name AND t.id = s.id" } else { "t.id = s.id" };
        match below(self.env, 16) {
            0 => format!("{key} AND t.part = s.part"),
            1 => format!("t.part = s.part AND {key}"),
            2 => format!("{key} AND t.v < s.v"),
            3 => format!("{key} AND t.part = 'a b'"),
            4 => format!("{key} AND s.v > 5"),
            5 => format!("{key} AND t.v > 5"),
            6 => "t.id = s.id + 1".to_owned(),
            7 => "t.id IS NOT DISTINCT FROM s.id".to_owned(),
            8 => format!("({key}) AND {}", self.condition("ts")),
            9 => format!("{key} OR (t.v = s.v AND t.id = s.id - 1)"),
            10 if self.has("day") => format!("t.day = s.day AND {key}"),
            11 if self.has("amount") => format!("t.amount = s.amount AND {key}"),
            12 if self.has("moment") => format!("t.moment = s.moment AND {key}"),
            13 if self.has("ok") => format!("{key} AND t.ok = s.ok"),
            14 => format!("{key} AND t.part IN ('a b', 'plain')"),
            _ => key.to_owned(),
        }
    }

    fn clause(&self, when: When, is_last: bool) -> Clause {
        let (sides, deletes) = match when {
            When::Matched => ("ts", once_in(self.env, 3)),
            When::NotMatched => ("s", false),
            When::NotMatchedBySource => ("t", once_in(self.env, 2)),
        };
        let condition = (!is_last || once_in(self.env, 2)).then(|| self.condition(sides));
        let is_star = when != When::NotMatchedBySource && once_in(self.env, 2);
        let set = (!deletes && !is_star).then(|| {
            let chosen: Vec<&Column> = match when {
                // Sometimes all, sometimes not even the key.
                When::NotMatched => self.columns.iter().filter(|_| !once_in(self.env, 5)).collect(),
                _ => self.columns.iter().filter(|_| once_in(self.env, 3)).collect(),
            };
            let chosen = if chosen.is_empty() { vec![&self.columns[2]] } else { chosen };
            chosen.into_iter().map(|column| (column.0, self.value(*column, sides))).collect()
        });
        Clause { when, deletes, set, condition }
    }

    fn side(&self, sides: &str) -> char {
        char::from(*one(self.env, sides.as_bytes()))
    }

    /// A new value for a column.
    fn value(&self, (name, kind): Column, sides: &str) -> String {
        let side = self.side(sides);
        let this = format!("{side}.{name}");
        let both = sides.len() == 2;
        match below(self.env, 6) {
            0 => this,
            1 => match kind {
                Kind::Long | Kind::Integer if both => format!("t.{name} + s.{name}"),
                Kind::Long | Kind::Integer => format!("{this} + 1"),
                Kind::Double if both => format!("t.{name} + s.{name}"),
                Kind::Double => format!("{this} * 2"),
                Kind::Decimal => format!("CAST({this} + {this} AS DECIMAL(12, 2))"),
                Kind::Text if both && name != "part" => format!("t.{name} || '-' || s.{name}"),
                Kind::Bool if both => format!("t.{name} AND s.{name}"),
                Kind::Bool => format!("NOT {this}"),
                Kind::Text | Kind::Date | Kind::Timestamp => this,
            },
            2 => match kind {
                Kind::Long | Kind::Integer => "7".to_owned(),
                Kind::Double => "0.5".to_owned(),
                Kind::Decimal => "CAST(12.25 AS DECIMAL(12, 2))".to_owned(),
                Kind::Text => "'it''s new'".to_owned(),
                Kind::Date => "DATE '2024-02-29'".to_owned(),
                Kind::Bool => "TRUE".to_owned(),
                Kind::Timestamp => this,
            },
            3 => format!("CASE WHEN {} THEN {this} ELSE {}.{name} END", self.leaf(sides), self.side(sides)),
            4 if kind == Kind::Integer || kind == Kind::Long => format!("coalesce({this}, 3)"),
            4 if kind == Kind::Text => format!("coalesce({this}, 'none')"),
            _ if both => format!("s.{name}"),
            _ => this,
        }
    }

    /// Something that is true, false or null, of columns of these sides.
    pub(crate) fn condition(&self, sides: &str) -> String {
        match below(self.env, 8) {
            0 => format!("({} AND {})", self.leaf(sides), self.leaf(sides)),
            1 => format!("({} OR {})", self.leaf(sides), self.leaf(sides)),
            2 => format!("NOT ({})", self.leaf(sides)),
            _ => self.leaf(sides),
        }
    }

    fn leaf(&self, sides: &str) -> String {
        let (name, kind) = *one(self.env, self.columns);
        let this = format!("{}.{name}", self.side(sides));
        match below(self.env, 6) {
            0 => return format!("{this} IS NULL"),
            1 => return format!("{this} IS NOT NULL"),
            2 if sides.len() == 2 => return format!("t.{name} {} s.{name}", one(self.env, &["=", "<>", "<", ">="])),
            _ => {}
        }
        let small = below(self.env, 20);
        match kind {
            Kind::Long | Kind::Integer => match below(self.env, 3) {
                0 => format!("{this} > {small}"),
                1 => format!("{this} % 3 = {}", small % 3),
                _ => format!("{this} IN ({small}, 4, 11)"),
            },
            Kind::Text => match below(self.env, 3) {
                0 => format!("{this} = 'it''s'"),
                1 => format!("{this} LIKE '%b'"),
                _ => format!("{this} > 'b'"),
            },
            Kind::Double => format!("{this} < {small}.5"),
            Kind::Decimal => format!("{this} >= {small}.25"),
            Kind::Date => format!("{this} >= DATE '2020-02-29'"),
            Kind::Timestamp => format!("{this} IS NULL"),
            Kind::Bool => one(self.env, &[this.clone(), format!("NOT {this}"), format!("{this} IS NOT TRUE")]).clone(),
        }
    }
}
