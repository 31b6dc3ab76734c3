//! The transformation of a query, and the resident plan that computes it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use boathouse_base::{BatchStream, BoxFuture};
use boathouse_frames::from_engine;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::SchemaError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{JoinType, LogicalPlan};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::error::StreamError;
use crate::inlet::{Inlet, InletTable};
use crate::session::{SOURCE, overlay};

type Function = dyn Fn(DataFrame) -> BoxFuture<'static, Result<DataFrame>> + Send + Sync;

/// What a query does to the rows of its source before they are aggregated or written.
#[derive(Clone, Default)]
pub(crate) enum Transform {
    /// Nothing.
    #[default]
    Identity,
    /// A statement over the table `source`.
    Sql(String),
    /// A function on a frame.
    Function(Arc<Function>),
}

impl Transform {
    pub(crate) fn function(transform: impl Fn(DataFrame) -> Result<DataFrame> + Send + Sync + 'static) -> Self {
        Self::Function(Arc::new(move |frame| {
            let transformed = transform(frame);
            Box::pin(async move { transformed })
        }))
    }

    pub(crate) fn asynchronous<F>(transform: impl Fn(DataFrame) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DataFrame>> + Send + 'static,
    {
        Self::Function(Arc::new(move |frame| Box::pin(transform(frame))))
    }

    async fn apply(&self, session: &SessionContext) -> Result<DataFrame> {
        match self {
            Self::Identity => session.table(SOURCE).await,
            Self::Sql(sql) => session.sql(sql).await,
            Self::Function(function) => function(session.table(SOURCE).await?).await,
        }
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("Identity"),
            Self::Sql(sql) => f.debug_tuple("Sql").field(sql).finish(),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

/// A planned transformation, for sources of one schema.
pub(crate) struct TransformPlan {
    inlet: Arc<Inlet>,
    input: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// It reads other tables too: their newest rows are wanted in each epoch, so it is planned anew.
    has_other_tables: bool,
}

impl TransformPlan {
    /// **Cost**: a run of the planner, some milliseconds.
    pub(crate) async fn build(
        query: &str,
        transform: &Transform,
        session: &SessionContext,
        input: &SchemaRef,
    ) -> Result<Self, StreamError> {
        let failed = |source| plan_error(query, source);
        let inlet = Inlet::new(SchemaRef::clone(input));
        let session = overlay(session, Arc::new(InletTable(Arc::clone(&inlet)))).map_err(failed)?;
        let frame = transform.apply(&session).await.map_err(failed)?;
        let has_other_tables = check(query, frame.logical_plan())?;
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        Ok(Self { inlet, input: SchemaRef::clone(input), plan, context, has_other_tables })
    }

    /// Whether it can compute the next epoch, whose source has this schema.
    pub(crate) fn serves(&self, input: &SchemaRef) -> bool {
        !self.has_other_tables && (Arc::ptr_eq(&self.input, input) || self.input.fields() == input.fields())
    }

    /// Starts to compute the rows of an epoch.
    pub(crate) fn run(&self, rows: BatchStream) -> Result<BatchStream> {
        run(&self.plan, &self.inlet, rows, &self.context)
    }
}

/// Executes a resident plan over the rows that are put into its inlet.
pub(crate) fn run(
    plan: &Arc<dyn ExecutionPlan>,
    inlet: &Inlet,
    rows: BatchStream,
    context: &Arc<TaskContext>,
) -> Result<BatchStream> {
    inlet.fill(rows);
    let fresh = reset_plan_states(Arc::clone(plan))?;
    Ok(from_engine(execute_stream(fresh, Arc::clone(context))?))
}

/// An error of the planner; a column that is not there gets its own variant.
pub(crate) fn plan_error(query: &str, error: DataFusionError) -> StreamError {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        return StreamError::MissingColumn {
            query: query.to_owned(),
            column: field.name.clone(),
            available: valid_fields.iter().map(|field| field.name.clone()).collect(),
        };
    }
    StreamError::Plan { query: query.to_owned(), source: Box::new(error) }
}

/// Refuses what a stream cannot do; says whether tables beside the source are read.
fn check(query: &str, plan: &LogicalPlan) -> Result<bool, StreamError> {
    let reads = count_reads(plan).map_err(|source| plan_error(query, source))?;
    if reads.source != 1 {
        return Err(StreamError::SourceReads { query: query.to_owned(), times: reads.source });
    }
    let mut refused = None;
    let walked = plan.apply_with_subqueries(|node| {
        if refused.is_none() && count_reads(node)?.source > 0 {
            refused = refuse(node)?;
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|source| plan_error(query, source))?;
    match refused {
        Some((operator, advice)) => Err(StreamError::NotStreamable { query: query.to_owned(), operator, advice }),
        None => Ok(reads.others > 0),
    }
}

#[derive(Default)]
struct Reads {
    source: usize,
    others: usize,
}

fn count_reads(plan: &LogicalPlan) -> Result<Reads> {
    let mut reads = Reads::default();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let is_source = source_as_provider(&scan.source).is_ok_and(|table| (table.as_ref() as &dyn Any).is::<InletTable>());
            if is_source {
                reads.source += 1;
            } else {
                reads.others += 1;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}

/// The operator and what to do instead, for a node above the source that needs all rows of the stream.
fn refuse(node: &LogicalPlan) -> Result<Option<(&'static str, &'static str)>> {
    const SORT_IN_TABLE: &str = "rows arrive in epochs; sort when the target is read";
    Ok(match node {
        LogicalPlan::Aggregate(_) => Some((
            "GROUP BY or aggregate",
            "aggregate with `.window(TumblingWindow::over(…))`, or in a materialized view over the target",
        )),
        LogicalPlan::Distinct(_) => {
            Some(("DISTINCT", "count in a window, or remove duplicates in a materialized view over the target"))
        }
        LogicalPlan::Sort(_) => Some(("ORDER BY", SORT_IN_TABLE)),
        LogicalPlan::Limit(_) => Some(("LIMIT", "use `.read_limit(…)` to bound an epoch, or limit when the target is read")),
        LogicalPlan::Window(_) => {
            Some(("window function (OVER)", "use `.window(TumblingWindow::over(…))` or compute it over the target"))
        }
        LogicalPlan::RecursiveQuery(_) => Some(("recursive query", "compute it over the target")),
        LogicalPlan::Subquery(_) => Some(("subquery", "join with another table instead of asking the source twice")),
        LogicalPlan::Join(join) => {
            let streams_left = count_reads(&join.left)?.source > 0;
            let keeps = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => streams_left,
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !streams_left,
                JoinType::Full => false,
            };
            (!keeps).then_some((
                "join that keeps rows of the other table",
                "a row without a match is only known at the end of the stream; keep the rows of the stream, or use an inner join",
            ))
        }
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) => {
            Some(("statement that writes", "give the query a sink with `.sink(…)`"))
        }
        _ => None,
    })
}
