//! What a frame over a stream can do beside what every frame can.

use std::time::Duration;

use datafusion::error::Result;
use datafusion::prelude::DataFrame;

use super::deduplicate::DeduplicateNode;
use super::watermark::WatermarkNode;

/// What a [`DataFrame`] over a stream can do beside what every frame can. Frames over tables cannot be executed with these.
pub trait StreamFrame: Sized {
    /// Follows the event time in a column, and waits `delay` for late rows.
    ///
    /// **Errors**: when there is no such column.
    ///
    /// **Source**: Spark, `Dataset.withWatermark`.
    fn with_watermark(self, column: &str, delay: Duration) -> Result<Self>;

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
}

impl StreamFrame for DataFrame {
    fn with_watermark(self, column: &str, delay: Duration) -> Result<Self> {
        let delay_us = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
        let (state, plan) = self.into_parts();
        let column = plan.schema().qualified_field_with_unqualified_name(column)?;
        let column = datafusion::common::Column::from(column);
        let plan = WatermarkNode::plan(plan, datafusion::logical_expr::Expr::Column(column), delay_us)?;
        Ok(Self::new(state, plan))
    }

    fn drop_duplicates(self, columns: &[&str]) -> Result<Self> {
        deduplicate(self, columns, false)
    }

    fn drop_duplicates_within_watermark(self, columns: &[&str]) -> Result<Self> {
        deduplicate(self, columns, true)
    }
}

fn deduplicate(frame: DataFrame, columns: &[&str], within_watermark: bool) -> Result<DataFrame> {
    let (state, input) = frame.into_parts();
    let mut keys = Vec::with_capacity(columns.len());
    for column in columns {
        let column = input.schema().qualified_field_with_unqualified_name(column)?;
        keys.push(datafusion::logical_expr::Expr::Column(column.into()));
    }
    if keys.is_empty() {
        keys = input.schema().iter().map(|column| datafusion::logical_expr::Expr::Column(column.into())).collect();
    }
    Ok(DataFrame::new(state, DeduplicateNode { input, keys, within_watermark }.into_plan()))
}
