//! The node of a plan that a user's processor stands for.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, DFSchemaRef, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};

use crate::stateful::{StatefulProcessor, TimeMode};

/// Rows by key go through a processor with state.
#[derive(Clone)]
pub(crate) struct TransformWithStateNode {
    pub(crate) input: LogicalPlan,
    pub(crate) keys: Vec<Expr>,
    pub(crate) schema: DFSchemaRef,
    pub(crate) mode: TimeMode,
    pub(crate) processor: Arc<dyn StatefulProcessor>,
}

impl TransformWithStateNode {
    pub(crate) fn new(
        input: LogicalPlan,
        keys: Vec<Expr>,
        output: &SchemaRef,
        mode: TimeMode,
        processor: Arc<dyn StatefulProcessor>,
    ) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(SchemaRef::clone(output))?);
        Ok(Self { input, keys, schema, mode, processor })
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

    fn address(&self) -> usize {
        Arc::as_ptr(&self.processor).cast::<()>().addr()
    }

    /// What nodes are compared by.
    fn parts(&self) -> (&LogicalPlan, &[Expr], TimeMode, usize) {
        (&self.input, &self.keys, self.mode, self.address())
    }
}

impl fmt::Debug for TransformWithStateNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformWithStateNode").field("keys", &self.keys).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl PartialEq for TransformWithStateNode {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts() && self.schema == other.schema
    }
}

impl Eq for TransformWithStateNode {}

impl Hash for TransformWithStateNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for TransformWithStateNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl UserDefinedLogicalNodeCore for TransformWithStateNode {
    fn name(&self) -> &str {
        "TransformWithState"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "TransformWithState: {} by {:?}", keys.join(", "), self.mode)
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) if inputs.is_empty() => Ok(Self { input, keys, ..self.clone() }),
            _ => plan_err!("a stateful transformation has one input"),
        }
    }
}
