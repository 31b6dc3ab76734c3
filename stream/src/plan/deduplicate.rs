//! The node of a plan that lets the first row of each key pass.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};

/// Lets the first row of each key pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DeduplicateNode {
    pub(crate) input: LogicalPlan,
    pub(crate) keys: Vec<Expr>,
    /// A key is remembered until the watermark has passed the time of its first row and the delay, whether or not the time is
    /// part of the key.
    pub(crate) within_watermark: bool,
}

impl DeduplicateNode {
    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => (extension.node.as_ref() as &dyn UserDefinedLogicalNode).as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl PartialOrd for DeduplicateNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.input, &self.keys, self.within_watermark).partial_cmp(&(&other.input, &other.keys, other.within_watermark))
    }
}

impl UserDefinedLogicalNodeCore for DeduplicateNode {
    fn name(&self) -> &str {
        "Deduplicate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "Deduplicate: {}{}", keys.join(", "), if self.within_watermark { " within the watermark" } else { "" })
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) if inputs.is_empty() => Ok(Self { input, keys, within_watermark: self.within_watermark }),
            _ => plan_err!("a deduplication has one input"),
        }
    }
}
