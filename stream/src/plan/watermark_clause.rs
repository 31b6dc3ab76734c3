//! `FROM STREAM source WATERMARK ts DELAY OF INTERVAL 10 MINUTES [AS s]`: the clause becomes a subquery that the engine can parse, which
//! calls a [function](super::follow) on the event time.
//!
//! | written | read as |
//! | --- | --- |
//! | `t WATERMARK ts DELAY OF INTERVAL 1 MINUTE` | `(SELECT * REPLACE (__watermark(ts, 60000000) AS ts) FROM t) AS t` |
//! | `t WATERMARK to_timestamp(x) AS ts DELAY OF INTERVAL 1 MINUTE AS s` | `(SELECT *, __watermark(to_timestamp(x), 60000000) AS ts FROM t) AS s` |
//! | `STREAM t`, `STREAM(t)` | `t` |
//!
//! **Source**: Databricks SQL, `WATERMARK` clause and `STREAM`.

use std::ops::Range;

use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::follow::FOLLOW;

/// What is wrong with a clause, and where: line and column, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) problem: String,
}

/// Words that end a relation: what stands before one of them is no event time.
const ENDS: [&str; 31] = [
    "WHERE",
    "GROUP",
    "ON",
    "USING",
    "JOIN",
    "LEFT",
    "RIGHT",
    "INNER",
    "FULL",
    "CROSS",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "AS",
    "NATURAL",
    "WINDOW",
    "QUALIFY",
    "FROM",
    "SEMI",
    "ANTI",
    "LATERAL",
    "ASC",
    "DESC",
    "THEN",
    "END",
    "TABLESAMPLE",
];

/// A statement without its clauses; as it is when it has none. `names_stream` says whether there is a table named `stream`, so that the
/// word is no keyword.
///
/// **Errors**: when a clause is not complete, or its delay no length of time.
pub(crate) fn without_clauses(statement: &str, names_stream: bool) -> Result<String, Mistake> {
    let Some(words) = Words::of(statement) else {
        // The engine says what cannot be read, and where.
        return Ok(statement.to_owned());
    };
    for at in words.clauses() {
        Clause::parse(&words, at)?;
    }
    let mut words = words;
    while let Some(at) = words.clauses().pop() {
        let clause = Clause::parse(&words, at)?;
        words = match Words::of(&words.replaced(&clause)) {
            Some(replaced) => replaced,
            None => return Ok(statement.to_owned()),
        };
    }
    Ok(if names_stream { words.text(0..words.all.len()) } else { words.without_stream() })
}

/// The words of a statement.
struct Words {
    all: Vec<TokenWithSpan>,
    /// Those that are not space.
    said: Vec<usize>,
}

impl Words {
    fn of(statement: &str) -> Option<Self> {
        // Texts stay as they are written: they are put together again.
        let all = Tokenizer::new(&GenericDialect {}, statement).with_unescape(false).tokenize_with_location().ok()?;
        let said = (0..all.len()).filter(|at| !matches!(all[*at].token, Token::Whitespace(_) | Token::EOF)).collect();
        Some(Self { all, said })
    }

    fn token(&self, at: usize) -> Option<&Token> {
        self.said.get(at).map(|at| &self.all[*at].token)
    }

