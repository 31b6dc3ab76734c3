//! The search filter: text → comparisons, without knowing what is searched.
//!
//! ```text
//! filter     := ε | comparison (AND comparison)*
//! comparison := key operator value | key IS [NOT] NULL | key [NOT] IN ( value, … )
//! key        := part ('.' part)*          metrics.auc   tags."a key"   attributes.`start time`   run_name
//! operator   := = != < <= > >= LIKE ILIKE
//! value      := 'text' | "text" | number
//! ```
//! There is no OR, and brackets stand only around lists. Key words are read in any case.
//!
//! **Source**: MLflow documentation, "Search Runs", syntax of the filter string.

mod lexer;
mod parser;

use std::fmt;

use crate::error::Result;

/// A filter: all of its comparisons hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// In the order they were written; empty means everything.
    pub comparisons: Vec<Comparison>,
}

impl std::str::FromStr for Filter {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self> {
        parser::filter(text)
    }
}

/// One comparison of a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is compared.
    pub key: Key,
    /// How.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// A key: everything before the first dot may name a group (`metrics`, `tags`), the rest is the name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What stands before the first unquoted dot, if there is one.
    pub group: Option<String>,
    /// The rest, without quotes.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}.")?;
        }
        f.write_str(&self.name)
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `LIKE`: `%` any text, `_` any character; letters must agree in case.
    Like,
    /// `ILIKE`: as `LIKE`, in any case.
    ILike,
    /// `IN`
    In,
    /// `NOT IN`
    NotIn,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
}

impl Operator {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
            Self::ILike => "ILIKE",
            Self::In => "IN",
            Self::NotIn => "NOT IN",
            Self::IsNull => "IS NULL",
            Self::IsNotNull => "IS NOT NULL",
        }
    }
}

/// The right side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `IS NULL` has none.
    Nothing,
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text, without its quotes.
    Text(String),
    /// The list of `IN`, of texts and numbers.
    List(Vec<Operand>),
}

/// One clause of a sort order: `metrics.auc DESC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// What is sorted by.
    pub key: Key,
    /// Which end comes first.
    pub direction: Direction,
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

impl std::str::FromStr for OrderBy {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self> {
        parser::order_by(text)
    }
}

#[cfg(test)]
mod tests;
