//! What a frame over a stream can do beside what every frame can.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::DataFrame;

use super::deduplicate::DeduplicateNode;
use super::named::NamedNode;
use super::transform_with_state::TransformWithStateNode;
use super::watermark::WatermarkNode;
use crate::stateful::{StatefulProcessor, TimeMode};

/// What a [`DataFrame`] over a stream can do beside what every frame can. Frames over tables cannot be executed with these.
pub trait StreamFrame: Sized {
    /// Follows the event time in a column, and waits `delay` for late rows.
    ///
    /// **Errors**: when there is no such column.
    ///
    /// **Source**: Spark, `Dataset.withWatermark`.
    fn with_watermark(self, column: &str, delay: Duration) -> Result<Self>;

    /// Names the operator that this frame ends with, or the nearest one below. By its name the operator finds its state again after the
    /// query has changed; without one its kind and its keys are its name.
    ///
    /// **Errors**: when the query is planned: no operator is below, or two have this name.
    fn named(self, name: &str) -> Result<Self>;

    /// Lets the first row of each combination of these columns pass. When one of them is an event time that is followed, or a window
    /// of it, combinations are forgotten when the watermark has passed it.
    ///
    /// **Source**: Spark, `Dataset.dropDuplicates`.
    fn drop_duplicates(self, columns: &[&str]) -> Result<Self>;

    /// As [`drop_duplicates`](Self::drop_duplicates), when rows of one combination have different event times, no further apart than
    /// the delay of the watermark.
    ///
    /// **Source**: Spark, `Dataset.dropDuplicatesWithinWatermark`.
    fn drop_duplicates_within_watermark(self, columns: &[&str]) -> Result<Self>;

    /// Lets a processor with state of its own make rows of `output` from the rows of each combination of `keys`. Without keys, all rows
    /// are of one combination. Rows that a watermark below has passed are late and do not come.
    ///
    /// In the append and the update mode; in update mode it is the only operator of the query that remembers. By event time it needs a
    /// watermark below.
    ///
    /// **Errors**: when there is no such column.
    ///
    /// **Source**: Spark, `KeyValueGroupedDataset.transformWithState`.
    fn transform_with_state(
        self,
        keys: &[&str],
        output: &SchemaRef,
        mode: TimeMode,
        processor: Arc<dyn StatefulProcessor>,
    ) -> Result<Self>;
}

impl StreamFrame for DataFrame {
    fn named(self, name: &str) -> Result<Self> {
        let (state, input) = self.into_parts();
        Ok(Self::new(state, NamedNode { input, name: name.to_owned() }.into_plan()))
    }

    fn with_watermark(self, column: &str, delay: Duration) -> Result<Self> {
        let delay_us = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
        let (state, plan) = self.into_parts();
        let column = named(&plan, column)?;
        let plan = WatermarkNode::plan(plan, column, delay_us)?;
        Ok(Self::new(state, plan))
    }

    fn drop_duplicates(self, columns: &[&str]) -> Result<Self> {
        deduplicate(self, columns, false)
    }

    fn drop_duplicates_within_watermark(self, columns: &[&str]) -> Result<Self> {
        deduplicate(self, columns, true)
    }

    fn transform_with_state(
        self,
        keys: &[&str],
        output: &SchemaRef,
        mode: TimeMode,
        processor: Arc<dyn StatefulProcessor>,
    ) -> Result<Self> {
        let (state, input) = self.into_parts();
        let keys = all_named(&input, keys)?;
        Ok(Self::new(state, TransformWithStateNode::new(input, keys, output, mode, processor)?.into_plan()))
    }
}

fn deduplicate(frame: DataFrame, columns: &[&str], within_watermark: bool) -> Result<DataFrame> {
    let (state, input) = frame.into_parts();
    let keys = match columns {
        [] => input.schema().columns().into_iter().map(Expr::Column).collect(),
        columns => all_named(&input, columns)?,
    };
    Ok(DataFrame::new(state, DeduplicateNode { input, keys, within_watermark }.into_plan()))
}

/// A column of a plan by its name.
pub(crate) fn named(input: &LogicalPlan, column: &str) -> Result<Expr> {
    input.schema().qualified_field_with_unqualified_name(column).map(|field| Expr::Column(Column::from(field)))
}

fn all_named(input: &LogicalPlan, columns: &[&str]) -> Result<Vec<Expr>> {
    columns.iter().map(|column| named(input, column)).collect()
}
