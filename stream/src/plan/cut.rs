//! Taking a plan over streams apart, at each operator that must remember.
//!
//! ```text
//!   Projection                           segment 2: Projection over an inlet
//!     Aggregate            ──▶           operator:  aggregation, fed by
//!       Filter                           segment 1: Projection (groups, arguments) over Filter over an inlet
//!         TableScan source
//! ```

use std::collections::BTreeSet;
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
use super::{
    Bound, DeduplicateNode, NamedNode, TransformWithStateNode, bounds, delay_of, description_of, follow_calls, session_window_of,
    unfold_windows,
};
use crate::error::{Refusal, StreamError, WindowProblem};
use crate::event_time::SharedSeen;
use crate::evolution::{Naming, unique};
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
        let plan = unfold_windows(follow_calls(plan).map_err(failed)?).map_err(failed)?;
        let plan = self.analyze(plan).map_err(failed)?;
        let (plan, watermarks) = number_watermarks(query, plan)?;
        let mut cutting = Cutting { cut: self, nodes: Vec::new(), remembers: Remembers::default() };
        let last = cutting.cut(plan).await?;
        if let Some(refusal) = refuse::refuse_mode(cutting.cut.mode, cutting.remembers) {
            return Err(cutting.refused(refusal));
        }
        let last = Segment::new(last).map_err(failed)?;
        let Cutting { cut, mut nodes, .. } = cutting;
        name_all(query, &mut nodes)?;
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
}

