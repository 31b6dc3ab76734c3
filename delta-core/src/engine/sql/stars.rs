//! `UPDATE SET *`, `INSERT *` and `WITH SCHEMA EVOLUTION` of a MERGE: the engine knows none of them.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use super::lake::Lake;
use super::run::table_named;
use super::travel::{Edit, edit};
use crate::engine::error::Result;

/// What a MERGE says that the engine does not understand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stars {
    /// The clauses, counted from 0, that take every column of the source.
    pub(crate) clauses: BTreeSet<usize>,
    /// `WITH SCHEMA EVOLUTION`: of this table.
    pub(crate) evolution: Option<TableName>,
}

/// A MERGE that the engine can plan, and what was taken out of it; any other statement as it is.
pub(crate) async fn take_out(session: &SessionContext, lake: &Lake, text: &str) -> Result<(String, Stars)> {
    let mut cursor = Cursor::new(text)?;
    let (mut stars, mut edits) = (Stars::default(), Vec::<Edit>::new());
    if !cursor.takes(&["MERGE"]) {
        return Ok((text.to_owned(), stars));
    }
    let start = cursor.byte();
    let evolves = cursor.takes(&["WITH", "SCHEMA", "EVOLUTION"]);
    if evolves {
        edits.push((start..cursor.byte_before(), String::new()));
    }
    if !cursor.takes(&["INTO"]) {
        return Ok((text.to_owned(), stars));
    }
    let table = cursor.table()?;
    stars.evolution = evolves.then(|| table.clone());
    let (mut clauses, mut found) = (0_usize, Vec::new());
    while !cursor.is_at_end() {
        let start = cursor.byte();
        if cursor.sees(&["WHEN", "MATCHED"]) || cursor.sees(&["WHEN", "NOT", "MATCHED"]) {
            clauses += 1;
            cursor.skip();
        } else if cursor.takes(&["UPDATE", "SET"]) && cursor.takes_token(&Token::Mul) {
            found.push((start..cursor.byte_before(), true));
            stars.clauses.insert(clauses.saturating_sub(1));
        } else if cursor.takes(&["INSERT"]) && cursor.takes_token(&Token::Mul) {
            found.push((start..cursor.byte_before(), false));
            stars.clauses.insert(clauses.saturating_sub(1));
        } else {
            cursor.skip();
        }
    }
    if !found.is_empty() {
        // In the place of a star stands any column, so that there is something to plan.
        let schema = table_named(session, lake, &table, text).await?.snapshot().await?.schema();
        let any = schema.fields().first().map_or("", |field| field.name().as_str()).replace('"', "\"\"");
        let (update, insert) = (format!("UPDATE SET \"{any}\" = NULL"), format!("INSERT (\"{any}\") VALUES (NULL)"));
        edits
            .extend(found.into_iter().map(|(range, is_update)| (range, if is_update { update.clone() } else { insert.clone() })));
    }
    Ok((edit(text, edits), stars))
}
