//! `WITH x AS (…) INSERT INTO …` and `WITH x AS (…) MERGE INTO …`: the queries go to where they are read.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::travel::{Edit, edit};
use crate::engine::error::Result;

/// Words behind which the query of an INSERT begins.
const QUERIES: [&str; 5] = ["SELECT", "VALUES", "TABLE", "FROM", "WITH"];

/// The statement with its WITH in the query of an INSERT, or in the source of a MERGE; nothing for any other.
pub(crate) fn moved(text: &str) -> Result<Option<String>> {
    let mut cursor = Cursor::new(text)?;
    if !cursor.takes(&["WITH"]) {
        return Ok(None);
    }
    let recursive = cursor.takes(&["RECURSIVE"]);
    let start = cursor.byte();
    let mut names = Vec::new();
    loop {
        let Ok(name) = cursor.name("a name") else { return Ok(None) };
        names.push(name);
        if cursor.takes_token(&Token::LParen) {
            cursor.pass_to_closing()?;
        }
        if !(cursor.takes(&["AS"]) && cursor.takes_token(&Token::LParen)) {
            return Ok(None);
        }
        cursor.pass_to_closing()?;
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    let queries = text.get(start..cursor.byte_before()).unwrap_or_default();
    let with = format!("WITH {}{queries}", if recursive { "RECURSIVE " } else { "" });
    let mut edits: Vec<Edit> = vec![(0..cursor.byte(), String::new())];
    if cursor.takes(&["INSERT"]) {
        let _ = cursor.takes(&["WITH", "SCHEMA", "EVOLUTION"]);
        let _ = cursor.takes(&["INTO"]) || cursor.takes(&["OVERWRITE"]);
        let _ = cursor.takes(&["TABLE"]);
        cursor.table()?;
        // Conditions and lists of columns stand in parentheses, or hold none of these words.
        while !cursor.is_at_end() && !QUERIES.iter().any(|word| cursor.sees(&[word])) {
            let mut ahead = cursor.clone();
            while ahead.takes_token(&Token::LParen) {}
            if QUERIES.iter().any(|word| ahead.sees(&[word])) {
                break;
            }
            if cursor.takes_token(&Token::LParen) { cursor.pass_to_closing()? } else { cursor.skip() }
        }
        let here = cursor.byte();
        if cursor.takes(&["WITH"]) {
            edits.push((here..cursor.byte_before(), format!("{with},")));
        } else {
            edits.push((here..here, format!("{with} ")));
        }
    } else if cursor.takes(&["MERGE"]) {
        while !cursor.is_at_end() && !cursor.takes(&["USING"]) {
            cursor.skip();
        }
        let here = cursor.byte();
        if cursor.takes_token(&Token::LParen) {
            let inner = cursor.byte();
            if cursor.takes(&["WITH"]) {
                edits.push((inner..cursor.byte_before(), format!("{with},")));
            } else {
                edits.push((inner..inner, format!("{with} ")));
            }
        } else {
            let table = cursor.table()?;
            if let [name] = table.parts.as_slice()
                && names.contains(name)
            {
                let (named, has_alias) = (table.last().replace('"', "\"\""), !cursor.sees(&["ON"]));
                let alias = if has_alias { String::new() } else { format!(" AS \"{named}\"") };
                edits.push((here..cursor.byte_before(), format!("({with} SELECT * FROM \"{named}\"){alias}")));
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(edit(text, edits)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn with_goes_to_the_query_of_an_insert_and_to_the_source_of_a_merge() {
        let moved = |text: &str| moved(text).unwrap();
        assert_eq!(
            moved("WITH x AS (SELECT 1), y AS (SELECT 2) INSERT INTO t (a) SELECT * FROM x").unwrap(),
            "INSERT INTO t (a) WITH x AS (SELECT 1), y AS (SELECT 2) SELECT * FROM x"
        );
        assert_eq!(
            moved("WITH x AS (SELECT 1) INSERT INTO t WITH z AS (SELECT 3) SELECT * FROM z").unwrap(),
            "INSERT INTO t WITH x AS (SELECT 1), z AS (SELECT 3) SELECT * FROM z"
        );
        let merge = "MERGE INTO t USING (WITH x AS (SELECT 1 AS a) SELECT * FROM \"x\")";
        let clause = "ON t.a = s.a WHEN MATCHED THEN DELETE";
        assert_eq!(
            moved(&format!("WITH x AS (SELECT 1 AS a) MERGE INTO t USING x AS s {clause}")).unwrap(),
            format!("{merge} AS s {clause}")
        );
        assert_eq!(moved("WITH x AS (SELECT 1) SELECT * FROM x"), None);
        assert_eq!(moved("SELECT 1"), None);
    }
}
