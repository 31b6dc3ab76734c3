//! Taking a plan over streams apart, at each operator that must remember.
//!
//! ```text
//!   Projection                           segment 2: Projection over an inlet
//!     Aggregate            ──▶           operator:  aggregation, fed by
//!       Filter                           segment 1: Projection (groups, arguments) over Filter over an inlet
//!         TableScan source
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_base::{BoxFuture, OutputMode};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::prelude::SessionContext;

use super::refuse::{self, Remembers};
use super::watermark::WatermarkNode;
use super::{Bound, DeduplicateNode, TransformWithStateNode, bounds, delay_of, session_window_of, unfold_windows};
use crate::error::{Refusal, StreamError, WindowProblem};
use crate::event_time::SharedSeen;
use crate::graph::{Followed, Graph, Node, Segment};
use crate::inlet::{InletTable, Leaves, Origin, take_leaves};
use crate::late::carried;
use crate::operators::{
    Aggregation, Combine, Deduplication, DeduplicationTime, GroupColumn, Groups, Operator, Sessions, SidePlan, StreamJoin,
    TransformWithState, is_window,
};
use crate::session::single_session;
use crate::stateful::TimeMode;
use crate::transform::plan_error;

/// What a plan is cut for.
pub(crate) struct Cut<'a> {
    pub(crate) query: &'a str,
    pub(crate) state: SessionState,
    pub(crate) leaves: Leaves,
    pub(crate) mode: OutputMode,
    /// Whether late rows are wanted, with all columns that they have.
    pub(crate) keeps_late: bool,
}

impl Cut<'_> {
    /// Takes a plan apart. `schemas` are those of the query's sources.
    ///
    /// **Cost**: a run of the planner for each operator, some milliseconds.
    pub(crate) async fn take_apart(self, plan: LogicalPlan, schemas: Vec<SchemaRef>) -> Result<Graph, StreamError> {
        let query = self.query;
        let failed = |source| plan_error(query, source);
        if refuse::reads(&plan).map_err(failed)?.streams == 0 {
            return Err(StreamError::ReadsNoSource { query: query.to_owned() });
        }
        let plan = unfold_windows(plan).map_err(failed)?;
        let plan = self.analyze(plan).map_err(failed)?;
        let (plan, watermarks) = number_watermarks(query, plan)?;
        let mut cutting = Cutting { cut: self, nodes: Vec::new(), remembers: Remembers::default(), names: BTreeMap::new() };
        let last = cutting.cut(plan).await?;
        if let Some(refusal) = refuse::refuse_mode(cutting.cut.mode, cutting.remembers) {
            return Err(cutting.refused(refusal));
        }
        let last = Segment::new(last).map_err(failed)?;
        let Cutting { cut, nodes, .. } = cutting;
        Ok(Graph::new(nodes, last, watermarks, schemas, cut.state, cut.leaves))
    }

    /// Types are made to fit, filters and columns go down; nothing is rewritten that remembers.
    fn analyze(&self, plan: LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
        let options = self.state.config_options();
        let plan = self.state.analyzer().execute_and_check(plan, options, |_, _| {})?;
        let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
            vec![Arc::new(ExtractEquijoinPredicate::new()), Arc::new(PushDownFilter::new())];
        // A join stores the columns of its rows: it must not have others because late rows are wanted.
        if !self.keeps_late || refuse::joins_streams(&plan)? {
            rules.push(Arc::new(OptimizeProjections::new()));
        }
        Optimizer::with_rules(rules).optimize(plan, &self.state, |_, _| {})
    }
}

