//! The three resident plans of an aggregation.
//!
//! ```text
//!   rows of the epoch ─▶ partial ─▶ partial states ─┐
//!                  stored states of the same groups ┴▶ reduce ─▶ new states (stored)
//!                                              states ─▶ finish ─▶ rows of the result
//! ```
//! The engine plans the aggregation once as if it were a batch; its one aggregate operator is then taken apart into these
//! three, which share its expressions. So every aggregate whose partial results combine can be used.

use std::any::Any;
use std::sync::Arc;

use boathouse_base::{BatchStream, Result};
use boathouse_frames::from_datafusion;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};

use crate::evolution::unique;
use crate::inlet::Inlet;
use crate::operators::expiry::arrow;
use crate::transform::run;

/// The plans of an aggregation.
pub(crate) struct Combine {
    partial: Step,
    reduce: Step,
    finish: Step,
    /// Of the states: the groups' columns, then those of the aggregates.
    state: SchemaRef,
    values: Vec<Value>,
    context: Arc<TaskContext>,
}

/// A column of an aggregate's state.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) name: String,
    /// The aggregate.
    pub(crate) of: String,
    /// What it is before any row came.
    pub(crate) zero: ScalarValue,
}

struct Step {
    inlet: Arc<Inlet>,
    plan: Arc<dyn ExecutionPlan>,
}

impl Step {
    fn run(&self, rows: BatchStream, context: &Arc<TaskContext>) -> Result<BatchStream> {
        run(&self.plan, &self.inlet, rows, context).map_err(|error| from_datafusion("aggregate", error))
    }
}

impl Combine {
    /// Takes the plan of an aggregation over the rows of `inlet` apart. `None` when it does not have exactly one aggregate.
    pub(crate) fn take_apart(
        whole: Arc<dyn ExecutionPlan>,
        inlet: Arc<Inlet>,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<Option<Self>> {
        let Some(aggregate) = only_aggregate(&whole) else { return Ok(None) };
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
        let reduce = layer(AggregateMode::PartialReduce, combined.clone(), no_filters.clone(), reduce_inlet.exec(None, None)?)?;
        let finish_inlet = Inlet::new(SchemaRef::clone(&state));
        let finish = layer(AggregateMode::Final, combined, no_filters, finish_inlet.exec(None, None)?)?;
        let finish = replace_aggregate(Arc::clone(&whole), &(Arc::new(finish) as Arc<dyn ExecutionPlan>))?;
        Ok(Some(Self {
            partial: Step { inlet, plan: Arc::new(partial) },
            reduce: Step { inlet: reduce_inlet, plan: Arc::new(reduce) },
            finish: Step { inlet: finish_inlet, plan: finish },
            values: values_of(&expressions)?,
            state,
            context,
        }))
    }

    /// Of the states.
    pub(crate) fn state(&self) -> &SchemaRef {
        &self.state
    }

    /// Of the states that are stored: as [`state`](Self::state), by names that stay when the statement changes.
    pub(crate) fn stored(&self, groups: Vec<String>) -> SchemaRef {
        let names = unique(groups.into_iter().chain(self.values.iter().map(|value| value.name.clone())));
        let fields = self.state.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The columns of the aggregates' states, in their order.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// States of rows; a group may have several.
    pub(crate) async fn partial(&self, rows: BatchStream) -> Result<Vec<RecordBatch>> {
        self.partial.run(rows, &self.context)?.collect().await
    }

    /// One state for each group, from states with more.
    pub(crate) async fn reduce(&self, states: Vec<RecordBatch>) -> Result<RecordBatch> {
        let states = BatchStream::from_batches(SchemaRef::clone(&self.state), self.conform(states)?);
        let reduced = self.reduce.run(states, &self.context)?.collect().await?;
        concat_batches(&self.state, &self.conform(reduced)?).map_err(arrow)
    }

    /// Rows of the result, from one state for each group.
    pub(crate) async fn finish(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let states = BatchStream::from_batches(SchemaRef::clone(&self.state), self.conform(states)?);
        self.finish.run(states, &self.context)?.collect().await
    }

    /// States with exactly our schema object: those that were stored differ in metadata, perhaps in nullability.
    fn conform(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let conformed =
            states.into_iter().map(|batch| RecordBatch::try_new(SchemaRef::clone(&self.state), batch.columns().to_vec()));
        conformed.collect::<Result<_, _>>().map_err(arrow)
    }
}

/// The columns of the states of aggregates, with what they are before any row came.
fn values_of(expressions: &[Arc<AggregateFunctionExpr>]) -> DataFusionResult<Vec<Value>> {
    let mut values = Vec::new();
    for expression in expressions {
        let of = expression.name();
        let zeros = expression.create_accumulator()?.state()?;
        let fields = expression.state_fields()?;
        if fields.len() != zeros.len() {
            return internal_err!("the state of {of} has {} columns, and {} were announced", zeros.len(), fields.len());
        }
        for (field, zero) in fields.iter().zip(zeros) {
            let name = if field.name().starts_with(of) { field.name().clone() } else { format!("{of}[{}]", field.name()) };
            values.push(Value { name, of: of.to_owned(), zero });
        }
    }
    // Names are those of the stored columns.
    let names = unique(values.iter().map(|value| value.name.clone()));
    Ok(values.into_iter().zip(names).map(|(value, name)| Value { name, ..value }).collect())
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
