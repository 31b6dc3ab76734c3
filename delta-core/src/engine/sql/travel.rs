//! Earlier versions in queries: `t VERSION AS OF 3`, `t TIMESTAMP AS OF '2026-01-01'`, `t@v3`, `t@20260101000000000`.
//!
//! So does [`table_changes`](super::changes). Each becomes the name of a provider that is there for as long as the statement is planned.

use std::ops::Range;

use boathouse_base::TableVersion;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use super::lake::{Lake, Travelled};
use super::run::table_named;
use super::{changes, mistakes};
use crate::engine::error::Result;
use crate::engine::ext::DeltaTableExt;

/// Words that come after a table and are not its alias.
const AFTER_TABLE: [&str; 31] = [
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "SEMI",
    "ANTI",
    "NATURAL",
    "LATERAL",
    "ON",
    "USING",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "WINDOW",
    "QUALIFY",
    "FETCH",
    "WHEN",
    "SET",
    "TABLESAMPLE",
    "SORT",
    "CLUSTER",
    "DISTRIBUTE",
    "MINUS",
];

/// A change of the text of a statement.
pub(crate) type Edit = (Range<usize>, String);

/// The statement with a name for each earlier version. What it names lasts as long as the guards.
pub(crate) async fn resolve(session: &SessionContext, lake: &Lake, text: &str) -> Result<(String, Vec<Travelled>)> {
    let mut cursor = Cursor::new(text)?;
    let (mut edits, mut guards): (Vec<Edit>, Vec<Travelled>) = (Vec::new(), Vec::new());
    while !cursor.is_at_end() {
        let (place, start) = (cursor.place(), cursor.byte());
        if let Some(feed) = changes::called(session, lake, &mut cursor).await? {
            let guard = lake.travel(feed);
            let alias = if has_alias(&cursor) { "" } else { " AS table_changes" };
            edits.push((start..cursor.byte_before(), format!("{}{alias}", guard.reference())));
            guards.push(guard);
            continue;
        }
        let Some((table, version)) = travelled_table(session, &mut cursor).await? else {
            // Of a path no part is a name of its own.
            cursor.go_to(place);
            if !cursor.table().is_ok_and(|table| table.path().is_some()) {
                cursor.go_to(place + 1);
            }
            continue;
        };
        let provider = table_named(session, lake, &table, text).await?.provider_at(version).await?;
        let guard = lake.travel(std::sync::Arc::new(lake.with_footers(provider)));
        let mut name = guard.reference();
        if !has_alias(&cursor) {
            name.push_str(&format!(" AS \"{}\"", table.last().replace('"', "\"\"")));
        }
        edits.push((table.bytes.start..cursor.byte_before(), name));
        guards.push(guard);
    }
    Ok((edit(text, edits), guards))
}