/// Gives each watermark of a plan its number.
fn number_watermarks(query: &str, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Followed>), StreamError> {
    let mut found: Vec<Followed> = Vec::new();
    let mut wrong = None;
    let plan = plan.transform_up(|node| {
        let Some(watermark) = WatermarkNode::of(&node) else { return Ok(Transformed::no(node)) };
        if let Some(other) = watermark.data_type().filter(|t| !matches!(t, datafusion::arrow::datatypes::DataType::Timestamp(..)))
        {
            wrong = Some((watermark.column_name(), other.clone()));
        }
        let same = found.iter().filter(|followed| followed.column == watermark.column()).count();
        let name = if same == 0 { watermark.column() } else { format!("{} ({})", watermark.column(), same + 1) };
        found.push(Followed { name, column: watermark.column(), delay_us: watermark.delay_us(), seen: SharedSeen::default() });
        Ok(Transformed::yes(watermark.numbered(found.len() - 1).into_plan()))
    });
    let plan = plan.data().map_err(|source| plan_error(query, source))?;
    match wrong {
        Some((column, found)) => Err(StreamError::EventTimeType { query: query.to_owned(), column, found }),
        None => Ok((plan, found)),
    }
}

struct Cutting<'a> {
    cut: Cut<'a>,
    nodes: Vec<Node>,
    remembers: Remembers,
    names: BTreeMap<&'static str, usize>,
}

