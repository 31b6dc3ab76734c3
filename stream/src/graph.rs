//! Segments and operators of a query, in the order in which an epoch runs through them.

use std::collections::BTreeMap;
use std::sync::Arc;

use boathouse_base::{BatchStream, Env, Result};
use boathouse_frames::{from_datafusion, from_engine};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use crate::event_time::{Seen, SharedSeen, take};
use crate::evolution::{ColumnRef, OperatorRef, Role, StoreRef};
use crate::inlet::{Inlet, Leaves, Origin, take_leaves};
use crate::operators::{Done, EpochTimes, Operator};
use crate::plan::refuse::reads;
use crate::plan::watermark::{WatermarkNode, WatermarkPlanner};
use crate::state::Store;

/// An event time that is followed.
pub(crate) struct Followed {
    /// Unique in the query.
    pub(crate) name: String,
    pub(crate) column: String,
    pub(crate) delay_us: i64,
    pub(crate) seen: SharedSeen,
}

/// An operator, and what feeds it.
pub(crate) struct Node {
    /// Unique in the query.
    pub(crate) name: String,
    /// Its keys, in a fixed order.
    pub(crate) by: Vec<String>,
    /// What else must not change while it remembers.
    pub(crate) also: Vec<String>,
    pub(crate) inputs: Vec<Segment>,
    pub(crate) operator: Box<dyn Operator>,
}

impl Node {
    fn remembered(&mut self) -> OperatorRef {
        let values: BTreeMap<String, String> =
            self.operator.values().iter().map(|value| (value.name.clone(), value.of.clone())).collect();
        let rest = if self.operator.holds_rows() { Role::Carried } else { Role::Fixed };
        let mut stores = Vec::new();
        for (name, store) in self.operator.stores() {
            let column = |(index, field): (usize, &Arc<Field>)| {
                let of = values.get(field.name()).cloned();
                let role = match of {
                    Some(_) => Role::Aggregate,
                    None if store.keying().columns().contains(&index) => Role::Key,
                    None => rest,
                };
                ColumnRef { name: field.name().clone(), data_type: field.data_type().to_string(), role, of, since: 0 }
            };
            let columns = store.schema().fields().iter().enumerate().map(column).collect();
            stores.push(StoreRef { name: name.to_owned(), columns, seed: 0, files: Vec::new() });
        }
        let (by, also) = (self.by.clone(), self.also.clone());
        OperatorRef { name: self.name.clone(), kind: self.operator.kind().to_owned(), by, also, stores }
    }
}

/// A part of the plan that remembers nothing.
pub(crate) struct Segment {
    plan: LogicalPlan,
    planned: Option<Planned>,
    /// It reads other tables too.
    reads_tables: bool,
    /// It has a watermark.
    follows: bool,
}

struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    inlets: Vec<(Origin, Arc<Inlet>)>,
    context: Arc<TaskContext>,
}

impl Segment {
    pub(crate) fn new(plan: LogicalPlan) -> DataFusionResult<Self> {
        let reads_tables = reads(&plan)?.tables > 0;
        let mut follows = false;
        plan.apply(|node| {
            follows |= WatermarkNode::of(node).is_some();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self { plan, planned: None, reads_tables, follows })
    }

    async fn prepare(&mut self, planner: &DefaultPhysicalPlanner, state: &SessionState, leaves: &Leaves) -> DataFusionResult<()> {
        if self.planned.is_some() {
            return Ok(());
        }
        let optimized = state.optimize(&self.plan)?;
        drop(take_leaves(leaves));
        let plan = planner.create_physical_plan(&optimized, state).await?;
        self.planned = Some(Planned { plan, inlets: take_leaves(leaves), context: state.task_ctx() });
        Ok(())
    }

    fn inlets(&self) -> &[(Origin, Arc<Inlet>)] {
        self.planned.as_ref().map_or(&[], |planned| &planned.inlets)
    }

    /// Starts to compute the rows that were put into the inlets.
    fn run(&self) -> DataFusionResult<BatchStream> {
        let Some(planned) = &self.planned else {
            return Err(datafusion::error::DataFusionError::Internal("a segment runs before it is planned".to_owned()));
        };
        let fresh = reset_plan_states(Arc::clone(&planned.plan))?;
        Ok(from_engine(execute_stream(fresh, Arc::clone(&planned.context))?))
    }
}

/// A query as segments and operators.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    last: Segment,
    watermarks: Vec<Followed>,
    /// Of the sources that it was made for.
    schemas: Vec<SchemaRef>,
    state: SessionState,
    leaves: Leaves,
    planner: DefaultPhysicalPlanner,
}