/// A text with other pieces in some places.
pub(crate) fn edit(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        out.push_str(text.get(done..range.start).unwrap_or_default());
        out.push_str(&new);
        done = range.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

fn has_alias(cursor: &Cursor<'_>) -> bool {
    match cursor.token() {
        Some(Token::Word(_)) => !AFTER_TABLE.iter().any(|word| cursor.sees(&[word])),
        _ => false,
    }
}

/// Whether a path is that of a table as it is written, so that `@v3` at its end belongs to its name.
async fn is_folder(session: &SessionContext, table: &TableName) -> Result<bool> {
    let Some(path) = table.path() else { return Ok(false) };
    Ok(Lake::of(session)?.open(path)?.exists().await.unwrap_or(false))
}

/// A table with a version, if one begins here.
pub(crate) async fn travelled_table(
    session: &SessionContext,
    cursor: &mut Cursor<'_>,
) -> Result<Option<(TableName, TableVersion)>> {
    if !matches!(cursor.token(), Some(Token::Word(_))) {
        return Ok(None);
    }
    let Ok(mut table) = cursor.table() else { return Ok(None) };
    // To the tokenizer `t@v3` is one name.
    let said = table.last().rsplit_once('@').and_then(|(name, said)| Some((name.to_owned(), at_sign(said)?)));
    if let Some((name, version)) = said
        && !is_folder(session, &table).await?
    {
        table.parts.pop();
        table.parts.push(name);
        return Ok(Some((table, version)));
    }
    Ok(version(session, cursor).await?.map(|version| (table, version)))
}

/// `VERSION AS OF 3`, `TIMESTAMP AS OF …`, `@v3`: the version, if one is said.
pub(crate) async fn version(session: &SessionContext, cursor: &mut Cursor<'_>) -> Result<Option<TableVersion>> {
    let here = cursor.place();
    let _ = cursor.takes(&["FOR"]) || cursor.takes(&["FOR", "SYSTEM_VERSION"]);
    if cursor.takes(&["VERSION", "AS", "OF"]) {
        let number = match cursor.token() {
            Some(Token::SingleQuotedString(text)) => {
                let number = text.parse().map_err(|_| cursor.wanted("a version"))?;
                cursor.skip();
                number
            }
            _ => cursor.integer("a version")?,
        };
        return u64::try_from(number).map(|number| Some(TableVersion::Number(number))).map_err(|_| cursor.wanted("a version"));
    }
    if cursor.takes(&["TIMESTAMP", "AS", "OF"]) {
        return Ok(Some(TableVersion::AtUs(instant(session, cursor).await?)));
    }
    cursor.go_to(here);
    if cursor.takes_token(&Token::AtSign) {
        let said = match cursor.token() {
            Some(Token::Word(word)) => word.value.to_lowercase(),
            Some(Token::Number(digits, _)) => digits.clone(),
            _ => String::new(),
        };
        let Some(version) = at_sign(&said) else {
            return Err(cursor.wanted("a version such as `v3`, or a time as yyyyMMddHHmmssSSS"));
        };
        cursor.skip();
        return Ok(Some(version));
    }
    Ok(None)
}

/// What stands behind `@`: `v3`, or a time.
fn at_sign(said: &str) -> Option<TableVersion> {
    match said.strip_prefix('v') {
        Some(number) => number.parse().ok().map(TableVersion::Number),
        None => compact_instant(said).map(TableVersion::AtUs),
    }
}

/// A time: a text in quotes, or an expression without columns.
async fn instant(session: &SessionContext, cursor: &mut Cursor<'_>) -> Result<i64> {
    let text = cursor.expression("a time in quotes, or an expression")?;
    evaluate(session, text, cursor.text()).await
}

/// An expression as microseconds since the Unix epoch. Without a time zone it is UTC.
///
/// **Errors**: `Invalid` with the place when it is null, names a column, or cannot be computed.
pub(crate) async fn evaluate(session: &SessionContext, text: &str, statement: &str) -> Result<i64> {
    let failed = |problem: String| mistakes::at(statement, text, problem);
    let planned = constant(session, text).map_err(|error| {
        failed(match mistakes::missing_column(&error) {
            Some(column) => {
                format!("the time `{text}` names the column `{}`; a time is an expression without columns", column.name)
            }
            None => format!("the time `{text}` cannot be understood: {}", error.strip_backtrace()),
        })
    })?;
    let computed = DataFrame::new(session.state(), planned).collect().await;
    let batches =
        computed.map_err(|error| failed(format!("the time `{text}` cannot be computed: {}", error.strip_backtrace())))?;
    let value = batches.first().map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>());
    let value = value.filter(|value| value.len() == 1).and_then(|value| value.iter().next().flatten());
    value.ok_or_else(|| failed(format!("the time `{text}` is null")))
}

/// A plan of one row with the time.
fn constant(session: &SessionContext, text: &str) -> datafusion::error::Result<LogicalPlan> {
    let expr = session.parse_sql_expr(text, &DFSchema::empty())?;
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let expr = expr.cast_to(&at, &DFSchema::empty())?;
    LogicalPlanBuilder::empty(true).project([expr]).and_then(LogicalPlanBuilder::build)
}

/// `yyyyMMddHHmmssSSS` in UTC.
fn compact_instant(digits: &str) -> Option<i64> {
    if digits.len() != 17 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: Range<usize>| digits.get(range).unwrap_or_default();
    let (date, time, millis) = (part(0..8), part(8..14), part(14..17));
    let text =
        format!("{}-{}-{}T{}:{}:{}.{millis}", &date[0..4], &date[4..6], &date[6..8], &time[0..2], &time[2..4], &time[4..6]);
    datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(&text).ok().map(|nanos| nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_time_is_utc_to_the_millisecond() {
        assert_eq!(compact_instant("19700102000000001"), Some(86_400_001_000));
        assert_eq!(compact_instant("1970010200000"), None);
        assert_eq!(compact_instant("19701302000000000"), None);
    }

    #[test]
    fn edits_are_made_from_left_to_right() {
        assert_eq!(edit("a b c", vec![(4..5, "see".to_owned()), (0..1, String::new())]), " b see");
    }
}