impl Cutting<'_> {
    fn failed(&self, source: datafusion::error::DataFusionError) -> StreamError {
        plan_error(self.cut.query, source)
    }

    fn refused(&self, refusal: Refusal) -> StreamError {
        StreamError::NotStreamable { query: self.cut.query.to_owned(), refusal }
    }

    /// What stays of a plan above the operators that it was cut at.
    fn cut(&mut self, plan: LogicalPlan) -> BoxFuture<'_, Result<LogicalPlan, StreamError>> {
        Box::pin(async move {
            let query = self.cut.query.to_owned();
            let failed = |source| plan_error(&query, source);
            if refuse::reads(&plan).map_err(failed)?.streams == 0 {
                return Ok(plan);
            }
            if let Some(refusal) = refuse::refuse(&plan).map_err(failed)? {
                return Err(self.refused(refusal));
            }
            let mut inputs = Vec::new();
            for input in plan.inputs() {
                inputs.push(self.cut(input.clone()).await?);
            }
            match &plan {
                LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, only(inputs)).await,
                LogicalPlan::Distinct(Distinct::All(_)) => {
                    let input = only(inputs);
                    let keys = input.schema().columns().into_iter().map(Expr::Column).collect();
                    self.deduplicate(&DeduplicateNode { input: input.clone(), keys, within_watermark: false }, input)
                }
                LogicalPlan::Distinct(Distinct::On(_)) => Err(self.refused(refuse::unsupported(
                    "DISTINCT ON",
                    "which row is the first depends on an order; use `drop_duplicates`, or an aggregate with `first_value`",
                ))),
                LogicalPlan::Join(join) if both_stream(&inputs).map_err(failed)? => {
                    let mut inputs = inputs.into_iter();
                    match (inputs.next(), inputs.next()) {
                        (Some(left), Some(right)) => self.join(join, left, right),
                        _ => Err(self.refused(refuse::cross_join())),
                    }
                }
                _ => match (DeduplicateNode::of(&plan), TransformWithStateNode::of(&plan)) {
                    (Some(node), _) => self.deduplicate(node, only(inputs)),
                    (_, Some(node)) => self.transform_with_state(node, only(inputs)),
                    _ => plan.with_new_exprs(plan.expressions(), inputs).map_err(failed),
                },
            }
        })
    }

    async fn aggregate(&mut self, aggregate: &Aggregate, input: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        // The column that says when a group is over, and whether its event time is followed.
        let mut time: Option<(usize, bool)> = None;
        // The column where sessions start.
        let mut session = None;
        for (n, expr) in aggregate.group_expr.iter().enumerate() {
            if let Expr::GroupingSet(GroupingSet::Rollup(_) | GroupingSet::Cube(_) | GroupingSet::GroupingSets(_)) = expr {
                return Err(self.refused(refuse::unsupported("GROUPING SETS", "group in queries of their own")));
            }
            let is_session = session_window_of(expr);
            if is_session && (session.is_some() || self.cut.mode == OutputMode::Update) {
                return Err(self.refused(refuse::session()));
            }
            let (_, field) = expr.to_field(input.schema().as_ref()).map_err(failed)?;
            let expr = expr.clone().unalias();
            let is_followed = delay_of(&field).is_some();
            if is_window(&field) {
                if is_session {
                    session = Some(columns.len());
                }
                columns.push(expr.clone().field("start").alias(format!("__g{n}_start")));
                columns.push(expr.field("end").alias(format!("__g{n}_end")));
                groups.push(GroupColumn::Window);
                if time.is_none_or(|(_, followed)| is_followed && !followed) {
                    time = Some((columns.len() - 1, is_followed));
                }
            } else {
                columns.push(expr.alias(format!("__g{n}")));
                groups.push(GroupColumn::Plain);
                if is_followed && time.is_none_or(|(_, followed)| !followed) {
                    time = Some((columns.len() - 1, true));
                }
            }
        }
        let keys = columns.len();
        let arguments: BTreeSet<Column> = aggregate.aggr_expr.iter().flat_map(Expr::column_refs).cloned().collect();
        columns.extend(arguments.into_iter().map(Expr::Column));
        if self.cut.keeps_late {
            let all = input.schema().columns().into_iter().enumerate();
            columns.extend(all.map(|(n, column)| {
                let name = carried(n, &column.name);
                Expr::Column(column).alias(name)
            }));
        }
        let fed = LogicalPlanBuilder::from(input).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)?;
        let combine = self.combine(aggregate, &fed, keys).await?;
        let groups = Groups { columns: groups, output: SchemaRef::clone(aggregate.schema.inner()) };
        let is_followed = time.is_some_and(|(_, followed)| followed);
        self.remembers.aggregates += 1;
        self.remembers.endless += usize::from(!is_followed);
        let operator: Box<dyn Operator> = match session {
            Some(start) => Box::new(Sessions::new(combine, groups, start, is_followed).map_err(|error| failed(error.into()))?),
            None => Box::new(Aggregation::new(combine, groups, time).map_err(|error| failed(error.into()))?),
        };
        self.push(vec![fed], operator, &aggregate.schema)
    }

    /// The plans of an aggregation over rows that begin with the groups' columns.
    async fn combine(&self, aggregate: &Aggregate, fed: &LogicalPlan, keys: usize) -> Result<Combine, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        let leaves = Leaves::default();
        let leaf = leaf(Origin::Operator(0), fed.schema(), &leaves).map_err(failed)?;
        let groups: Vec<Expr> = fed.schema().columns().into_iter().take(keys).map(Expr::Column).collect();
        let plan = LogicalPlanBuilder::from(leaf).aggregate(groups, aggregate.aggr_expr.clone());
        let plan = plan.and_then(LogicalPlanBuilder::build).map_err(failed)?;
        let session: SessionContext = single_session(Arc::clone(self.cut.state.runtime_env()));
        let frame = session.execute_logical_plan(plan).await.map_err(failed)?;
        let context = Arc::new(frame.task_ctx());
        let whole = frame.create_physical_plan().await.map_err(failed)?;
        let inlet = take_leaves(&leaves).pop().map(|(_, inlet)| inlet);
        let not_incremental = || StreamError::Window { query: query.to_owned(), problem: WindowProblem::NotIncremental };
        let combine = Combine::take_apart(whole, inlet.ok_or_else(not_incremental)?, context).map_err(failed)?;
        combine.ok_or_else(not_incremental)
    }

    fn deduplicate(&mut self, node: &DeduplicateNode, input: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        let schema = Arc::clone(input.schema());
        let keys = indexes(&node.keys, &schema).map_err(failed)?;
        let of_key = keys.iter().find(|key| delay_of(schema.field(**key)).is_some());
        let of_row = (0..schema.fields().len()).find_map(|column| delay_of(schema.field(column)).map(|delay| (column, delay)));
        let time = match (node.within_watermark, of_key, of_row) {
            (true, _, Some((column, plus_us))) => Some(DeduplicationTime { column, plus_us, needs_time: false }),
            (true, _, None) => {
                return Err(self.refused(refuse::unsupported(
                    "dropDuplicatesWithinWatermark without a watermark",
                    "follow an event time with `.watermark(…)` or `with_watermark` below it",
                )));
            }
            (false, Some(column), _) => Some(DeduplicationTime { column: *column, plus_us: 0, needs_time: false }),
            (false, None, _) => None,
        };
        let arrow: SchemaRef = SchemaRef::clone(schema.inner());
        let operator = Deduplication::new(arrow, keys, time).map_err(|error| failed(error.into()))?;
        self.remembers.deduplications += 1;
        self.push(vec![input], Box::new(operator), &schema)
    }

    fn transform_with_state(&mut self, node: &TransformWithStateNode, input: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let schema = Arc::clone(input.schema());
        let time = event_time(&schema);
        if node.mode == TimeMode::EventTime && time.is_none() {
            return Err(self.refused(refuse::no_event_time()));
        }
        let keys = indexes(&node.keys, &schema).map_err(|source| self.failed(source))?;
        let output = SchemaRef::clone(node.schema.inner());
        let operator = TransformWithState::new(Arc::clone(&node.processor), node.mode, schema.as_arrow(), keys, time, output);
        let operator = operator.map_err(|source| StreamError::Processor { query: query.to_owned(), source: Box::new(source) })?;
        self.remembers.processors += 1;
        self.push(vec![input], Box::new(operator), &node.schema)
    }

    fn join(&mut self, join: &Join, left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        if join.on.is_empty() {
            return Err(self.refused(refuse::cross_join()));
        }
        let keeps_left = matches!(join.join_type, JoinType::Left | JoinType::Full | JoinType::LeftAnti);
        let keeps_right = matches!(join.join_type, JoinType::Right | JoinType::Full | JoinType::RightAnti);
        if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) || join.null_aware {
            return Err(self.refused(refuse::unsupported("NOT IN, or EXISTS in an expression", "write it as a join")));
        }
        let (left_schema, right_schema) = (Arc::clone(left.schema()), Arc::clone(right.schema()));
        let both: DFSchema = left_schema.join(&right_schema).map_err(failed)?;
        let mut left_keys = Vec::new();
        let mut right_keys = Vec::new();
        let mut marked_key = None;
        for (n, (l, r)) in join.on.iter().enumerate() {
            let (_, l_field) = l.to_field(left_schema.as_ref()).map_err(failed)?;
            let (_, r_field) = r.to_field(right_schema.as_ref()).map_err(failed)?;
            if delay_of(&l_field).is_some() || delay_of(&r_field).is_some() {
                marked_key = marked_key.or(Some(n));
            }
            let r = match l_field.data_type() == r_field.data_type() {
                true => r.clone(),
                false => r.clone().cast_to(l_field.data_type(), right_schema.as_ref()).map_err(failed)?,
            };
            left_keys.push(l.clone().unalias().alias(format!("__k{n}")));
            right_keys.push(r.unalias().alias(format!("__k{n}")));
        }
        let (left_time, right_time) = (event_time(&left_schema), event_time(&right_schema));
        let bound = match (left_time, right_time) {
            (Some(l), Some(r)) => {
                let column = |schema: &DFSchema, index: usize| Column::from(schema.qualified_field(index));
                bounds(join.filter.as_ref(), &column(&left_schema, l), &column(&right_schema, r))
            }
            _ => Bound::default(),
        };
        let over = |schema: &DFSchema, time: Option<usize>, plus_us: Option<i64>| match (marked_key, time, plus_us) {
            (Some(key), _, _) => Some((schema.fields().len() + key, 0)),
            (None, Some(time), Some(plus_us)) => Some((time, plus_us)),
            _ => None,
        };
        let left_over = over(&left_schema, left_time, bound.left_us);
        let right_over = over(&right_schema, right_time, bound.right_us);
        if (keeps_left && left_over.is_none()) || (keeps_right && right_over.is_none()) {
            return Err(self.refused(refuse::endless_outer_join()));
        }
        let left = with_keys(left, left_keys).map_err(failed)?;
        let right = with_keys(right, right_keys).map_err(failed)?;
        let side = |plan: &LogicalPlan, width: usize, time, over| SidePlan {
            schema: SchemaRef::clone(plan.schema().inner()),
            width,
            time,
            over,
        };
        let condition = match &join.filter {
            Some(filter) => Some(self.cut.state.create_physical_expr(filter.clone(), &both).map_err(failed)?),
            None => None,
        };
        let operator = StreamJoin::new(
            join.join_type,
            side(&left, left_schema.fields().len(), left_time, left_over),
            side(&right, right_schema.fields().len(), right_time, right_over),
            condition,
            SchemaRef::clone(join.schema.inner()),
        );
        let operator = operator.map_err(|error| failed(error.into()))?;
        self.remembers.joins += 1;
        self.push(vec![left, right], Box::new(operator), &join.schema)
    }

    /// Puts an operator where the plan is cut; gives the leaf that stands for it.
    fn push(
        &mut self,
        inputs: Vec<LogicalPlan>,
        operator: Box<dyn Operator>,
        schema: &DFSchemaRef,
    ) -> Result<LogicalPlan, StreamError> {
        let kind = operator.kind();
        let count = self.names.entry(kind).or_default();
        let name = format!("{kind}-{count}");
        *count += 1;
        let inputs = inputs.into_iter().map(Segment::new).collect::<datafusion::error::Result<Vec<_>>>();
        let inputs = inputs.map_err(|source| self.failed(source))?;
        let index = self.nodes.len();
        self.nodes.push(Node { name, inputs, operator });
        leaf(Origin::Operator(index), schema, &self.cut.leaves).map_err(|source| self.failed(source))
    }
}

