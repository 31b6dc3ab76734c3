//! Columns as `ALTER TABLE … ADD COLUMNS` and `REPLACE COLUMNS` name them.

use datafusion::arrow::datatypes::Field;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::data_types::{column, column_named};
use crate::engine::error::{EngineError, Result};

/// Reads a column to add: `name type …`, or `struct.name type …` with the path of the struct that holds it, which comes back first.
pub(crate) fn added_column(cursor: &mut Cursor<'_>) -> Result<(String, Field)> {
    let (mut parent, mut name) = (String::new(), cursor.spelled("a column")?);
    while cursor.takes_token(&Token::Period) {
        if !parent.is_empty() {
            parent.push('.');
        }
        parent.push_str(&name);
        name = cursor.spelled("a column")?;
    }
    let field = column_named(cursor, name)?;
    plain(
        cursor,
        &field,
        "ADD COLUMN that is GENERATED",
        "create the table with it: rows that are there would have no value in it",
    )?;
    Ok((parent, field))
}

/// Reads `(name type [NOT NULL] [COMMENT '…'], …)`.
pub(crate) fn replaced_columns(cursor: &mut Cursor<'_>) -> Result<Vec<Field>> {
    cursor.expect_token(&Token::LParen)?;
    let mut fields = Vec::new();
    loop {
        let field = column(cursor)?;
        let instead = "leave it out: columns that are there keep theirs; ALTER COLUMN … SET DEFAULT gives a default";
        if field.metadata().contains_key("CURRENT_DEFAULT") {
            return Err(unsupported(cursor, "REPLACE COLUMNS with a DEFAULT", instead));
        }
        plain(cursor, &field, "REPLACE COLUMNS with a GENERATED column", instead)?;
        fields.push(field);
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(fields)
}

/// Refuses a column whose values the table would have to make.
fn plain(cursor: &Cursor<'_>, field: &Field, what: &'static str, instead: &'static str) -> Result<()> {
    match field.metadata().keys().any(|key| key.starts_with("delta.")) {
        true => Err(unsupported(cursor, what, instead)),
        false => Ok(()),
    }
}

fn unsupported(cursor: &Cursor<'_>, what: &'static str, instead: &'static str) -> EngineError {
    EngineError::Unsupported { statement: cursor.text().to_owned(), what, instead }
}
