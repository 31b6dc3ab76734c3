//! The three resident plans of a windowed aggregation.
//!
//! ```text
//!   rows of the epoch, stamped ─▶ partial ─▶ partial states ─┐
//!                 stored states of the windows they fall into ┴▶ reduce ─▶ new states (stored)
//!                                          states of closed windows ─▶ finish ─▶ rows of the result
//! ```
//! The engine plans the aggregation once as if it were a batch; its one aggregate operator is then taken apart into these
//! three, which share its expressions. So every aggregate whose partial results combine can be used.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boathouse_base::{BatchStream, Result};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::types::TimestampMicrosecondType;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::prelude::ident;

use crate::error::{StreamError, WindowProblem};
use crate::event_time::{EventTime, SharedSeen, WINDOW_END, WINDOW_START};
use crate::inlet::{Inlet, InletTable};
use crate::session::single_session;
use crate::transform::{plan_error, run};
use crate::window::TumblingWindow;

/// The plans for rows of one schema.
pub(crate) struct WindowPlan {
    time: EventTime,
    width_us: i64,
    input: SchemaRef,
    partial: Step,
    reduce: Step,
    finish: Step,
    /// Of the states.
    state: SchemaRef,
    /// Of the result.
    output: SchemaRef,
    context: Arc<TaskContext>,
}

struct Step {
    inlet: Arc<Inlet>,
    plan: Arc<dyn ExecutionPlan>,
}

impl Step {
    fn run(&self, rows: BatchStream, context: &Arc<TaskContext>) -> Result<BatchStream> {
        run(&self.plan, &self.inlet, rows, context).map_err(|error| from_datafusion("aggregate the windows", error))
    }
}

impl WindowPlan {
    /// The plans for transformed rows with the schema `input`.
    ///
    /// **Cost**: a run of the planner, some milliseconds.
    pub(crate) async fn build(
        query: &str,
        window: &TumblingWindow,
        runtime: Arc<RuntimeEnv>,
        input: &SchemaRef,
    ) -> Result<Self, StreamError> {
        let failed = |source| plan_error(query, source);
        let time = EventTime::find(query, &window.event_time, input)?;
        if let Ok(field) = input.field_with_name(WINDOW_START) {
            let problem = WindowProblem::Duplicate { column: field.name().clone() };
            return Err(StreamError::Window { query: query.to_owned(), problem });
        }
        let stamped = time.stamped(input);
        let inlet = Inlet::new(SchemaRef::clone(&stamped));
        let session = single_session(runtime);
        let groups = std::iter::once(WINDOW_START).chain(window.keys.iter().map(String::as_str)).map(ident).collect();
        let frame = session
            .read_table(Arc::new(InletTable(Arc::clone(&inlet))))
            .and_then(|frame| frame.aggregate(groups, window.aggregates.clone()))
            .map_err(failed)?;
        let context = Arc::new(frame.task_ctx());
        let whole = frame.create_physical_plan().await.map_err(failed)?;
        let not_incremental = || StreamError::Window { query: query.to_owned(), problem: WindowProblem::NotIncremental };
        let aggregate = only_aggregate(&whole).ok_or_else(not_incremental)?;
        let build = || -> DataFusionResult<_> {
            let expressions = aggregate.aggr_expr().to_vec();
            let layer = |mode, group_by, filters, input| {
                AggregateExec::try_new(mode, group_by, expressions.clone(), filters, input, aggregate.input_schema())
            };
            let filters = aggregate.filter_expr().to_vec();
            let partial = layer(AggregateMode::Partial, aggregate.group_expr().clone(), filters, Arc::clone(aggregate.input()))?;
            let state = partial.schema();
            let combined = partial.group_expr().as_final();
            let no_filters = vec![None; expressions.len()];
            let reduce_inlet = Inlet::new(SchemaRef::clone(&state));
            let reduce =
                layer(AggregateMode::PartialReduce, combined.clone(), no_filters.clone(), reduce_inlet.exec(None, None)?)?;
            let finish_inlet = Inlet::new(SchemaRef::clone(&state));
            let finish = layer(AggregateMode::Final, combined, no_filters, finish_inlet.exec(None, None)?)?;
            let finish = replace_aggregate(Arc::clone(&whole), &(Arc::new(finish) as Arc<dyn ExecutionPlan>))?;
            Ok((
                state,
                Step { inlet, plan: Arc::new(partial) },
                Step { inlet: reduce_inlet, plan: Arc::new(reduce) },
                Step { inlet: finish_inlet, plan: finish },
            ))
        };
        let (state, partial, reduce, finish) = build().map_err(failed)?;
        let output = with_window_end(&finish.plan.schema());
        let width_us = window.width_us();
        Ok(Self { time, width_us, input: SchemaRef::clone(input), partial, reduce, finish, state, output, context })
    }

    /// Whether it can aggregate transformed rows with this schema.
    pub(crate) fn serves(&self, input: &SchemaRef) -> bool {
        Arc::ptr_eq(&self.input, input) || self.input.fields() == input.fields()
    }

    /// Of the transformed rows that it was built for.
    pub(crate) fn input(&self) -> &SchemaRef {
        &self.input
    }

    /// Of the states.
    pub(crate) fn state(&self) -> &SchemaRef {
        &self.state
    }

