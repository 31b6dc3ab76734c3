//! The node of a plan that follows an event time: rows pass, and their times are seen.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::StreamExt;

use super::mark::marked;
use crate::event_time::{SharedSeen, observe};

/// Follows the event time in a column.
#[derive(Debug, Clone)]
pub(crate) struct WatermarkNode {
    input: LogicalPlan,
    column: Expr,
    delay_us: i64,
    /// Which of the query's watermarks it is, once the plan is cut.
    number: usize,
    schema: DFSchemaRef,
}

impl WatermarkNode {
    pub(crate) fn plan(input: LogicalPlan, column: Expr, delay_us: i64) -> Result<LogicalPlan> {
        let node = Self::try_new(input, column, delay_us, 0)?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    fn try_new(input: LogicalPlan, column: Expr, delay_us: i64, number: usize) -> Result<Self> {
        let Expr::Column(name) = &column else {
            return plan_err!("a watermark follows a column, and `{column}` is none");
        };
        let index = input.schema().index_of_column(name)?;
        let fields = input.schema().iter().enumerate().map(|(at, (qualifier, field))| {
            let field = if at == index { Arc::new(marked(field, delay_us)) } else { Arc::clone(field) };
            (qualifier.cloned(), field)
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), input.schema().metadata().clone())?;
        Ok(Self { schema: Arc::new(schema), input, column, delay_us, number })
    }

    pub(crate) fn numbered(&self, number: usize) -> Self {
        Self { number, ..self.clone() }
    }

    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => (extension.node.as_ref() as &dyn UserDefinedLogicalNode).as_any().downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn column(&self) -> String {
        self.column.to_string()
    }

    /// Its name alone.
    pub(crate) fn column_name(&self) -> String {
        match &self.column {
            Expr::Column(column) => column.name.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn delay_us(&self) -> i64 {
        self.delay_us
    }

    /// The type of the column that it follows.
    pub(crate) fn data_type(&self) -> Option<&DataType> {
        self.index().map(|index| self.schema.field(index).data_type())
    }

    fn index(&self) -> Option<usize> {
        match &self.column {
            Expr::Column(column) => self.schema.index_of_column(column).ok(),
            _ => None,
        }
    }
}

impl PartialEq for WatermarkNode {
    fn eq(&self, other: &Self) -> bool {
        (&self.input, &self.column, self.delay_us, self.number) == (&other.input, &other.column, other.delay_us, other.number)
    }
}

impl Eq for WatermarkNode {}

impl Hash for WatermarkNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.column, self.delay_us, self.number).hash(state);
    }
}

impl PartialOrd for WatermarkNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.input, &self.column, self.delay_us, self.number).partial_cmp(&(
            &other.input,
            &other.column,
            other.delay_us,
            other.number,
        ))
    }
}

impl UserDefinedLogicalNodeCore for WatermarkNode {
    fn name(&self) -> &str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.column.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Watermark: {} delay {} us", self.column, self.delay_us)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(column), Some(input)) if exprs.is_empty() && inputs.is_empty() => {
                Self::try_new(input, column, self.delay_us, self.number)
            }
            _ => plan_err!("a watermark has one input and one column"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut needed = output_columns.to_vec();
        needed.extend(self.index());
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Plans [`WatermarkNode`]s; each tells what it sees to the one of its number.
pub(crate) struct WatermarkPlanner(pub(crate) Vec<SharedSeen>);

#[async_trait]
impl ExtensionPlanner for WatermarkPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<WatermarkNode>() else { return Ok(None) };
        let (Some(index), [input], Some(seen)) = (node.index(), physical_inputs, self.0.get(node.number)) else {
            return plan_err!("the watermark of {} cannot be planned", node.column);
        };
        let schema = SchemaRef::clone(node.schema.inner());
        Ok(Some(Arc::new(WatermarkExec::new(Arc::clone(input), schema, index, Arc::clone(seen)))))
    }
}

/// Passes rows on and looks at their times.
#[derive(Debug)]
struct WatermarkExec {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    index: usize,
    seen: SharedSeen,
    properties: Arc<PlanProperties>,
}

impl WatermarkExec {
    fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef, index: usize, seen: SharedSeen) -> Self {
        use datafusion::physical_expr::EquivalenceProperties;
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Self { input, schema, index, seen, properties }
    }
}

impl DisplayAs for WatermarkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WatermarkExec: {}", self.schema.field(self.index).name())
    }
}

impl ExecutionPlan for WatermarkExec {
    fn name(&self) -> &'static str {
        "WatermarkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => {
                Ok(Arc::new(Self::new(input, Arc::clone(&self.schema), self.index, Arc::clone(&self.seen))))
            }
            _ => plan_err!("a watermark has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, seen, index) = (Arc::clone(&self.schema), Arc::clone(&self.seen), self.index);
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            observe(&seen, batch.column(index));
            RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }
}