/// What the operators of an epoch did, by their names.
pub(crate) type AllDone = Vec<(String, &'static str, Done)>;

impl Graph {
    pub(crate) fn new(
        nodes: Vec<Node>,
        last: Segment,
        watermarks: Vec<Followed>,
        schemas: Vec<SchemaRef>,
        state: SessionState,
        leaves: Leaves,
    ) -> Self {
        let seen = watermarks.iter().map(|followed| Arc::clone(&followed.seen)).collect();
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WatermarkPlanner(seen))]);
        Self { nodes, last, watermarks, schemas, state, leaves, planner }
    }

    /// Whether it can compute the next epoch, whose sources have these schemas. When it reads other tables it cannot: they may have
    /// new rows, columns, or definitions.
    pub(crate) fn serves(&self, schemas: &[SchemaRef]) -> bool {
        let mut segments = self.nodes.iter().flat_map(|node| &node.inputs).chain([&self.last]);
        !segments.any(|segment| segment.reads_tables) && self.has_schemas(schemas)
    }

    /// Whether its sources have these schemas: what it remembers can then be taken over by a new one.
    pub(crate) fn has_schemas(&self, schemas: &[SchemaRef]) -> bool {
        let same = |(ours, theirs): (&SchemaRef, &SchemaRef)| Arc::ptr_eq(ours, theirs) || ours.fields() == theirs.fields();
        self.schemas.len() == schemas.len() && self.schemas.iter().zip(schemas).all(same)
    }

    /// Whether anything is remembered.
    pub(crate) fn is_stateful(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Whether event times are seen only while the result is read: a watermark stands above all operators, or beside them.
    pub(crate) fn sees_late(&self) -> bool {
        self.last.follows
    }

    pub(crate) fn watermarks(&self) -> &[Followed] {
        &self.watermarks
    }

    /// What was seen since it was last asked, by watermark.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        self.watermarks.iter().map(|followed| take(&followed.seen)).collect()
    }

    /// What the operators remember, by the names of operator and store.
    pub(crate) fn stores(&mut self) -> Vec<(String, String, &mut Store)> {
        let mut stores = Vec::new();
        for node in &mut self.nodes {
            for (name, store) in node.operator.stores() {
                stores.push((node.name.clone(), name.to_owned(), store));
            }
        }
        stores
    }

    /// What the operators remember, as a position records it, without files.
    pub(crate) fn remembered(&mut self) -> Vec<OperatorRef> {
        self.nodes.iter_mut().map(Node::remembered).collect()
    }

    /// The states of no rows, by the columns of the aggregates in the stores of an operator.
    pub(crate) fn zeros(&self, operator: &str) -> Vec<(String, ScalarValue)> {
        let values = self.nodes.iter().filter(|node| node.name == operator).flat_map(|node| node.operator.values());
        values.map(|value| (value.name.clone(), value.zero.clone())).collect()
    }

    /// Takes what another graph of the same query remembers; `false` when the operators are not the same.
    pub(crate) fn take_over(&mut self, other: &mut Self) -> bool {
        if self.remembered() != other.remembered() {
            return false;
        }
        let (mut ours, mut theirs) = (self.stores(), other.stores());
        for (our, their) in ours.iter_mut().zip(&mut theirs) {
            std::mem::swap(our.2, their.2);
        }
        true
    }

    /// When an operator has something to do even if no rows come, by the query's clock.
    pub(crate) fn wake_us(&self) -> Option<i64> {
        self.nodes.iter().filter_map(|node| node.operator.wake_us()).min()
    }

    /// Plans what is not planned yet.
    ///
    /// **Cost**: a run of the planner for each segment.
    pub(crate) async fn prepare(&mut self) -> DataFusionResult<()> {
        for segment in self.nodes.iter_mut().flat_map(|node| &mut node.inputs).chain([&mut self.last]) {
            segment.prepare(&self.planner, &self.state, &self.leaves).await?;
        }
        Ok(())
    }

    /// How many inlets each source has.
    fn uses(&self) -> BTreeMap<Origin, usize> {
        let mut uses = BTreeMap::new();
        let segments = self.nodes.iter().flat_map(|node| &node.inputs).chain([&self.last]);
        for (origin, _) in segments.flat_map(Segment::inlets) {
            *uses.entry(*origin).or_default() += 1;
        }
        uses
    }

    /// Runs an epoch: the rows of the sources go in, those of the result come out. The operators have run when it returns; what stands
    /// above them is computed while the result is read.
    pub(crate) async fn run(
        &mut self,
        sources: Vec<BatchStream>,
        times: EpochTimes,
        env: &Env,
    ) -> Result<(BatchStream, AllDone)> {
        let failed = |error| from_datafusion("start a part of the query", error);
        let uses = self.uses();
        let mut rows = Supply::default();
        for (n, source) in sources.into_iter().enumerate() {
            let origin = Origin::Source(n);
            rows.put(origin, source, uses.get(&origin).copied().unwrap_or(0)).await?;
        }
        let mut all_done = AllDone::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let mut inputs = Vec::new();
            for segment in &node.inputs {
                rows.fill(segment);
                inputs.push(segment.run().map_err(failed)?);
            }
            let began_us = env.monotonic_us();
            let (result, mut done) = node.operator.run(inputs, times).await?;
            done.run_us = env.monotonic_us().saturating_sub(began_us);
            all_done.push((node.name.clone(), node.operator.kind(), done));
            let result = BatchStream::from_batches(node.operator.output(), result);
            let origin = Origin::Operator(index);
            rows.put(origin, result, uses.get(&origin).copied().unwrap_or(0)).await?;
        }
        rows.fill(&self.last);
        Ok((self.last.run().map_err(failed)?, all_done))
    }
}

/// The rows that inlets are filled with.
#[derive(Default)]
struct Supply {
    /// For one inlet.
    once: BTreeMap<Origin, BatchStream>,
    /// For several: held until the end of the epoch.
    often: BTreeMap<Origin, (SchemaRef, Vec<RecordBatch>)>,
}

impl Supply {
    async fn put(&mut self, origin: Origin, rows: BatchStream, uses: usize) -> Result<()> {
        if uses > 1 {
            let schema = rows.schema();
            self.often.insert(origin, (schema, rows.collect().await?));
        } else {
            self.once.insert(origin, rows);
        }
        Ok(())
    }

    fn fill(&mut self, segment: &Segment) {
        for (origin, inlet) in segment.inlets() {
            if let Some(rows) = self.once.remove(origin) {
                inlet.fill(rows);
            } else if let Some((schema, batches)) = self.often.get(origin) {
                inlet.fill(BatchStream::from_batches(SchemaRef::clone(schema), batches.clone()));
            }
        }
    }
}
