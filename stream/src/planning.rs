//! From the definition of a query to its graph, once the columns of its sources are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::DataFrame;

use crate::definition::{Definition, NamedSource};
use crate::error::StreamError;
use crate::event_time::Watermark;
use crate::graph::Graph;
use crate::inlet::{InletTable, Leaves, Origin};
use crate::plan::cut::Cut;
use crate::plan::watermark::WatermarkNode;
use crate::plan::{Mistake, without_clauses};
use crate::session::overlay;
use crate::transform::{Transform, plan_error};

/// The keyword before a relation, unless a table is named so.
const STREAM: &str = "stream";

/// The graph for sources with these schemas.
///
/// **Cost**: some runs of the planner, some milliseconds each.
pub(crate) async fn build(definition: &Definition, schemas: Vec<SchemaRef>) -> Result<Graph, StreamError> {
    let query = definition.name.as_str();
    let failed = |source| plan_error(query, source);
    let leaves = Leaves::default();
    let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
    for (n, (source, schema)) in definition.sources.iter().zip(&schemas).enumerate() {
        let table = InletTable { origin: Origin::Source(n), schema: SchemaRef::clone(schema), leaves: Arc::clone(&leaves) };
        tables.insert(source.name.clone(), followed(query, source, Arc::new(table))?);
    }
    let session = overlay(&definition.session, tables).map_err(failed)?;
    let first = definition.sources.first().map_or("", |source| source.name.as_str());
    let transform = match &definition.transform {
        Transform::Sql(statement) => {
            let names_stream = session.table_exist(TableReference::bare(STREAM)).map_err(failed)?;
            let wrong =
                |Mistake { line, column, problem }| StreamError::Clause { query: query.to_owned(), line, column, problem };
            Transform::Sql(without_clauses(statement, names_stream).map_err(wrong)?)
        }
        other => other.clone(),
    };
    let mut frame = transform.apply(&session, first).await.map_err(failed)?;
    if let Some(watermark) = &definition.watermark {
        let (state, plan) = frame.into_parts();
        frame = DataFrame::new(state, follow(query, plan, watermark)?);
    }
    if let Some(window) = &definition.window {
        frame = window.aggregate_rows(frame).map_err(failed)?;
    }
    let (state, plan) = frame.into_parts();
    let keeps_late = definition.late_sink.is_some();
    Cut { query, state, leaves, mode: definition.output_mode, keeps_late }.take_apart(plan, schemas).await
}

/// A source as a table; with a watermark of its own, a view that follows its event time.
fn followed(query: &str, source: &NamedSource, table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>, StreamError> {
    let Some(watermark) = &source.watermark else { return Ok(table) };
    let scan = LogicalPlanBuilder::scan(source.name.as_str(), provider_as_source(table), None);
    let scan = scan.and_then(LogicalPlanBuilder::build).map_err(|source| plan_error(query, source))?;
    Ok(Arc::new(ViewTable::new(follow(query, scan, watermark)?, None)))
}

fn follow(query: &str, plan: LogicalPlan, watermark: &Watermark) -> Result<LogicalPlan, StreamError> {
    let failed = |source| plan_error(query, source);
    let (qualifier, field) = plan.schema().qualified_field_with_unqualified_name(&watermark.column).map_err(failed)?;
    if !matches!(field.data_type(), DataType::Timestamp(..)) {
        return Err(StreamError::EventTimeType {
            query: query.to_owned(),
            column: watermark.column.clone(),
            found: field.data_type().clone(),
        });
    }
    let column = Column::from((qualifier, field));
    WatermarkNode::plan(plan, Expr::Column(column), watermark.delay_us()).map_err(failed)
}