fn only(inputs: Vec<LogicalPlan>) -> LogicalPlan {
    inputs.into_iter().next().unwrap_or_else(|| LogicalPlan::EmptyRelation(empty()))
}

fn empty() -> datafusion::logical_expr::EmptyRelation {
    datafusion::logical_expr::EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::empty()) }
}

fn both_stream(inputs: &[LogicalPlan]) -> datafusion::error::Result<bool> {
    for input in inputs {
        if refuse::reads(input)?.streams == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where columns stand in a schema.
fn indexes(columns: &[Expr], schema: &DFSchema) -> datafusion::error::Result<Vec<usize>> {
    let columns = columns.iter().filter_map(|column| if let Expr::Column(column) = column { Some(column) } else { None });
    columns.map(|column| schema.index_of_column(column)).collect()
}

/// The column of the event time that is followed: a timestamp before a window of it.
fn event_time(schema: &DFSchema) -> Option<usize> {
    let marked = |index: &usize| delay_of(schema.field(*index)).is_some();
    let is_plain = |index: &usize| !is_window(schema.field(*index));
    (0..schema.fields().len()).filter(marked).find(is_plain).or_else(|| (0..schema.fields().len()).find(marked))
}

fn with_keys(plan: LogicalPlan, keys: Vec<Expr>) -> datafusion::error::Result<LogicalPlan> {
    let own = plan.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = own.chain(keys).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A leaf with the columns of a plan, by its qualified names.
fn leaf(origin: Origin, schema: &DFSchemaRef, leaves: &Leaves) -> datafusion::error::Result<LogicalPlan> {
    const TABLE: &str = "__operator";
    let numbered = |(n, field): (usize, &Arc<Field>)| field.as_ref().clone().with_name(format!("c{n}"));
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(numbered).collect();
    let table = InletTable { origin, schema: Arc::new(Schema::new(fields)), leaves: Arc::clone(leaves) };
    let scan = LogicalPlanBuilder::scan(TABLE, provider_as_source(Arc::new(table)), None)?;
    let named = schema.iter().enumerate().map(|(n, (qualifier, field))| {
        Expr::Column(Column::new(Some(TABLE), format!("c{n}"))).alias_qualified(qualifier.cloned(), field.name())
    });
    scan.project(named.collect::<Vec<_>>())?.build()
}
