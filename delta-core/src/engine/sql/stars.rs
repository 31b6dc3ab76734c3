//! `UPDATE SET *` and `INSERT *` of a MERGE, written out: every column of the table gets its namesake of the source.

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::lake::Lake;
use super::run::table_named;
use super::travel::{Edit, edit};
use crate::engine::error::Result;

/// A MERGE without stars; any other statement as it is.
pub(crate) async fn write_out(session: &SessionContext, lake: &Lake, text: &str) -> Result<String> {
    let mut cursor = Cursor::new(text)?;
    if !cursor.takes(&["MERGE", "INTO"]) {
        return Ok(text.to_owned());
    }
    let table = cursor.table()?;
    let mut stars = Vec::new();
    let source = source_of(&mut cursor)?;
    while !cursor.is_at_end() {
        let start = cursor.byte();
        if cursor.takes(&["UPDATE", "SET"]) && cursor.takes_token(&Token::Mul) {
            stars.push((start..cursor.byte_before(), true));
        } else if cursor.takes(&["INSERT"]) && cursor.takes_token(&Token::Mul) {
            stars.push((start..cursor.byte_before(), false));
        } else {
            cursor.skip();
        }
    }
    if stars.is_empty() {
        return Ok(text.to_owned());
    }
    let schema = table_named(session, lake, &table, text).await?.snapshot().await?.schema();
    let quoted: Vec<String> = schema.fields().iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\""))).collect();
    let of_source: Vec<String> = quoted.iter().map(|column| format!("{source}.{column}")).collect();
    let sets: Vec<String> = quoted.iter().zip(&of_source).map(|(column, value)| format!("{column} = {value}")).collect();
    let written = |is_update: bool| match is_update {
        true => format!("UPDATE SET {}", sets.join(", ")),
        false => format!("INSERT ({}) VALUES ({})", quoted.join(", "), of_source.join(", ")),
    };
    let edits: Vec<Edit> = stars.into_iter().map(|(range, is_update)| (range, written(is_update))).collect();
    Ok(edit(text, edits))
}

/// What the source is called in the statement; the cursor stands behind it.
fn source_of(cursor: &mut Cursor<'_>) -> Result<String> {
    while !cursor.takes(&["USING"]) {
        if cursor.is_at_end() {
            return Err(cursor.wanted("USING"));
        }
        cursor.skip();
    }
    let mut name = None;
    if cursor.takes_token(&Token::LParen) {
        cursor.pass_to_closing()?;
    } else {
        name = cursor.table()?.parts.pop();
    }
    if cursor.takes(&["AS"]) || !cursor.sees(&["ON"]) {
        name = Some(cursor.name("a name for the source")?);
    }
    match name {
        Some(name) => Ok(format!("\"{}\"", name.replace('"', "\"\""))),
        None => Err(cursor.wanted("a name for the source")),
    }
}
