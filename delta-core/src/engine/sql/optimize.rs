//! OPTIMIZE, REORG TABLE and CLUSTER BY.

use boathouse_delta_table::DeltaTable;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, TableName};
use crate::engine::error::{EngineError, Result};
use crate::engine::ext::DeltaTableExt;
use crate::engine::optimize::OptimizeReport;

/// `OPTIMIZE t [FULL] [WHERE condition] [ZORDER BY (columns)]`, or `REORG TABLE t [WHERE condition] APPLY (PURGE)`.
#[derive(Debug)]
pub(crate) struct Optimize {
    pub(crate) table: TableName,
    goal: Goal,
    condition: Option<String>,
}

#[derive(Debug)]
enum Goal {
    Compact,
    Full,
    ZOrder(Vec<String>),
    Purge,
}

/// Behind `OPTIMIZE`.
pub(super) fn optimize(cursor: &mut Cursor<'_>) -> Result<Optimize> {
    let table = cursor.table_or_path()?;
    let mut goal = if cursor.takes(&["FULL"]) { Goal::Full } else { Goal::Compact };
    let condition = match cursor.takes(&["WHERE"]) {
        true => Some(cursor.text_until(&["ZORDER"])?.to_owned()),
        false => None,
    };
    if matches!(goal, Goal::Compact) && cursor.takes(&["ZORDER", "BY"]) {
        goal = Goal::ZOrder(columns(cursor)?);
    }
    if !cursor.is_at_end() {
        return Err(cursor.wanted("FULL, WHERE, ZORDER BY or the end"));
    }
    Ok(Optimize { table, goal, condition })
}

/// Behind `REORG`.
pub(super) fn reorg(cursor: &mut Cursor<'_>) -> Result<Optimize> {
    cursor.expect(&["TABLE"])?;
    let table = cursor.table_or_path()?;
    let condition = match cursor.takes(&["WHERE"]) {
        true => Some(cursor.text_until(&["APPLY"])?.to_owned()),
        false => None,
    };
    cursor.expect(&["APPLY"])?;
    cursor.expect_token(&Token::LParen)?;
    cursor.expect(&["PURGE"])?;
    cursor.expect_token(&Token::RParen)?;
    Ok(Optimize { table, goal: Goal::Purge, condition })
}

/// Behind `CLUSTER BY`: columns, or `NONE`.
pub(super) fn cluster_by(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    if cursor.sees(&["AUTO"]) {
        return Err(EngineError::Unsupported {
            statement: cursor.text().to_owned(),
            what: "CLUSTER BY AUTO",
            instead: "name the columns by which queries filter most",
        });
    }
    if cursor.takes(&["NONE"]) { Ok(Vec::new()) } else { columns(cursor) }
}

/// Columns with commas between; Spark lets the parentheses away.
fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let closed = cursor.takes_token(&Token::LParen);
    let mut columns = vec![cursor.column()?];
    while cursor.takes_token(&Token::Comma) {
        columns.push(cursor.column()?);
    }
    if closed {
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(columns)
}

impl Optimize {
    pub(super) async fn run(self, session: &SessionContext, table: &DeltaTable) -> Result<OptimizeReport> {
        let tidy = match self.goal {
            Goal::Compact => table.optimize(),
            Goal::Full => table.optimize().full(),
            Goal::ZOrder(columns) => table.optimize().z_order(columns),
            Goal::Purge => table.purge(),
        };
        let tidy = tidy.with_session(session);
        match self.condition {
            Some(condition) => tidy.filter(condition).run().await,
            None => tidy.run().await,
        }
    }
}
