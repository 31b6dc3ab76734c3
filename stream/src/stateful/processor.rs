//! What a user writes: a processor.

use boathouse_base::Result;
use datafusion::arrow::array::RecordBatch;

use super::groups::StateKey;
use super::handle::StatefulProcessorHandle;
use super::variables::StateVariables;

/// What time timers and times to live go by.
///
/// **Source**: Spark, `TimeMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TimeMode {
    /// There are no timers and no times to live.
    #[default]
    None,
    /// By the query's clock: an epoch has the time at which it began. When a timer is due, an epoch is made even if no rows came.
    ProcessingTime,
    /// By the watermark of the query. There are no times to live.
    EventTime,
}

/// Computes rows from the rows and the state of one key at a time.
///
/// A processor keeps nothing itself: what it must know later goes into its state, so that an epoch that is computed again, after a crash
/// or in another process, gives the same.
///
/// In one epoch each key with new rows is handled once, in the order in which the keys came; then the timers that are due, by time.
/// A row that the watermark has passed is late and is not handled.
///
/// # Example
/// ```
/// use boathouse_base::Result;
/// use boathouse_stream::{StateKey, StateVariables, StatefulProcessor, StatefulProcessorHandle};
/// use datafusion::arrow::array::RecordBatch;
/// use datafusion::arrow::datatypes::{DataType, Field};
/// use datafusion::common::ScalarValue;
///
/// /// How many rows each key has had until now.
/// struct RunningCount;
///
/// impl StatefulProcessor for RunningCount {
///     fn init(&self, states: &mut StateVariables) {
///         states.value("count", [Field::new("n", DataType::Int64, false)]);
///     }
///
///     fn handle_input_rows(&self, key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
///         let mut count = handle.value("count")?;
///         let n = count.get_as::<i64>()?.unwrap_or(0) + rows.num_rows() as i64;
///         count.update([ScalarValue::from(n)])?;
///         let mut row = key.values()?;
///         row.push(ScalarValue::from(n));
///         Ok(handle.emit(row)?)
///     }
/// }
/// ```
///
/// **Source**: Spark, `StatefulProcessor`.
pub trait StatefulProcessor: Send + Sync {
    /// Declares the state. Called when the query is planned; must declare the same each time, but for variables that a new release adds
    /// or leaves out: a new one begins empty, and what is left out is forgotten.
    fn init(&self, states: &mut StateVariables);

    /// Handles the rows that an epoch has for a key, in the order in which they came.
    ///
    /// **Errors**: stop the epoch; nothing of it is kept.
    fn handle_input_rows(&self, key: &StateKey<'_>, rows: RecordBatch, handle: &mut StatefulProcessorHandle<'_>) -> Result<()>;

    /// Handles a timer of a key, `timer_us` in microseconds. The timer is gone when this is called. Without this, timers do nothing.
    ///
    /// **Errors**: as [`handle_input_rows`](Self::handle_input_rows).
    fn handle_expired_timer(&self, key: &StateKey<'_>, timer_us: i64, handle: &mut StatefulProcessorHandle<'_>) -> Result<()> {
        let _ = (key, timer_us, handle);
        Ok(())
    }
}
