//! The words of a statement, one after the other, with their places.

use std::ops::Range;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::lake::SCHEMA;
use crate::engine::error::{EngineError, Result};

/// A place in a statement. Comments and spaces are passed over.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    /// How many `>` of the current token were taken, where two of them are one token.
    taken: usize,
}

#[derive(Debug, Clone)]
struct Placed {
    token: Token,
    bytes: Range<usize>,
    line: u64,
    column: u64,
}

/// A table in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    /// Its parts, unquoted; those without quotes in lower case.
    pub(crate) parts: Vec<String>,
    /// Where it stands.
    pub(crate) bytes: Range<usize>,
}

impl TableName {
    /// The name within its schema.
    pub(crate) fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// The path, when the table is named by it: ``delta.`/data/flights` ``.
    pub(crate) fn path(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [format, path] if format == SCHEMA => Some(path),
            _ => None,
        }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

impl<'a> Cursor<'a> {
    /// At the beginning of a statement.
    ///
    /// **Errors**: `Invalid` names the place of a quote that never ends.
    pub(crate) fn new(text: &'a str) -> Result<Self> {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|error| EngineError::Syntax {
            statement: text.to_owned(),
            line: error.location.line,
            column: error.location.column,
            problem: error.message,
        })?;
        let lines = Lines::new(text);
        let placed = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let placed = placed.map(|TokenWithSpan { token, span }| Placed {
            token,
            bytes: lines.offset(span.start)..lines.offset(span.end),
            line: span.start.line,
            column: span.start.column,
        });
        let mut tokens: Vec<Placed> = placed.collect();
        while tokens.last().is_some_and(|last| last.token == Token::SemiColon) {
            tokens.pop();
        }
        Ok(Self { text, tokens, at: 0, taken: 0 })
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(crate) fn place(&self) -> usize {
        self.at
    }

