//! Tokens → comparisons.

use super::lexer::{Kind, Token, tokens};
use super::{Comparison, Direction, Filter, Key, Operand, Operator, OrderBy};
use crate::error::{Error, Result};

pub(super) fn filter(text: &str) -> Result<Filter> {
    let mut parser = Parser::new(text);
    let mut comparisons = Vec::new();
    if parser.peek() == &Kind::End {
        return Ok(Filter::default());
    }
    loop {
        comparisons.push(parser.comparison()?);
        match parser.peek() {
            Kind::End => return Ok(Filter { comparisons }),
            Kind::Word(w) if w.eq_ignore_ascii_case("and") => parser.advance(),
            Kind::Word(w) if w.eq_ignore_ascii_case("or") => {
                return Err(parser.unexpected("AND: a filter has no OR; search once for each side"));
            }
            _ => return Err(parser.unexpected("AND or the end of the filter")),
        }
    }
}

pub(super) fn order_by(text: &str) -> Result<OrderBy> {
    let wrong = |expected| Error::OrderBy { clause: text.to_owned(), expected };
    let mut parser = Parser::new(text);
    let key = parser.key().map_err(|_| wrong("a key such as `metrics.auc` or `attributes.start_time`"))?;
    let direction = match parser.peek() {
        Kind::End => return Ok(OrderBy { key, direction: Direction::Ascending }),
        Kind::Word(w) if w.eq_ignore_ascii_case("asc") => Direction::Ascending,
        Kind::Word(w) if w.eq_ignore_ascii_case("desc") => Direction::Descending,
        _ => return Err(wrong("ASC, DESC or nothing after the key")),
    };
    parser.advance();
    match parser.peek() {
        Kind::End => Ok(OrderBy { key, direction }),
        _ => Err(wrong("nothing after ASC or DESC: pass one clause for each key")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, tokens: tokens(text), next: 0 }
    }

    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |t| &t.kind)
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    fn unexpected(&self, expected: &str) -> Error {
        let token = self.tokens.get(self.next).or(self.tokens.last());
        Error::Filter {
            filter: self.text.to_owned(),
            position: token.map_or(1, |t| t.at),
            found: token.map_or_else(String::new, |t| t.kind.describe()),
            expected: expected.to_owned(),
        }
    }

    fn comparison(&mut self) -> Result<Comparison> {
        let key = self.key()?;
        let operator = self.operator()?;
        let operand = match operator {
            Operator::IsNull | Operator::IsNotNull => Operand::Nothing,
            Operator::In | Operator::NotIn => self.list()?,
            _ => self.value()?,
        };
        Ok(Comparison { key, operator, operand })
    }

    /// A word up to its first dot is the group. A quoted part touches the dot before it.
    fn key(&mut self) -> Result<Key> {
        const EXPECTED: &str = "a key such as metrics.auc, params.\"my key\" or attributes.run_name";
        let first = self.peek().clone();
        match first {
            Kind::Word(word) => {
                let Some((group, rest)) = word.split_once('.') else {
                    self.advance();
                    return Ok(Key { group: None, name: word });
                };
                let (group, mut name) = (group.to_owned(), rest.to_owned());
                if group.is_empty() {
                    return Err(self.unexpected(EXPECTED));
                }
                self.advance();
                // `tags.` followed by a quoted name.
                if name.is_empty() {
                    match self.peek() {
                        Kind::Double(quoted) | Kind::Back(quoted) => name = quoted.clone(),
                        _ => return Err(self.unexpected("a name after the dot; quote it with \" or ` if it has odd characters")),
                    }
                    self.advance();
                }
                Ok(Key { group: Some(group), name })
            }
            Kind::Double(name) | Kind::Back(name) => {
                self.advance();
                // A quoted group: `tags`.`key` or "tags".key
                if let Kind::Word(word) = self.peek()
                    && let Some(rest) = word.strip_prefix('.')
                {
                    let rest = rest.to_owned();
                    self.advance();
                    if !rest.is_empty() {
                        return Ok(Key { group: Some(name), name: rest });
                    }
                    if let Kind::Double(quoted) | Kind::Back(quoted) = self.peek().clone() {
                        self.advance();
                        return Ok(Key { group: Some(name), name: quoted });
                    }
                    return Err(self.unexpected("a name after the dot"));
                }
                Ok(Key { group: None, name })
            }
            _ => Err(self.unexpected(EXPECTED)),
        }
    }

    fn operator(&mut self) -> Result<Operator> {
        const EXPECTED: &str = "a comparison: = != < <= > >= LIKE ILIKE IN, NOT IN, IS NULL or IS NOT NULL";
        let operator = match self.peek() {
            Kind::Mark("=") => Operator::Equal,
            Kind::Mark("!=") => Operator::NotEqual,
            Kind::Mark("<") => Operator::Less,
            Kind::Mark("<=") => Operator::LessOrEqual,
            Kind::Mark(">") => Operator::Greater,
            Kind::Mark(">=") => Operator::GreaterOrEqual,
            Kind::Word(w) => match w.to_ascii_lowercase().as_str() {
                "like" => Operator::Like,
                "ilike" => Operator::ILike,
                "in" => Operator::In,
                "not" => {
                    self.advance();
                    self.word("in", "IN after NOT")?;
                    return Ok(Operator::NotIn);
                }
                "is" => {
                    self.advance();
                    if matches!(self.peek(), Kind::Word(w) if w.eq_ignore_ascii_case("not")) {
                        self.advance();
                        self.word("null", "NULL after IS NOT")?;
                        return Ok(Operator::IsNotNull);
                    }
                    self.word("null", "NULL or NOT NULL after IS")?;
                    return Ok(Operator::IsNull);
                }
                _ => return Err(self.unexpected(EXPECTED)),
            },
            _ => return Err(self.unexpected(EXPECTED)),
        };
        self.advance();
        Ok(operator)
    }

    fn word(&mut self, word: &str, expected: &str) -> Result<()> {
        match self.peek() {
            Kind::Word(w) if w.eq_ignore_ascii_case(word) => {
                self.advance();
                Ok(())
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn value(&mut self) -> Result<Operand> {
        let value = match self.peek() {
            Kind::Single(text) | Kind::Double(text) => Operand::Text(text.clone()),
            Kind::Word(word) => match number(word) {
                Some(number) => number,
                None => return Err(self.unexpected("a number, or text in quotes such as 'my-value'")),
            },
            _ => return Err(self.unexpected("a number, or text in quotes such as 'my-value'")),
        };
        self.advance();
        Ok(value)
    }

    fn list(&mut self) -> Result<Operand> {
        if self.peek() != &Kind::Mark("(") {
            return Err(self.unexpected("( and a list of values"));
        }
        self.advance();
        let mut values = vec![self.value()?];
        loop {
            match self.peek() {
                Kind::Mark(",") => self.advance(),
                Kind::Mark(")") => {
                    self.advance();
                    return Ok(Operand::List(values));
                }
                _ => return Err(self.unexpected(", or )")),
            }
            // A trailing comma is how Python writes a tuple of one.
            if self.peek() == &Kind::Mark(")") {
                continue;
            }
            values.push(self.value()?);
        }
    }
}

/// Only plain decimal numbers: `inf` and `nan` are words here.
fn number(word: &str) -> Option<Operand> {
    if !word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    if let Ok(int) = word.parse() {
        return Some(Operand::Int(int));
    }
    word.parse().ok().map(Operand::Float)
}
