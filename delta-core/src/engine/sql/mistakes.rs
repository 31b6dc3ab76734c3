//! What somebody wrote who made a mistake: the place of it in the statement, and what may have been meant.

use boathouse_frames::find_cause;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::engine::error::EngineError;
use crate::engine::nearest::nearest;

/// The error as one of the statement that somebody wrote, whatever it became on the way: with the place of a column that is not there,
/// or of what cannot be read.
pub(super) fn explained(mut error: EngineError, statement: &str) -> EngineError {
    if let EngineError::Plan { statement: planned, source } = &error {
        if let Some(column) = find_cause::<SchemaError>(source).and_then(missing) {
            return no_such_column(column, statement);
        }
        if let Some(ParserError::ParserError(problem) | ParserError::TokenizerError(problem)) = find_cause(source) {
            return unread(problem, planned, statement);
        }
    }
    if let Some(text) = error.statement_mut() {
        statement.clone_into(text);
    }
    error
}

/// A column that a query names, and the tables do not have.
pub(super) struct MissingColumn<'a> {
    pub(super) name: &'a str,
    known: &'a [Column],
}

/// The column that is not there, if that is what is wrong.
pub(super) fn missing_column(error: &DataFusionError) -> Option<MissingColumn<'_>> {
    match error.find_root() {
        DataFusionError::SchemaError(found, _) => missing(found),
        _ => None,
    }
}

fn missing(error: &SchemaError) -> Option<MissingColumn<'_>> {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => Some(MissingColumn { name: &field.name, known: valid_fields }),
        _ => None,
    }
}

fn no_such_column(column: MissingColumn<'_>, statement: &str) -> EngineError {
    let (line, place) = place_of_name(column.name, statement).unwrap_or(START);
    let mut names: Vec<&str> = column.known.iter().map(|known| known.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    EngineError::NoSuchColumn {
        statement: statement.to_owned(),
        line,
        place,
        column: column.name.to_owned(),
        nearest: nearest(column.name, names).unwrap_or_else(|| "no columns can be named here".to_owned()),
    }
}

/// Where a statement begins.
const START: (u64, u64) = (1, 1);

/// Line and character of the first word that is this name.
fn place_of_name(name: &str, statement: &str) -> Option<(u64, u64)> {
    let mut cursor = Cursor::new(statement).ok()?;
    while !cursor.is_at_end() {
        if matches!(cursor.token(), Some(Token::Word(word)) if word.value.eq_ignore_ascii_case(name)) {
            return Some(cursor.line_and_column());
        }
        cursor.skip();
    }
    None
}

/// A problem with a piece of the statement.
pub(super) fn at(statement: &str, piece: &str, problem: String) -> EngineError {
    let (line, column) = statement.find(piece).map_or(START, |byte| line_and_column(statement, byte));
    EngineError::Syntax { statement: statement.to_owned(), line, column, problem }
}

fn line_and_column(text: &str, byte: usize) -> (u64, u64) {
    let before = &text[..byte];
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() as u64 + 1, line.chars().count() as u64 + 1)
}

/// The place that the parser names, in the statement as it was written: what only Delta knows had been taken out before.
fn unread(problem: &str, planned: &str, statement: &str) -> EngineError {
    let (problem, place) = problem.rsplit_once(" at Line: ").unwrap_or((problem, ""));
    let place = place.split_once(", Column: ").and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    let place = place.and_then(|place| moved(place, planned, statement));
    let (line, column) = place.unwrap_or_else(|| end(statement));
    EngineError::Syntax { statement: statement.to_owned(), line, column, problem: lowered(problem) }
}

/// The same word in the statement as it was written: as often as it came before there, it comes before here.
fn moved(place: (u64, u64), planned: &str, statement: &str) -> Option<(u64, u64)> {
    let mut words = Cursor::new(planned).ok()?;
    let mut passed = Vec::new();
    while !words.is_at_end() && words.line_and_column() < place {
        passed.extend(words.token().cloned());
        words.skip();
    }
    let wanted = words.token()?.clone();
    let times = passed.iter().filter(|token| **token == wanted).count();
    let mut written = Cursor::new(statement).ok()?;
    let mut seen = 0;
    while !written.is_at_end() {
        if written.token() == Some(&wanted) {
            if seen == times {
                return Some(written.line_and_column());
            }
            seen += 1;
        }
        written.skip();
    }
    None
}

fn end(statement: &str) -> (u64, u64) {
    line_and_column(statement, statement.trim_end().len())
}

/// `Expected: …` as it stands within a sentence.
fn lowered(problem: &str) -> String {
    let mut letters = problem.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn places_are_found_by_line_and_character() {
        assert_eq!(line_and_column("ä b\nc d", 6), (2, 2));
        assert_eq!(place_of_name("DELAY", "SELECT a,\n  Delay FROM t"), Some((2, 3)));
        assert_eq!(place_of_name("x", "SELECT 'x'"), None);
    }

    #[test]
    fn a_place_in_the_planned_text_is_that_of_the_same_word_in_the_written_one() {
        let written = "SELECT * FROM t VERSION AS OF 3\nWHERE FROM";
        let planned = "SELECT * FROM delta.\"version 1\" AS \"t\"\nWHERE FROM";
        assert_eq!(moved((2, 7), planned, written), Some((2, 7)));
        assert_eq!(moved((1, 10), planned, written), Some((1, 10)));
    }
}