    pub(crate) fn go_to(&mut self, place: usize) {
        self.at = place;
    }

    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    /// Where the current token begins; the end of the statement after the last one.
    pub(crate) fn byte(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end(), |placed| placed.bytes.start)
    }

    /// Where the token before ended.
    pub(crate) fn byte_before(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |placed| placed.bytes.end)
    }

    fn end(&self) -> usize {
        self.tokens.last().map_or(0, |placed| placed.bytes.end)
    }

    /// What is left of the statement.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.byte()..self.end()).unwrap_or_default()
    }

    /// Whether the next words are these, without regard to letter case.
    pub(crate) fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(nth, word)| match self.tokens.get(self.at + nth).map(|placed| &placed.token) {
            Some(Token::Word(found)) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
            _ => false,
        })
    }

    /// Passes these words, if they come next.
    pub(crate) fn takes(&mut self, words: &[&str]) -> bool {
        let sees = self.sees(words);
        if sees {
            self.at += words.len();
        }
        sees
    }

    pub(crate) fn takes_token(&mut self, token: &Token) -> bool {
        let sees = self.token() == Some(token);
        if sees {
            self.at += 1;
        }
        sees
    }

    /// Passes one `>`, also where two stand together.
    pub(crate) fn takes_closing(&mut self) -> bool {
        match self.token() {
            Some(Token::Gt) => self.at += 1,
            Some(Token::ShiftRight) if self.taken == 0 => self.taken = 1,
            Some(Token::ShiftRight) => (self.at, self.taken) = (self.at + 1, 0),
            _ => return false,
        }
        true
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.takes(words) { Ok(()) } else { Err(self.wanted(&words.join(" "))) }
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.takes_token(token) { Ok(()) } else { Err(self.wanted(&format!("`{token}`"))) }
    }

    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.wanted("the end of the statement")) }
    }

    /// A name: in lower case, unless it stands in quotes.
    pub(crate) fn name(&mut self, what: &str) -> Result<String> {
        let name = match self.token() {
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
            Some(Token::Word(word)) => word.value.to_lowercase(),
            _ => return Err(self.wanted(what)),
        };
        self.at += 1;
        Ok(name)
    }

    /// A name as it is written, which is how columns of a table are created.
    pub(crate) fn spelled(&mut self, what: &str) -> Result<String> {
        match self.token() {
            Some(Token::Word(word)) => {
                let name = word.value.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.wanted(what)),
        }
    }

    /// Names with dots between them, as they are written.
    pub(crate) fn column(&mut self) -> Result<String> {
        let mut path = self.spelled("a column")?;
        while self.takes_token(&Token::Period) {
            path.push('.');
            path.push_str(&self.spelled("a column")?);
        }
        Ok(path)
    }

    pub(crate) fn table(&mut self) -> Result<TableName> {
        let start = self.byte();
        let mut parts = vec![self.name("a table")?];
        while self.takes_token(&Token::Period) {
            parts.push(self.name("a table")?);
        }
        Ok(TableName { parts, bytes: start..self.byte_before() })
    }

    /// A table by its name, or by its path in quotes: `'/data/flights'`.
    pub(crate) fn table_or_path(&mut self) -> Result<TableName> {
        let start = self.byte();
        match self.token() {
            Some(Token::SingleQuotedString(_)) => {
                let path = self.string("a path")?;
                Ok(TableName { parts: vec![SCHEMA.to_owned(), path], bytes: start..self.byte_before() })
            }
            _ => self.table(),
        }
    }

    /// The expression that begins here, up to where it cannot go on.
    pub(crate) fn expression(&mut self, what: &str) -> Result<&'a str> {
        let start = self.byte();
        let rest = self.rest();
        let length = expression_length(rest).ok_or_else(|| self.wanted(what))?;
        while self.byte() < start + length && !self.is_at_end() {
            self.at += 1;
        }
        Ok(rest[..length].trim_end())
    }

    /// A text in quotes.
    pub(crate) fn string(&mut self, what: &str) -> Result<String> {
        match self.token() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            Some(Token::Word(word)) if word.quote_style == Some('"') => {
                let text = word.value.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wanted(what)),
        }
    }

    /// A whole number, with or without a sign.
    pub(crate) fn integer(&mut self, what: &str) -> Result<i64> {
        let start = self.at;
        let negative = self.takes_token(&Token::Minus);
        if let Some(Token::Number(digits, _)) = self.token()
            && let Ok(number) = format!("{}{digits}", if negative { "-" } else { "" }).parse()
        {
            self.at += 1;
            return Ok(number);
        }
        self.at = start;
        Err(self.wanted(what))
    }

    /// A number from 0 on, with or without a fraction.
    pub(crate) fn fraction(&mut self, what: &str) -> Result<f64> {
        if let Some(Token::Number(digits, _)) = self.token()
            && let Ok(number) = digits.parse()
        {
            self.at += 1;
            return Ok(number);
        }
        Err(self.wanted(what))
    }

    /// The text in parentheses that comes next.
    pub(crate) fn parenthesised(&mut self) -> Result<&'a str> {
        self.expect_token(&Token::LParen)?;
        let start = self.byte();
        self.pass_to_closing()?;
        Ok(self.text.get(start..self.tokens[self.at - 1].bytes.start).unwrap_or_default().trim())
    }

    /// Goes behind the parenthesis that closes the one that was passed.
    pub(crate) fn pass_to_closing(&mut self) -> Result<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.token() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                None => return Err(self.wanted("`)`")),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The text up to one of these words outside of parentheses, a comma or a closing parenthesis, or the end.
    pub(crate) fn text_until(&mut self, words: &[&str]) -> Result<&'a str> {
        let start = self.byte();
        loop {
            match self.token() {
                None | Some(Token::Comma | Token::RParen) => break,
                Some(Token::LParen) => {
                    self.at += 1;
                    self.pass_to_closing()?;
                }
                Some(_) if words.iter().any(|word| self.sees(&[word])) => break,
                Some(_) => self.at += 1,
            }
        }
        let text = self.text.get(start..self.byte_before().max(start)).unwrap_or_default().trim();
        if text.is_empty() { Err(self.wanted("an expression")) } else { Ok(text) }
    }

    /// The error of something else standing here.
    pub(crate) fn wanted(&self, what: &str) -> EngineError {
        let found = match self.tokens.get(self.at) {
            Some(placed) => format!("`{}`", self.text.get(placed.bytes.clone()).unwrap_or_default()),
            None => "the end".to_owned(),
        };
        self.problem(format!("expected {what}, found {found}"))
    }

    /// Where the current token begins, or the statement ends: the line, and the character of it, both from 1.
    pub(crate) fn line_and_column(&self) -> (u64, u64) {
        match self.tokens.get(self.at) {
            Some(placed) => (placed.line, placed.column),
            None => {
                let lines = self.text.lines().count().max(1) as u64;
                (lines, self.text.lines().last().map_or(0, |line| line.chars().count()) as u64 + 1)
            }
        }
    }

    /// The error of something being wrong here.
    pub(crate) fn problem(&self, problem: String) -> EngineError {
        let (line, column) = self.line_and_column();
        EngineError::Syntax { statement: self.text.to_owned(), line, column, problem }
    }
}

