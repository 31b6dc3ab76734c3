//! Tumbling windows, as a query declares them.

use std::collections::BTreeSet;
use std::time::Duration;

use boathouse_base::OutputMode;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, ident};

use crate::error::WindowProblem;
use crate::event_time::Watermark;
use crate::plan::window_of;

/// The window of a group, before its sides are columns.
const WINDOW: &str = "__window_of_group";
/// Where a window begins, in the result.
const WINDOW_START: &str = "window_start";
/// Where it ends.
const WINDOW_END: &str = "window_end";

/// Windows of one width, one beginning where the last ends, aligned to the Unix epoch; each row falls into exactly one.
///
/// **Shape** of the result: `window_start`, `window_end` (timestamps in microseconds, in the zone of the event time),
/// the columns of [`by`](Self::by), then one column for each aggregate. A window `[start, end)` holds the rows with
/// `start <= event time < end`; rows without an event time are in none.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use boathouse_stream::TumblingWindow;
///
/// let hourly = TumblingWindow::over("scheduled_departure", Duration::from_secs(3600))
///     .by(["origin"])
///     .count("flights")
///     .avg("dep_delay", "mean_delay");
/// ```
#[derive(Debug, Clone)]
#[must_use = "a window does nothing until a query is given it"]
pub struct TumblingWindow {
    pub(crate) event_time: String,
    pub(crate) width: Duration,
    pub(crate) keys: Vec<String>,
    pub(crate) aggregates: Vec<Expr>,
    names: Vec<String>,
}

impl TumblingWindow {
    /// Windows of `width` over the timestamps in `event_time`.
    pub fn over(event_time: impl Into<String>, width: Duration) -> Self {
        Self { event_time: event_time.into(), width, keys: Vec::new(), aggregates: Vec::new(), names: Vec::new() }
    }

    /// One row for each of the groups of these columns in a window.
    pub fn by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.keys.extend(columns.into_iter().map(Into::into));
        self
    }

    /// The number of rows.
    pub fn count(self, name: impl Into<String>) -> Self {
        self.aggregate(name, expr_fn::count(lit(1_i64)))
    }

    /// The sum of a column.
    pub fn sum(self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.aggregate(name, expr_fn::sum(ident(column)))
    }

    /// The least value of a column.
    pub fn min(self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.aggregate(name, expr_fn::min(ident(column)))
    }

    /// The greatest value of a column.
    pub fn max(self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.aggregate(name, expr_fn::max(ident(column)))
    }

    /// The mean of a column.
    pub fn avg(self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.aggregate(name, expr_fn::avg(ident(column)))
    }

    /// Any aggregate of the engine: `approx_distinct`, `stddev`, your own. Its state is stored with the window, so one with
    /// DISTINCT stores every value.
    pub fn aggregate(mut self, name: impl Into<String>, expr: Expr) -> Self {
        let name = name.into();
        self.aggregates.push(expr.alias(&name));
        self.names.push(name);
        self
    }

    /// In microseconds; [`check`](Self::check) has seen that it fits.
    pub(crate) fn width_us(&self) -> i64 {
        i64::try_from(self.width.as_micros()).unwrap_or(i64::MAX)
    }

    /// The rows of the result, from the rows that are aggregated.
    pub(crate) fn aggregate_rows(&self, frame: DataFrame) -> Result<DataFrame> {
        let width = ScalarValue::new_interval_mdn(0, 0, self.width_us().saturating_mul(1_000));
        let window = window_of(ident(&self.event_time), lit(width)).alias(WINDOW);
        let groups = std::iter::once(window).chain(self.keys.iter().map(ident)).collect();
        let frame = frame.aggregate(groups, self.aggregates.clone())?;
        let side = |side: &str, name: &str| ident(WINDOW).field(side).alias(name);
        let mut columns = vec![side("start", WINDOW_START), side("end", WINDOW_END)];
        columns.extend(self.keys.iter().chain(&self.names).map(ident));
        frame.select(columns)
    }

    pub(crate) fn check(&self, watermark: Option<&Watermark>, mode: OutputMode) -> std::result::Result<(), WindowProblem> {
        if self.width < Duration::from_micros(1) || i64::try_from(self.width.as_micros()).is_err() {
            return Err(WindowProblem::Width { width: self.width });
        }
        match watermark {
            None if mode == OutputMode::Append => return Err(WindowProblem::NoWatermark { event_time: self.event_time.clone() }),
            Some(watermark) if watermark.column != self.event_time => {
                return Err(WindowProblem::OtherColumn { window: self.event_time.clone(), watermark: watermark.column.clone() });
            }
            _ => {}
        }
        if self.aggregates.is_empty() {
            return Err(WindowProblem::NoAggregate);
        }
        let mut names = BTreeSet::from([WINDOW_START, WINDOW_END]);
        match self.keys.iter().chain(&self.names).find(|name| !names.insert(name)) {
            Some(column) => Err(WindowProblem::Duplicate { column: column.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(column: &str) -> Watermark {
        Watermark { column: column.to_owned(), delay: Duration::from_secs(1) }
    }

    fn window() -> TumblingWindow {
        TumblingWindow::over("t", Duration::from_secs(10))
    }

    #[test]
    fn a_window_that_could_never_end_or_says_nothing_is_refused() {
        let append = |window: TumblingWindow| window.check(Some(&watermark("t")), OutputMode::Append);
        assert_eq!(append(window().count("n")), Ok(()));
        assert_eq!(append(window()), Err(WindowProblem::NoAggregate));
        assert_eq!(append(window().by(["n"]).count("n")), Err(WindowProblem::Duplicate { column: "n".into() }));
        assert_eq!(append(window().count("window_end")), Err(WindowProblem::Duplicate { column: "window_end".into() }));
        let zero = TumblingWindow::over("t", Duration::from_nanos(999)).count("n");
        assert!(matches!(append(zero), Err(WindowProblem::Width { .. })));
        let without = window().count("n");
        assert_eq!(without.check(None, OutputMode::Append), Err(WindowProblem::NoWatermark { event_time: "t".into() }));
        assert_eq!(without.check(None, OutputMode::Complete), Ok(()));
        assert!(matches!(without.check(Some(&watermark("u")), OutputMode::Append), Err(WindowProblem::OtherColumn { .. })));
    }
}