    /// Of the result.
    pub(crate) fn output(&self) -> SchemaRef {
        SchemaRef::clone(&self.output)
    }

    /// Partial states of the rows that are in time.
    pub(crate) async fn partial(&self, rows: BatchStream, late_us: Option<i64>, seen: SharedSeen) -> Result<Vec<RecordBatch>> {
        let stamped = self.time.clone().stamp(rows, self.width_us, late_us, seen);
        self.partial.run(stamped, &self.context)?.collect().await
    }

    /// States with one row for each group, from states with more.
    pub(crate) async fn reduce(&self, states: Vec<RecordBatch>) -> Result<RecordBatch> {
        let states = BatchStream::from_batches(SchemaRef::clone(&self.state), self.conform(states)?);
        let reduced = self.reduce.run(states, &self.context)?.collect().await?;
        self.concat(&reduced)
    }

    /// Rows of the result, from states with one row for each group.
    pub(crate) async fn finish(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let states = BatchStream::from_batches(SchemaRef::clone(&self.state), self.conform(states)?);
        let rows = self.finish.run(states, &self.context)?.collect().await?;
        rows.iter().map(|batch| self.add_window_end(batch).map_err(arrow)).collect()
    }

    fn concat(&self, states: &[RecordBatch]) -> Result<RecordBatch> {
        concat_batches(&self.state, states).map_err(arrow)
    }

    /// States with exactly our schema object: those that were stored differ in metadata, perhaps in nullability.
    fn conform(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let conformed =
            states.into_iter().map(|batch| RecordBatch::try_new(SchemaRef::clone(&self.state), batch.columns().to_vec()));
        conformed.collect::<Result<_, _>>().map_err(arrow)
    }

    fn add_window_end(&self, batch: &RecordBatch) -> Result<RecordBatch, datafusion::arrow::error::ArrowError> {
        let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let ends = starts.unary::<_, TimestampMicrosecondType>(|start| start.saturating_add(self.width_us));
        let ends: ArrayRef = Arc::new(ends.with_data_type(starts.data_type().clone()));
        let mut columns = batch.columns().to_vec();
        columns.insert(1, ends);
        RecordBatch::try_new(SchemaRef::clone(&self.output), columns)
    }
}

fn arrow(error: datafusion::arrow::error::ArrowError) -> boathouse_base::Error {
    from_datafusion("aggregate the windows", DataFusionError::from(error))
}

fn with_window_end(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    let end = Field::new(WINDOW_END, schema.field(0).data_type().clone(), schema.field(0).is_nullable());
    fields.insert(1, Arc::new(end));
    Arc::new(Schema::new(fields))
}

/// The aggregate of a plan, if there is exactly one.
fn only_aggregate(plan: &Arc<dyn ExecutionPlan>) -> Option<AggregateExec> {
    let mut found = Vec::new();
    collect_aggregates(plan, &mut found);
    let only = found.pop().filter(|_| found.is_empty())?;
    matches!(only.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned).then_some(only)
}

fn collect_aggregates(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<AggregateExec>) {
    if let Some(aggregate) = (plan.as_ref() as &dyn Any).downcast_ref::<AggregateExec>() {
        found.push(aggregate.clone());
    }
    plan.children().into_iter().for_each(|child| collect_aggregates(child, found));
}

/// The plan with its aggregate replaced; what stands above it (names, casts) stays.
fn replace_aggregate(plan: Arc<dyn ExecutionPlan>, by: &Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        Ok(match (node.as_ref() as &dyn Any).is::<AggregateExec>() {
            true => Transformed::new(Arc::clone(by), true, TreeNodeRecursion::Jump),
            false => Transformed::no(node),
        })
    })
    .data()
}

/// The rows of a batch of states by the beginning of their window, in their order.
pub(crate) fn split_by_window(states: &RecordBatch) -> Result<BTreeMap<i64, RecordBatch>> {
    let starts = states.column(0).as_primitive::<TimestampMicrosecondType>();
    let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (row, start) in starts.values().iter().enumerate() {
        rows.entry(*start).or_default().push(row as u64);
    }
    if let [start] = rows.keys().copied().collect::<Vec<_>>()[..] {
        return Ok(BTreeMap::from([(start, states.clone())]));
    }
    rows.into_iter()
        .map(|(start, rows)| Ok((start, take_record_batch(states, &UInt64Array::from(rows)).map_err(arrow)?)))
        .collect()
}

/// The windows that partial states fall into.
pub(crate) fn windows_of(states: &[RecordBatch]) -> BTreeSet<i64> {
    let starts = |batch: &RecordBatch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    states.iter().flat_map(starts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::default_session;

    #[tokio::test]
    async fn a_plan_with_two_aggregates_cannot_be_taken_apart() {
        let plan = async |sql: &str| default_session().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let one = plan("SELECT v % 2 AS k, sum(v) AS s FROM (VALUES (1), (2)) t(v) GROUP BY v % 2").await;
        assert!(only_aggregate(&one).is_some());
        let two =
            plan("SELECT k, count(*) FROM (SELECT v % 2 AS k, v FROM (VALUES (1), (2)) t(v) GROUP BY v % 2, v) GROUP BY k").await;
        assert!(only_aggregate(&two).is_none());
    }
}