/// How many bytes the expression at the beginning of a text takes, with the spaces behind it.
fn expression_length(text: &str) -> Option<usize> {
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).ok()?;
    parser.parse_expr().ok()?;
    let next = parser.peek_token();
    Some(if next.token == Token::EOF { text.len() } else { Lines::new(text).offset(next.span.start) })
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The byte at a line and a character of it, both counted from 1.
    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).saturating_sub(1);
        let Some(start) = self.starts.get(line).copied() else { return self.text.len() };
        let nth = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
        let rest = self.text.get(start..).unwrap_or_default();
        rest.char_indices().nth(nth).map_or(self.text.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_pieces_are_cut_as_they_stand() {
        let mut cursor = Cursor::new("CREATE -- a comment\n  Table `Ünter x`.T (a INT DEFAULT (1 + 2), b)").unwrap();
        assert!(cursor.takes(&["create", "TABLE"]));
        assert_eq!(cursor.table().unwrap().parts, ["Ünter x", "t"]);
        cursor.expect_token(&Token::LParen).unwrap();
        assert_eq!((cursor.spelled("a").unwrap(), cursor.takes(&["INT", "DEFAULT"])), ("a".to_owned(), true));
        assert_eq!(cursor.text_until(&[]).unwrap(), "(1 + 2)");
        assert_eq!(cursor.rest(), ", b)");
    }

    #[test]
    fn an_expression_ends_where_it_cannot_go_on() {
        let mut cursor = Cursor::new("now() -\n INTERVAL '1 day' AS t WHERE").unwrap();
        assert_eq!(cursor.expression("a time").unwrap(), "now() -\n INTERVAL '1 day'");
        assert!(cursor.takes(&["AS", "T", "WHERE"]) && cursor.is_at_end());
        let mut all = Cursor::new("'2026-01-01';").unwrap();
        assert_eq!(all.expression("a time").unwrap(), "'2026-01-01'");
        assert!(all.is_at_end());
        assert!(Cursor::new(") t").unwrap().expression("a time").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let mut cursor = Cursor::new("VACUUM t\n  RETAIN many HOURS").unwrap();
        cursor.expect(&["VACUUM"]).unwrap();
        cursor.table().unwrap();
        cursor.expect(&["RETAIN"]).unwrap();
        let error = cursor.integer("a number of hours").unwrap_err().to_string();
        assert!(error.contains("line 2, column 10") && error.contains("expected a number of hours, found `many`"), "{error}");
        assert!(matches!(Cursor::new("SELECT 'never ends"), Err(EngineError::Syntax { line: 1, .. })));
    }
}
