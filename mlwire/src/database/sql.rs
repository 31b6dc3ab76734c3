//! A statement with its values, written once for all dialects.

use super::Dialect;

/// A statement: static text with a `?` for every value.
///
/// Text can only be `&'static str`: what a user typed has no way into a statement but as a bound value.
/// In the text a `?` is always a value; a literal question mark must be bound.
///
/// # Example
/// ```
/// use boathouse_mlwire::{Dialect, Sql};
///
/// let mut sql = Sql::new("SELECT * FROM runs WHERE status = ?").bind("FINISHED");
/// sql.push(" AND run_id IN ").push_list(["a", "b"]);
/// assert_eq!(sql.text(Dialect::Sqlite), "SELECT * FROM runs WHERE status = ? AND run_id IN (?, ?)");
/// assert_eq!(sql.text(Dialect::Postgres), "SELECT * FROM runs WHERE status = $1 AND run_id IN ($2, $3)");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Sql {
    text: String,
    binds: Vec<Bind>,
}

/// A value of a statement. Nulls have a type, because PostgreSQL asks for one.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// A whole number.
    Int(Option<i64>),
    /// A floating-point number.
    Real(Option<f64>),
    /// Text.
    Text(Option<String>),
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Bind {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value.into()))
            }
        }
        impl From<Option<$type>> for Bind {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )*};
}

from!(i64 => Int, i32 => Int, u32 => Int, bool => Int, f64 => Real, String => Text, &str => Text, &String => Text);

impl Sql {
    /// A statement.
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), binds: Vec::new() }
    }

    /// Gives the next `?` its value.
    pub fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.binds.push(value.into());
        self
    }

    /// Appends text.
    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends text, and gives its `?` a value.
    pub fn push_with(&mut self, text: &'static str, value: impl Into<Bind>) -> &mut Self {
        self.text.push_str(text);
        self.binds.push(value.into());
        self
    }

    /// Appends `(?, ?, …)` with these values; an empty list matches nothing.
    pub fn push_list<V: Into<Bind>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        self.text.push('(');
        let before = self.binds.len();
        for value in values {
            self.text.push_str(if self.binds.len() == before { "?" } else { ", ?" });
            self.binds.push(value.into());
        }
        self.text.push_str(if self.binds.len() == before { "NULL)" } else { ")" });
        self
    }

    /// Appends another piece.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.binds.extend(other.binds);
        self
    }

    /// Appends ` LIMIT ? OFFSET ?`.
    pub fn push_limit(&mut self, limit: usize, offset: usize) -> &mut Self {
        let number = |n| i64::try_from(n).unwrap_or(i64::MAX);
        self.push_with(" LIMIT ?", number(limit)).push_with(" OFFSET ?", number(offset))
    }

    /// Locks the selected rows until the transaction ends. SQLite's writer is alone anyway.
    pub fn for_update(mut self, dialect: Dialect) -> Self {
        if dialect == Dialect::Postgres {
            self.text.push_str(" FOR UPDATE");
        }
        self
    }

    /// The text as `dialect` reads it.
    pub fn text(&self, dialect: Dialect) -> String {
        if dialect == Dialect::Sqlite {
            return self.text.clone();
        }
        let mut numbered = String::with_capacity(self.text.len() + 2 * self.binds.len());
        for (i, piece) in self.text.split('?').enumerate() {
            if i > 0 {
                numbered.push_str(&format!("${i}"));
            }
            numbered.push_str(piece);
        }
        numbered
    }

    /// The values, in order.
    pub fn binds(&self) -> &[Bind] {
        &self.binds
    }

    pub(crate) fn into_binds(self) -> Vec<Bind> {
        self.binds
    }
}
