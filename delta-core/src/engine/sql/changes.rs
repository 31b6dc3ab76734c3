//! `table_changes('t', from [, to])`: the change feed as a table of a query.
//!
//! `from` and `to` are versions, or times as Delta writes them: `'2026-01-31 12:00:00'`. Both are included, and neither may be after the newest
//! version. The table is named in quotes, or by
//! its path: `table_changes_by_path('/data/flights', 3)`.

use std::sync::Arc;

use async_trait::async_trait;
use boathouse_base::TableVersion;
use boathouse_delta_table::{ChangeRange, DeltaTable};
use boathouse_frames::into_datafusion;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as FrameResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::TryStreamExt;

use super::cursor::Cursor;
use super::lake::Lake;
use super::run::table_named;
use super::travel;
use crate::engine::error::Result;

/// The changes that are called for here; the cursor stands behind the call.
pub(crate) async fn called(
    session: &SessionContext,
    lake: &Lake,
    cursor: &mut Cursor<'_>,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let here = cursor.place();
    let by_path = cursor.takes(&["TABLE_CHANGES_BY_PATH"]);
    if !(by_path || cursor.takes(&["TABLE_CHANGES"])) || !cursor.takes_token(&Token::LParen) {
        cursor.go_to(here);
        return Ok(None);
    }
    let named = cursor.string("a table in quotes")?;
    let table = match by_path {
        true => lake.open(&named)?,
        false => {
            let mut name = Cursor::new(&named)?;
            let table = name.table()?;
            name.expect_end()?;
            table_named(session, lake, &table, cursor.text()).await?
        }
    };
    cursor.expect_token(&Token::Comma)?;
    let from = version(session, cursor).await?;
    let to = if cursor.takes_token(&Token::Comma) { version(session, cursor).await? } else { TableVersion::Latest };
    cursor.expect_token(&Token::RParen)?;
    // The columns are those of the last version, whichever that is when the query runs.
    let shown = table.snapshot_at(to).await?;
    // Two times may have no version between them, which is no mistake.
    let to = if matches!(to, TableVersion::AtUs(_)) { to } else { TableVersion::Number(shown.version()) };
    let range = ChangeRange { from, to };
    Ok(Some(Arc::new(Changes::new(table, range, &shown.schema()))))
}

/// A version by its number, or by a time.
async fn version(session: &SessionContext, cursor: &mut Cursor<'_>) -> Result<TableVersion> {
    match cursor.token() {
        Some(Token::Number(..) | Token::Minus) => {
            let number = cursor.integer("a version")?;
            u64::try_from(number).map(TableVersion::Number).map_err(|_| cursor.wanted("a version or a time"))
        }
        _ => {
            let text = cursor.text_until(&[])?;
            Ok(TableVersion::AtUs(travel::evaluate(session, text, cursor.text()).await?))
        }
    }
}

/// The change feed of a range.
#[derive(Debug)]
struct Changes {
    table: DeltaTable,
    range: ChangeRange,
    schema: SchemaRef,
    /// How many of the columns are the table's.
    of_table: usize,
}

impl Changes {
    fn new(table: DeltaTable, range: ChangeRange, columns: &SchemaRef) -> Self {
        Self { table, range, schema: boathouse_delta_table::changes_schema(columns), of_table: columns.fields().len() }
    }
}

#[async_trait]
impl TableProvider for Changes {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> FrameResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        // Of the table the columns that are wanted are read, in its order; what tells of the change comes with every row.
        let read: Vec<usize> = (0..all.len()).filter(|at| *at >= self.of_table || wanted.contains(at)).collect();
        let columns = read.iter().filter(|at| **at < self.of_table).map(|at| self.schema.field(*at).name().clone()).collect();
        let fields: Vec<_> = read.iter().map(|at| Arc::clone(&self.schema.fields()[*at])).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let rows = Feed { table: self.table.clone(), range: self.range, columns, schema: SchemaRef::clone(&schema) };
        let places: Vec<usize> = wanted.iter().filter_map(|at| read.iter().position(|read| read == at)).collect();
        let exec = StreamingTableExec::try_new(schema, vec![Arc::new(rows)], Some(&places), [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// The rows of the feed.
#[derive(Debug)]
struct Feed {
    table: DeltaTable,
    range: ChangeRange,
    columns: Vec<String>,
    schema: SchemaRef,
}

impl PartitionStream for Feed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let read = self.table.changes(self.range).columns(self.columns.clone());
        let rows = futures::stream::once(async move {
            let rows = read.read().await.map_err(|error| into_datafusion(error.into()))?;
            Ok::<_, datafusion::error::DataFusionError>(rows.map_err(into_datafusion))
        });
        Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&self.schema), rows.try_flatten()))
    }
}