/// What an operator is known by.
struct Terms {
    by: Vec<String>,
    also: Vec<String>,
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
            let before = self.nodes.len();
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
                _ => match (DeduplicateNode::of(&plan), TransformWithStateNode::of(&plan), NamedNode::of(&plan)) {
                    (Some(node), _, _) => self.deduplicate(node, only(inputs)),
                    (_, Some(node), _) => self.transform_with_state(node, only(inputs)),
                    (_, _, Some(named)) => match self.nodes.get_mut(before..).and_then(<[Node]>::last_mut) {
                        Some(node) => {
                            node.name.clone_from(&named.name);
                            Ok(only(inputs))
                        }
                        None => Err(self.refused(refuse::nothing_named())),
                    },
                    _ => plan.with_new_exprs(plan.expressions(), inputs).map_err(failed),
                },
            }
        })
    }

    async fn aggregate(&mut self, aggregate: &Aggregate, input: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        let naming = self.naming(&input)?;
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        let mut names = Vec::new();
        // The column that says when a group is over, and whether its event time is followed.
        let mut time: Option<(usize, bool)> = None;
        // The group that it is of.
        let mut over_by = None;
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
            names.push(match description_of(&field) {
                Some(window) if is_window(&field) => window.to_owned(),
                _ => naming.text(expr).map_err(failed)?,
            });
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
                    over_by = names.last().cloned();
                }
            } else {
                columns.push(expr.alias(format!("__g{n}")));
                groups.push(GroupColumn::Plain);
                if is_followed && time.is_none_or(|(_, followed)| !followed) {
                    time = Some((columns.len() - 1, true));
                    over_by = names.last().cloned();
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
        let combine = self.combine(aggregate, &fed, keys, naming).await?;
        let mut by = unique(names.clone());
        let groups = Groups { columns: groups, names, output: SchemaRef::clone(aggregate.schema.inner()) };
        let is_followed = time.is_some_and(|(_, followed)| followed);
        self.remembers.aggregates += 1;
        self.remembers.endless += usize::from(!is_followed);
        let operator: Box<dyn Operator> = match session {
            Some(start) => Box::new(Sessions::new(combine, groups, start, is_followed).map_err(|error| failed(error.into()))?),
            None => Box::new(Aggregation::new(combine, groups, time).map_err(|error| failed(error.into()))?),
        };
        // The order of groups does not matter.
        by.sort_unstable();
        let also = over_by.filter(|_| is_followed).map(|group| format!("over by {group}")).into_iter().collect();
        self.push(vec![fed], operator, &aggregate.schema, Terms { by, also })
    }

    fn naming(&self, input: &LogicalPlan) -> Result<Naming, StreamError> {
        Naming::of(input, self.remembers.joins > 0).map_err(|source| self.failed(source))
    }

    /// The plans of an aggregation over rows that begin with the groups' columns.
    async fn combine(
        &self,
        aggregate: &Aggregate,
        fed: &LogicalPlan,
        keys: usize,
        naming: Naming,
    ) -> Result<Combine, StreamError> {
        let query = self.cut.query;
        let failed = |source| plan_error(query, source);
        let leaves = Leaves::default();
        let schema = Arc::new(naming.schema(fed.schema()).map_err(failed)?);
        let leaf = leaf(Origin::Operator(0), &schema, &leaves).map_err(failed)?;
        let groups: Vec<Expr> = schema.columns().into_iter().take(keys).map(Expr::Column).collect();
        // The name of an aggregate is that of its state.
        let texts = aggregate.aggr_expr.iter().map(|expr| naming.text(expr)).collect::<datafusion::error::Result<Vec<_>>>();
        let named = aggregate.aggr_expr.iter().zip(unique(texts.map_err(failed)?));
        let named = named.map(|(expr, name)| Ok(naming.plain(expr.clone().unalias())?.alias(name)));
        let named = named.collect::<datafusion::error::Result<Vec<_>>>().map_err(failed)?;
        let plan = LogicalPlanBuilder::from(leaf).aggregate(groups, named);
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
        let all = self.naming(&input)?.columns(&schema);
        let names: Vec<String> = keys.iter().filter_map(|key| all.get(*key).cloned()).collect();
        let over_by = |time: &DeduplicationTime| format!("over by {}", all.get(time.column).map_or("", String::as_str));
        let mut also: Vec<String> = time.as_ref().map(over_by).into_iter().collect();
        if node.within_watermark {
            also.push("within the watermark".to_owned());
        }
        let operator = Deduplication::new(arrow, keys, &names, time).map_err(|error| failed(error.into()))?;
        self.remembers.deduplications += 1;
        let mut by = names;
        by.sort_unstable();
        self.push(vec![input], Box::new(operator), &schema, Terms { by, also })
    }

    fn transform_with_state(&mut self, node: &TransformWithStateNode, input: LogicalPlan) -> Result<LogicalPlan, StreamError> {
        let query = self.cut.query;
        let schema = Arc::clone(input.schema());
        let time = event_time(&schema);
        if node.mode == TimeMode::EventTime && time.is_none() {
            return Err(self.refused(refuse::no_event_time()));
        }
        let keys = indexes(&node.keys, &schema).map_err(|source| self.failed(source))?;
        let mut by: Vec<String> = keys.iter().map(|key| schema.field(*key).name().clone()).collect();
        by.sort_unstable();
        let output = SchemaRef::clone(node.schema.inner());
        let operator = TransformWithState::new(Arc::clone(&node.processor), node.mode, schema.as_arrow(), keys, time, output);
        let operator = operator.map_err(|source| StreamError::Processor { query: query.to_owned(), source: Box::new(source) })?;
        self.remembers.processors += 1;
        self.push(vec![input], Box::new(operator), &node.schema, Terms { by, also: Vec::new() })
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
        let (left_naming, right_naming) = (self.naming(&left)?, self.naming(&right)?);
        let mut by = Vec::new();
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
            by.push(format!("{} = {}", left_naming.text(l).map_err(failed)?, right_naming.text(&r).map_err(failed)?));
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
        let name = |naming: Naming, schema: &DFSchema| unique(naming.columns(schema).into_iter().chain(by.iter().cloned()));
        let (left_names, right_names) = (name(left_naming, &left_schema), name(right_naming, &right_schema));
        let over_by = |side: &str, names: &[String], over: Option<(usize, i64)>| {
            let (column, plus_us) = over?;
            Some(format!("{side} over by {} and {plus_us} us", names.get(column).map_or("", String::as_str)))
        };
        let also = [
            Some(format!("{} join", join.join_type)),
            over_by("left", &left_names, left_over),
            over_by("right", &right_names, right_over),
        ];
        let left = with_keys(left, left_keys).map_err(failed)?;
        let right = with_keys(right, right_keys).map_err(failed)?;
        let side = |plan: &LogicalPlan, names: Vec<String>, width: usize, time, over| SidePlan {
            schema: SchemaRef::clone(plan.schema().inner()),
            names,
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
            side(&left, left_names, left_schema.fields().len(), left_time, left_over),
            side(&right, right_names, right_schema.fields().len(), right_time, right_over),
            condition,
            SchemaRef::clone(join.schema.inner()),
        );
        let operator = operator.map_err(|error| failed(error.into()))?;
        self.remembers.joins += 1;
        by.sort_unstable();
        let also = also.into_iter().flatten().collect();
        self.push(vec![left, right], Box::new(operator), &join.schema, Terms { by, also })
    }

    /// Puts an operator where the plan is cut; gives the leaf that stands for it.
    fn push(
        &mut self,
        inputs: Vec<LogicalPlan>,
        operator: Box<dyn Operator>,
        schema: &DFSchemaRef,
        terms: Terms,
    ) -> Result<LogicalPlan, StreamError> {
        let inputs = inputs.into_iter().map(Segment::new).collect::<datafusion::error::Result<Vec<_>>>();
        let inputs = inputs.map_err(|source| self.failed(source))?;
        let index = self.nodes.len();
        self.nodes.push(Node { name: String::new(), by: terms.by, also: terms.also, inputs, operator });
        leaf(Origin::Operator(index), schema, &self.cut.leaves).map_err(|source| self.failed(source))
    }
}

/// Names operators that the user has not named, by their kinds and keys.
fn name_all(query: &str, nodes: &mut [Node]) -> Result<(), StreamError> {
    let mut given = BTreeSet::new();
    if let Some(twice) = nodes.iter().map(|node| &node.name).find(|name| !name.is_empty() && !given.insert((*name).clone())) {
        return Err(StreamError::SameOperator { query: query.to_owned(), name: twice.clone() });
    }
    let texts: Vec<String> = nodes.iter().map(|node| format!("{}[{}]", node.operator.kind(), node.by.join(", "))).collect();
    for (node, name) in nodes.iter_mut().zip(unique(texts)).filter(|(node, _)| node.name.is_empty()) {
        node.name = name;
    }
    Ok(())
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