    /// The word at a place, unless it is in quotes.
    fn word(&self, at: usize) -> Option<&str> {
        match self.token(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    fn is_name(&self, at: usize) -> bool {
        let ends = |word: &str| ENDS.iter().any(|end| word.eq_ignore_ascii_case(end));
        matches!(self.token(at), Some(Token::Word(_))) && !self.word(at).is_some_and(ends)
    }

    fn text(&self, range: Range<usize>) -> String {
        self.all[range].iter().filter(|token| token.token != Token::EOF).map(|token| token.token.to_string()).collect()
    }

    /// The text from one word up to another, without the latter.
    fn between(&self, from: usize, to: usize) -> String {
        let index = |at: usize| self.said.get(at).copied().unwrap_or(self.all.len());
        self.text(index(from)..index(to))
    }

    fn mistake(&self, at: usize, problem: impl Into<String>) -> Mistake {
        let token = self.said.get(at).or(self.said.last()).and_then(|at| self.all.get(*at));
        let place = token.map(|token| if at < self.said.len() { token.span.start } else { token.span.end });
        let (line, column) = place.map_or((1, 1), |place| (place.line, place.column));
        Mistake { line, column, problem: problem.into() }
    }

    fn found(&self, at: usize) -> String {
        self.token(at).map_or_else(|| "the end".to_owned(), |token| format!("`{token}`"))
    }

    /// Where the relation begins that ends before a word; `None` when none does.
    fn relation(&self, end: usize) -> Option<usize> {
        let last = end.checked_sub(1)?;
        let mut first = last;
        if self.token(last) == Some(&Token::RParen) {
            let mut depth = 0_usize;
            loop {
                match self.token(first) {
                    Some(Token::RParen) => depth += 1,
                    Some(Token::LParen) => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                first = first.checked_sub(1)?;
            }
        } else {
            if !self.is_name(last) {
                return None;
            }
            while first >= 2 && self.token(first - 1) == Some(&Token::Period) && self.is_name(first - 2) {
                first -= 2;
            }
        }
        let mut before = first.checked_sub(1)?;
        if self.is(before, "STREAM") {
            first = before;
            before = before.checked_sub(1)?;
        }
        (self.is(before, "FROM") || self.is(before, "JOIN") || self.token(before) == Some(&Token::Comma)).then_some(first)
    }

    /// The places of all clauses.
    fn clauses(&self) -> Vec<usize> {
        let is_clause = |at: &usize| {
            let begins = self.is_name(at + 1) || matches!(self.token(at + 1), Some(Token::LParen));
            self.is(*at, "WATERMARK") && begins && self.relation(*at).is_some()
        };
        (0..self.said.len()).filter(is_clause).collect()
    }

    fn replaced(&self, clause: &Clause) -> String {
        let relation = self.between(clause.relation, clause.at);
        let (event_time, delay_us) = (&clause.event_time, clause.delay_us);
        let columns = match &clause.name {
            Some(name) => format!("*, {FOLLOW}({event_time}, {delay_us}) AS {name}"),
            None => format!("* REPLACE ({FOLLOW}({event_time}, {delay_us}) AS {})", clause.column),
        };
        let alias = clause.alias.as_ref().map_or_else(String::new, |alias| format!(" AS {alias}"));
        let (before, after) = (self.between(0, clause.relation), self.between(clause.end, self.said.len()));
        format!("{before}(SELECT {columns} FROM {}){alias} {after}", relation.trim_end())
    }

    /// The text without the keyword `STREAM` before a relation.
    fn without_stream(&self) -> String {
        let mut left_out = Vec::new();
        for at in 1..self.said.len() {
            let in_from = self.is(at - 1, "FROM") || self.is(at - 1, "JOIN") || self.token(at - 1) == Some(&Token::Comma);
            if !self.is(at, "STREAM") || !in_from {
                continue;
            }
            if self.is_name(at + 1) {
                left_out.push(self.said[at]);
            } else if self.token(at + 1) == Some(&Token::LParen) && self.is_name(at + 2) && !self.is(at + 2, "SELECT") {
                let close = (at + 2..self.said.len()).find(|close| self.token(*close) == Some(&Token::RParen));
                left_out.extend([at, at + 1].map(|at| self.said[at]));
                left_out.extend(close.map(|close| self.said[close]));
            }
        }
        let kept = |(at, token): (usize, &TokenWithSpan)| {
            (!left_out.contains(&at) && token.token != Token::EOF).then(|| token.token.to_string())
        };
        self.all.iter().enumerate().filter_map(kept).collect()
    }
}

/// A clause, by the places of its words.
struct Clause {
    at: usize,
    relation: usize,
    event_time: String,
    /// The column that the event time is, where it is one.
    column: String,
    /// The name of an event time that is computed.
    name: Option<String>,
    delay_us: i64,
    /// Of the relation, where the statement gives none.
    alias: Option<String>,
    end: usize,
}

impl Clause {
    fn parse(words: &Words, at: usize) -> Result<Self, Mistake> {
        let relation = words.relation(at).ok_or_else(|| words.mistake(at, "WATERMARK stands after a table of FROM"))?;
        let (mut next, mut depth) = (at + 1, 0_usize);
        // A column may be named `delay`.
        let ends_time = |word: usize| words.is(word, "DELAY") && (word > at + 1 || words.is(word + 1, "OF"));
        while let Some(token) = words.token(next) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => break,
                Token::RParen => depth -= 1,
                Token::Comma | Token::SemiColon if depth == 0 => break,
                _ if depth == 0 && (ends_time(next) || words.is(next, "AS")) => break,
                _ => {}
            }
            next += 1;
        }
        if next == at + 1 {
            return Err(words.mistake(next, format!("expected the event time after WATERMARK, and found {}", words.found(next))));
        }
        let event_time = words.between(at + 1, next).trim().to_owned();
        // As the engine writes names that are not in quotes.
        let column = words.word(next - 1).map_or_else(|| words.between(next - 1, next).trim().to_owned(), str::to_lowercase);
        // Names with points between them.
        let is_column = (at + 1..next).all(|word| match (word - at) % 2 {
            1 => matches!(words.token(word), Some(Token::Word(_))),
            _ => words.token(word) == Some(&Token::Period),
        });
        let mut name = None;
        if words.is(next, "AS") {
            if !words.is_name(next + 1) {
                return Err(
                    words.mistake(next + 1, format!("expected the name of the event time, and found {}", words.found(next + 1)))
                );
            }
            name = Some(words.between(next + 1, next + 2).trim().to_owned());
            next += 2;
        }
        for word in ["DELAY", "OF", "INTERVAL"] {
            if !words.is(next, word) {
                return Err(words.mistake(
                    next,
                    format!(
                        "expected {word} of `WATERMARK {event_time} DELAY OF INTERVAL 10 MINUTES`, and found {}",
                        words.found(next)
                    ),
                ));
            }
            next += 1;
        }
        if name.is_none() && !is_column {
            let problem = format!(
                "the event time `{event_time}` is computed and needs a name: `WATERMARK {event_time} AS event_time DELAY OF …` \
                 [REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE]"
            );
            return Err(words.mistake(at + 1, problem));
        }
        let (delay_us, end) = delay(words, next)?;
        let has_alias = words.is(end, "AS") || words.is_name(end);
        let of_table = || Some(words.between(at - 1, at).trim().to_owned());
        let alias = if has_alias || words.token(at - 1) == Some(&Token::RParen) { None } else { of_table() };
        // `STREAM(t)` is named as `t` is.
        let in_parentheses = words.is(relation, "STREAM") && words.token(at - 1) == Some(&Token::RParen) && !has_alias;
        let alias = if in_parentheses { Some(words.between(at - 2, at - 1).trim().to_owned()) } else { alias };
        Ok(Self { at, relation, event_time, column, name, delay_us, alias, end })
    }
}

/// A delay in microseconds, and where it ends: `10 MINUTES`, `'10' MINUTES`, `'10 minutes'`, `1 HOUR 30 MINUTES`.
fn delay(words: &Words, begin: usize) -> Result<(i64, usize), Mistake> {
    let (mut text, mut next) = (String::new(), begin);
    loop {
        let value = match words.token(next) {
            Some(Token::Number(number, _)) => number.clone(),
            Some(Token::SingleQuotedString(value)) => value.clone(),
            Some(Token::Minus) if next == begin => {
                return Err(words.mistake(next, "a delay is not negative"));
            }
            _ if next == begin => {
                return Err(
                    words.mistake(next, format!("expected a length of time as `10 MINUTES`, and found {}", words.found(next)))
                );
            }
            _ => break,
        };
        next += 1;
        text.push_str(&value);
        text.push(' ');
        if value.trim().parse::<f64>().is_ok() {
            let Some(unit) = words.word(next).filter(|_| words.is_name(next)) else {
                return Err(words.mistake(next, format!("expected a unit after `{value}`, and found {}", words.found(next))));
            };
            text.push_str(unit);
            text.push(' ');
            next += 1;
        }
    }
    let text = text.trim();
    let interval = parse_interval_month_day_nano(text)
        .map_err(|_| words.mistake(begin, format!("`{text}` is not a length of time; write one as `10 MINUTES`")))?;
    let us = i64::from(interval.days).checked_mul(86_400_000_000).and_then(|days| days.checked_add(interval.nanoseconds / 1_000));
    match us.filter(|us| interval.months == 0 && *us >= 0) {
        Some(us) => Ok((us, next)),
        None => {
            Err(words.mistake(begin, format!("`{text}` is no fixed length of time from zero on: months have no fixed length")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> String {
        match without_clauses(statement, false) {
            Ok(read) => read.split_whitespace().collect::<Vec<_>>().join(" "),
            Err(Mistake { line, column, problem }) => format!("{line}:{column} {problem}"),
        }
    }

    #[test]
    fn a_clause_becomes_a_subquery_by_the_name_of_its_table() {
        for (written, expected) in [
            (
                "SELECT * FROM STREAM source WATERMARK ts DELAY OF INTERVAL 10 MINUTES WHERE x = 'it''s'",
                "SELECT * FROM (SELECT * REPLACE (__watermark(ts, 600000000) AS ts) FROM source) AS source WHERE x = 'it''s'",
            ),
            (
                "select 1 from a.b watermark to_timestamp(x, 'y') as ts delay of interval '1 hour 30 minutes' as s",
                "select 1 from (SELECT *, __watermark(to_timestamp(x, 'y'), 5400000000) AS ts FROM a.b) as s",
            ),
            (
                "SELECT 1 FROM STREAM(a) WATERMARK t DELAY OF INTERVAL '1' DAY, b WATERMARK b.t DELAY OF INTERVAL 1 HOUR 1 SECOND x",
                "SELECT 1 FROM (SELECT * REPLACE (__watermark(t, 86400000000) AS t) FROM a) AS a , (SELECT * REPLACE \
                 (__watermark(b.t, 3601000000) AS t) FROM b) x",
            ),
            (
                "SELECT 1 FROM (SELECT * FROM a WATERMARK t DELAY OF INTERVAL 1 SECOND) WATERMARK u DELAY OF INTERVAL 2 SECONDS",
                "SELECT 1 FROM (SELECT * REPLACE (__watermark(u, 2000000) AS u) FROM (SELECT * FROM (SELECT * REPLACE (__watermark(t, \
                 1000000) AS t) FROM a) AS a ))",
            ),
        ] {
            assert_eq!(read(written), expected);
        }
    }

    #[test]
    fn what_is_no_clause_stays() {
        for written in [
            "SELECT watermark, a watermark FROM source watermark WHERE watermark > 1 ORDER BY a, watermark DESC",
            "SELECT watermark.x FROM source AS watermark JOIN b ON watermark.k = b.k",
            "SELECT 'FROM t WATERMARK ts DELAY' FROM \"WATERMARK\"",
            "SELECT 'open",
        ] {
            assert_eq!(read(written), written);
        }
        assert_eq!(without_clauses("SELECT * FROM stream s", true).unwrap(), "SELECT * FROM stream s");
        assert_eq!(read("SELECT * FROM STREAM s JOIN STREAM(t) ON 1 = 1"), "SELECT * FROM s JOIN t ON 1 = 1");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (written, expected) in [
            (
                "SELECT *\nFROM source WATERMARK ts INTERVAL 10 MINUTES",
                "2:45 expected DELAY of `WATERMARK ts INTERVAL 10 MINUTES DELAY OF INTERVAL 10 MINUTES`, and found the end",
            ),
            (
                "SELECT * FROM source WATERMARK ts DELAY INTERVAL 10 MINUTES",
                "1:41 expected OF of `WATERMARK ts DELAY OF INTERVAL 10 MINUTES`, and found `INTERVAL`",
            ),
            (
                "SELECT * FROM source WATERMARK ts DELAY OF INTERVAL MINUTES",
                "1:53 expected a length of time as `10 MINUTES`, and found `MINUTES`",
            ),
            (
                "SELECT * FROM source WATERMARK DELAY OF INTERVAL 1 DAY",
                "1:32 expected the event time after WATERMARK, and found `DELAY`",
            ),
            ("SELECT * FROM source WATERMARK ts DELAY OF INTERVAL 10", "1:55 expected a unit after `10`, and found the end"),
            ("SELECT * FROM source WATERMARK ts DELAY OF INTERVAL -1 DAY", "1:53 a delay is not negative"),
            (
                "SELECT * FROM source WATERMARK ts DELAY OF INTERVAL 1 MONTH",
                "1:53 `1 MONTH` is no fixed length of time from zero on: months have no fixed length",
            ),
            (
                "SELECT * FROM source WATERMARK ts DELAY OF INTERVAL 1 APPLE",
                "1:53 `1 APPLE` is not a length of time; write one as `10 MINUTES`",
            ),
            (
                "SELECT * FROM source WATERMARK f(ts) DELAY OF INTERVAL 1 DAY",
                "1:32 the event time `f(ts)` is computed and needs a name: `WATERMARK f(ts) AS event_time DELAY OF …` \
                 [REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE]",
            ),
        ] {
            assert_eq!(read(written), expected);
        }
    }
}
